if address "subject" "b" { keep; }
