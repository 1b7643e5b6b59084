require "virustest";
if virustest "1" "2" { keep; }
