if header :frop "a" "b" { keep; }
