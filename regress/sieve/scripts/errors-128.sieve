require ["variables", "fileinto"];
fileinto "${a}";
