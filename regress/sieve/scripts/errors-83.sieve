require "date";
if date :zone "CET" "date" "year" "2000" { keep; }
