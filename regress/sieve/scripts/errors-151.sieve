require "fileinto";
fileinto :mailboxid "a" "b";
