require ["encoded-character", "fileinto"];
fileinto "${unicode:d801}";
