require ["fileinto", ];
