require "fileinto";
fileinto "c";
