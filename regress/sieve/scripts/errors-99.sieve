require "mailbox";
redirect :create "a@example.com";
