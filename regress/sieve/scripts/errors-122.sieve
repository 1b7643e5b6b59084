require "envelope";
if envelope "envid" "x" { keep; }
