require ["fileinto", "reject", "ereject", "envelope", "vacation", "vacation-seconds", "subaddress", "comparator-i;octet", "comparator-i;ascii-casemap", "comparator-i;ascii-numeric", "comparator-i;unicode-casemap", "relational", "regex", "imap4flags", "copy", "include", "variables", "body", "enotify", "environment", "mailbox", "mboxmetadata", "servermetadata", "special-use", "mailboxid", "date", "index", "ihave", "duplicate", "mime", "foreverypart", "extracttext", "replace", "enclose", "editheader", "spamtest", "spamtestplus", "virustest", "fcc", "extlists", "envelope-dsn", "envelope-deliverby", "redirect-dsn", "redirect-deliverby", "vnd.dovecot.debug", "vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute", "encoded-character", "imapsieve", "vnd.dovecot.imapsieve", "vnd.dovecot.environment"];
fileinto 5;
reject 5;
ereject 5;
if envelope "from" 5 { keep; }
vacation 5;
vacation :seconds "soon" "x";
if address :detail "to" 5 { keep; }
if header :comparator ["i;octet"] "a" "b" { keep; }
if header :comparator "i;ascii-nocase" "a" "b" { keep; }
if header :comparator "i;ascii-numeric" :contains "a" "b" { keep; }
if header :comparator "i;unicode" "a" "b" { keep; }
if header :count 5 "a" "b" { keep; }
if header :regex "a" 5 { keep; }
addflag 5;
redirect :copy 5;
include 5;
set "x" 5;
if body :content 5 "x" { keep; }
notify 5;
if environment "name" 5 { keep; }
fileinto :create 5;
if metadata "INBOX" "/shared/x" 5 { keep; }
if servermetadata "/shared/x" 5 { keep; }
if specialuse_exists 5 { keep; }
fileinto :mailboxid 5 "x";
if date "date" 5 "x" { keep; }
if header :index "1" "a" "b" { keep; }
if ihave 5 { keep; }
if duplicate :seconds "x" { keep; }
if header :mime :param 5 "content-type" "x" { keep; }
foreverypart :name 5 { keep; }
foreverypart { extracttext 5; }
replace 5;
enclose 5;
addheader "X-A" 5;
if spamtest 5 { keep; }
if spamtest :percent "1" "2" { keep; }
if virustest 5 { keep; }
vacation :fcc 5 "x";
if valid_ext_list 5 { keep; }
if envelope "notifies" "x" { keep; }
if envelope "bymodes" "x" { keep; }
redirect :notify 5 "a@example.com";
redirect :bytimerelative "x" "a@example.com";
debug_log 5;
pipe 5;
filter 5;
execute 5;
