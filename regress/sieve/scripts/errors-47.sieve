if header :comparator "i;frop" "a" "b" { keep; }
