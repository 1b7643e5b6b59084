if size :over :under 3 { keep; }
