require ["include", "fileinto"];
fileinto "b";
return;
fileinto "c";
