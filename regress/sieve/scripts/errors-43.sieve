require "envelope";
if envelope "sender" "b" { keep; }
