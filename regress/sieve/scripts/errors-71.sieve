require ["variables", "fileinto"];
fileinto "${frop.a}";
