require "vacation";
vacation "gone";
vacation "gone";
