require ["include","variables","fileinto"];
global "n";
include "counts";
include "counts";
fileinto "${n}";
