require "envelope";
if envelope "ret" "FULL" { keep; }
