require ["nonsense", "fileinto", "stuff"];
