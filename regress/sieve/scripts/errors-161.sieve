require "mailboxid";
if mailboxidexists 5 { keep; }
