require ["include","fileinto"];
include "returns";
fileinto "d";
