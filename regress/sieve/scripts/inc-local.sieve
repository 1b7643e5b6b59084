require ["include","variables","fileinto"];
set "n" "outer";
include "local";
fileinto "${n}";
