require ["fcc", "vacation", "imap4flags"];
vacation :flags "x" "y";
