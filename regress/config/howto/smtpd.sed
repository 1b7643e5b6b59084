# The changes that make the how-to's smtpd.conf rmail's configuration, and no
# others.  @DIR@, @SUBMISSION@ and @SMTP@ stand for a test's directory and ports.
s/example\.com/example.org/g
s|"/etc/ssl/private/|"@DIR@/|
s|"/etc/ssl/|"@DIR@/|
s|/etc/mail/|@DIR@/|
s|/var/vmail/|@DIR@/vmail/|
s/^listen on all port submission /listen on lo0 port @SUBMISSION@ /
s/^listen on all tls /listen on lo0 port @SMTP@ tls /
# The key is a character short.
/^queue encryption /s/$/3/
# Filters come later.
/^filter "rspamd"/d
s/ filter "rspamd"//
# What smtpd.conf cannot say.
$a\
include "@DIR@/own.conf"
