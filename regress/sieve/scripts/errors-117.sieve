require ["special-use", "mailboxid", "fileinto"];
fileinto :specialuse "\\Junk" :mailboxid "x" "y";
