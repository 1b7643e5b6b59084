require "date";
if date :zone "+0000" :originalzone "date" "year" "2000" { keep; }
