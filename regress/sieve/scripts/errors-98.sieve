require "mailbox";
if mailboxexists 3 { keep; }
