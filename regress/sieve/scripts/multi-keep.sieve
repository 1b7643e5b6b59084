require "imap4flags";
keep :flags "early";
