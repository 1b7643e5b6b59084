require ["include","fileinto"];
include "stops";
fileinto "d";
