if size :over "3" { keep; }
