require "duplicate";
if duplicate :header "a b" { keep; }
