require "vacation";
vacation :from "x" "y";
