require "variables";
set "a" "${hex:40}";
if string "${a}" "@" { keep; } else { discard; }
