require ["imapsieve", "fileinto"];
fileinto "a";
