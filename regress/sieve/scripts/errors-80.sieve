require "vacation";
vacation :seconds 3 "x";
