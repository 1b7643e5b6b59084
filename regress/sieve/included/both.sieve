require "fileinto";
fileinto "personal";
