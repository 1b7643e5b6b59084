require "vacation-seconds";
vacation :days 3 :seconds 3 "x";
