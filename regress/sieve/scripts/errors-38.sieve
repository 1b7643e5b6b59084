if header "a" "b" :is { keep; }
