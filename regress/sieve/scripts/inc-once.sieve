require ["include","variables","fileinto"];
global "n";
include :once "counts";
include :once "counts";
fileinto "${n}";
