if address :all :domain "from" "b" { keep; }
