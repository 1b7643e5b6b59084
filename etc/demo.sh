#!/bin/sh
# make demo: a throw-away mail server in a directory of its own, with a
# certificate, a user and one message through it.  It stays until interrupted;
# DEMO_EXIT=1 ends it after the message, with the right exit status.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$top/target/debug}
[ -x "$bin/rmaild" ] || { echo "demo: no $bin/rmaild: run make demo" >&2; exit 1; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/rmail-demo.XXXXXX")
chmod 755 "$dir"
daemon=
finish() {
	status=$?
	trap - EXIT INT TERM HUP
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	if [ $status -ne 0 ] && [ -s "$dir/log" ]; then
		echo "--- the daemon's log" >&2
		cat "$dir/log" >&2
	fi
	rm -rf "$dir"
	exit $status
}
trap finish EXIT
trap 'exit 0' INT TERM HUP

user=joe@example.com
password=demo-password
mkdir -p "$dir/run" "$dir/mail"
# As root the mailbox belongs to a user without privilege; otherwise to you.
if [ "$(id -u)" = 0 ]; then
	sh "$top/etc/install.sh" users
	owner=$(id -un 65534 2>/dev/null || echo nobody)
	chown "$owner" "$dir/mail"
	owner_ids="$(id -u "$owner"):$(id -g "$owner")"
else
	owner_ids="$(id -u):$(id -g)"
fi

echo "== a certificate, a password, a configuration, in $dir"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=mail.example.com \
    -addext subjectAltName=DNS:mail.example.com,DNS:localhost \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
umask 077
hash=$(echo "$password" | "$bin/rmailctl" encrypt)
echo "$user:$hash:$owner_ids::$dir/mail/joe::" > "$dir/credentials"
echo "$user: vmail" > "$dir/virtuals"
cat > "$dir/rmail.conf" <<EOF
hostname "mail.example.com"
socket "$dir/run/rmaild.sock"
queue directory "$dir/spool"

pki "mail.example.com" cert "$dir/cert.pem"
pki "mail.example.com" key "$dir/key.pem"

table credentials passwd:$dir/credentials
table virtuals file:$dir/virtuals
table people { "vmail" = "$owner_ids:$dir/mail" }

mailbox "Archive" special-use archive auto subscribe
mailbox "Drafts" special-use drafts auto subscribe
mailbox "Junk" special-use junk auto subscribe
mailbox "Sent" special-use sent auto subscribe
mailbox "Trash" special-use trash auto subscribe

listen on 127.0.0.1 port 0 tls pki "mail.example.com" tag "mx"
listen on 127.0.0.1 port 0 tls-require pki "mail.example.com" auth <credentials> tag "submission"
listen on 127.0.0.1 port 0 smtps pki "mail.example.com" auth <credentials> tag "submissions"
listen on 127.0.0.1 port 0 imaps pki "mail.example.com" auth <credentials>

action "inbound" maildir "$dir/mail/%{dest.user:lowercase}" virtual <virtuals> userbase <people>
action "outbound" relay

match from any for domain "example.com" action "inbound"
match auth from any for any action "outbound"
EOF
umask 022
"$bin/rmaild" -n -f "$dir/rmail.conf"

echo "== the daemon"
mkfifo "$dir/ready"
"$bin/rmaild" -d -f "$dir/rmail.conf" > "$dir/ready" 2> "$dir/log" &
daemon=$!
read -r line < "$dir/ready" || line=
[ "$line" = ready ] || { echo "demo: the daemon did not start" >&2; exit 1; }
ctl="$bin/rmailctl -s $dir/run/rmaild.sock"
port() {
	$ctl show listeners | awk -v p="$1" -v t="$2" \
	    '$1 == p && (t == "" || $3 == t) { n = split($2, a, ":"); print a[n]; exit }'
}
submission=$(port smtp submission)
submissions=$(port smtps submissions)
imaps=$(port imaps "")
echo "submission (STARTTLS) 127.0.0.1:$submission, submissions (TLS) 127.0.0.1:$submissions," \
    "imaps 127.0.0.1:$imaps"

echo "== a message through submission, with TLS and AUTH"
cat > "$dir/message" <<EOF
From: Joe <$user>
To: Joe <$user>
Subject: Hello from make demo

This message went through STARTTLS and AUTH, a synced queue, and a Maildir.
EOF
curl -sS --ssl-reqd --cacert "$dir/cert.pem" --resolve "localhost:$submission:127.0.0.1" \
    "smtp://localhost:$submission/demo" --user "$user:$password" --mail-from "$user" \
    --mail-rcpt "$user" --upload-file "$dir/message" --crlf
$ctl wait queue-empty 30
echo "delivered as"
find "$dir/mail" -path '*/new/*' -type f -o -path '*/cur/*' -type f | sed 's/^/    /'

echo "== read back over IMAPS"
curl -sS --cacert "$dir/cert.pem" --resolve "localhost:$imaps:127.0.0.1" \
    "imaps://localhost:$imaps/INBOX;MAILINDEX=1" --user "$user:$password" > "$dir/back"
sed 's/^/    /' "$dir/back"
grep -q "Hello from make demo" "$dir/back"

if [ -n "${DEMO_EXIT-}" ]; then
	echo "== done"
	exit 0
fi
cat <<EOF
== try it with a mail client
    user      $user
    password  $password
    IMAP      127.0.0.1 port $imaps, TLS
    SMTP      127.0.0.1 port $submission, STARTTLS (or $submissions, TLS)
    the certificate signs itself: $dir/cert.pem
    $ctl show procs
    tail -f $dir/log
Interrupt (^C) ends it and removes $dir.
EOF
wait "$daemon"
