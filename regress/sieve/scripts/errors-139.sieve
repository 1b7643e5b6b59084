if address matches "from" "*frop*" { keep; }
