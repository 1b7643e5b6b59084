require "envelope";
if envelope "bymode" "N" { keep; }
