if header :value "gt" "a" "1" { keep; }
