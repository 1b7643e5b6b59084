require "relational";
if address :count "eq" ;comparator "i;octet" "to" "3" { keep; }
