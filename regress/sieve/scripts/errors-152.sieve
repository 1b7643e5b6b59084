require "fileinto";
fileinto :specialuse "\\Junk" "b";
