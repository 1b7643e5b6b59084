require "fileinto";
fileinto "global";
