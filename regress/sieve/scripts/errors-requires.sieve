fileinto "a";
reject "a";
ereject "a";
if envelope "from" "a" { keep; }
vacation "a";
if address :user "from" "a" { keep; }
if header :comparator "i;ascii-numeric" "a" "1" { keep; }
if header :comparator "i;unicode-casemap" "a" "1" { keep; }
if header :count "eq" "a" "1" { keep; }
if header :regex "a" "1" { keep; }
setflag "a";
keep :flags "a";
redirect :copy "a@example.org";
include "a";
set "a" "b";
if body "a" { keep; }
notify "mailto:a@example.org";
if environment "name" "a" { keep; }
if mailboxexists "a" { keep; }
if metadata "INBOX" "/private/a" "a" { keep; }
if servermetadata "/private/a" "a" { keep; }
if specialuse_exists "\\Junk" { keep; }
if mailboxidexists "a" { keep; }
if date "date" "year" "a" { keep; }
if header :index 1 "a" "a" { keep; }
if ihave "a" { keep; }
if duplicate { keep; }
if header :mime "a" "a" { keep; }
foreverypart { keep; }
extracttext "a";
replace "a";
enclose "a";
addheader "a" "a";
if spamtest "1" { keep; }
if virustest "1" { keep; }
if header :list "a" "a" { keep; }
if valid_ext_list "a" { keep; }
redirect :ret "FULL" "a@example.org";
redirect :bytrace "a@example.org";
debug_log "a";
pipe "a";
filter "a";
execute "a";
