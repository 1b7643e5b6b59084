if header :domain "from" "b" { keep; }
