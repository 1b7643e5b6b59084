if header "subject" 3 { keep; }
