require ["fileinto", "encoded-character"];
fileinto "${hex:ff}";
