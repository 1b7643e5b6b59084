require ["fileinto","imap4flags","mailbox"];
fileinto :create "m1";
