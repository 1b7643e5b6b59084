require "imapsieve";
if environment "imap.cause" "APPEND" { keep; }
