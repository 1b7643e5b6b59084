require ["include","variables","fileinto"];
include "counts";
fileinto "${global.n}";
