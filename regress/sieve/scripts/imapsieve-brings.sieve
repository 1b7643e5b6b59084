require "vnd.dovecot.imapsieve";
if environment "imap.nothing" "x" { discard; }
