if header :is :is "a" "b" { keep; }
