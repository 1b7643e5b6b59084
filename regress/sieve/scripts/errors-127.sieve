require "variables";
set "a" "b";
redirect "${a}";
