require "vacation";
vacation :fcc "a" "b";
