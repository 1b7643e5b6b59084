require "subaddress";
if address :user :detail "from" "a" { keep; }
