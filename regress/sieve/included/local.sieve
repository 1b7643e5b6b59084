require "variables";
set "n" "inner";
