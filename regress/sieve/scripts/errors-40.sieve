if header "a" "b" true { keep; }
