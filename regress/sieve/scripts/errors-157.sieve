require "extlists";
if header :list :is "a" "b" { keep; }
