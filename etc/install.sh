#!/bin/sh
# install.sh install|uninstall|users: called by make, which sets the directories.
# What is installed is in BIN.
set -eu
what=$1
: "${DESTDIR=}" "${SBINDIR:=/usr/local/sbin}" "${MANDIR:=/usr/local/man}"
: "${EXAMPLESDIR:=/usr/local/share/examples/rmail}" "${SYSCONFDIR:=/etc}"
: "${LIBEXECDIR:=/usr/local/libexec/rmail}" "${INSTALL:=install}" "${BIN:=target/release}"
programs="rmaild rmailctl"
# /usr/sbin/sendmail and friends are one program under three names:
# mailer.conf(5) or symbolic links put them in place.
names="sendmail mailq newaliases"
libexec=$LIBEXECDIR

section() {
	echo "${1##*.}"
}

users() {
	[ -z "$DESTDIR" ] && [ "$(id -u)" = 0 ] || return 0
	for user in _rmaild _rmailk _rmailq _rmaila; do
		id "$user" >/dev/null 2>&1 && continue
		if [ "$(uname)" = OpenBSD ]; then
			groupadd "$user"
			useradd -g "$user" -c "rmail" -d /var/empty -s /sbin/nologin -L daemon "$user"
		else
			useradd --system --user-group --comment rmail --home-dir /var/empty \
			    --no-create-home --shell /usr/sbin/nologin "$user"
		fi
		echo "added user $user"
	done
}

own() {
	[ "$(id -u)" = 0 ] && id "$1" >/dev/null 2>&1 && chown "$1" "$2" || true
}

# A program that runs is never there in part: processes of the daemon are
# started from it at any time.
program() {
	$INSTALL -m 755 "$1" "$2.new"
	mv "$2.new" "$2"
}

case $what in
users)
	users
	;;
install)
	users
	mkdir -p "$DESTDIR$SBINDIR" "$DESTDIR$libexec" "$DESTDIR$EXAMPLESDIR" \
	    "$DESTDIR$SYSCONFDIR/rmail" "$DESTDIR$SYSCONFDIR/mail"
	for p in $programs; do
		program "$BIN/$p" "$DESTDIR$SBINDIR/$p"
	done
	program "$BIN/sendmail" "$DESTDIR$libexec/sendmail"
	for n in $names; do
		[ "$n" = sendmail ] || ln -sf sendmail "$DESTDIR$libexec/$n"
	done
	for m in $(ls man); do
		mkdir -p "$DESTDIR$MANDIR/man$(section "$m")"
		$INSTALL -m 644 "man/$m" "$DESTDIR$MANDIR/man$(section "$m")/$m"
	done
	for e in etc/examples/*; do
		$INSTALL -m 644 "$e" "$DESTDIR$EXAMPLESDIR/$(basename "$e")"
	done
	if [ -e "$DESTDIR$SYSCONFDIR/rmail.conf" ]; then
		$INSTALL -m 644 etc/rmail.conf "$DESTDIR$EXAMPLESDIR/rmail.conf"
	else
		$INSTALL -m 600 etc/rmail.conf "$DESTDIR$SYSCONFDIR/rmail.conf"
	fi
	chmod 700 "$DESTDIR$SYSCONFDIR/rmail"
	# The table that rmail.conf names must be there.
	[ -e "$DESTDIR$SYSCONFDIR/mail/aliases" ] ||
	    $INSTALL -m 644 etc/aliases "$DESTDIR$SYSCONFDIR/mail/aliases"
	if [ "$(uname)" = OpenBSD ]; then
		mkdir -p "$DESTDIR$SYSCONFDIR/rc.d"
		sed "s,@SBINDIR@,$SBINDIR,g" etc/rc.d/rmaild > "$DESTDIR$SYSCONFDIR/rc.d/rmaild"
		chmod 555 "$DESTDIR$SYSCONFDIR/rc.d/rmaild"
	else
		mkdir -p "$DESTDIR$SYSCONFDIR/systemd/system"
		sed "s,@SBINDIR@,$SBINDIR,g" etc/systemd/rmaild.service \
		    > "$DESTDIR$SYSCONFDIR/systemd/system/rmaild.service"
	fi
	mkdir -p "$DESTDIR/var/empty" "$DESTDIR/var/spool/rmail" "$DESTDIR/var/db/rmail"
	chmod 755 "$DESTDIR/var/empty"
	chmod 711 "$DESTDIR/var/spool/rmail"
	chmod 700 "$DESTDIR/var/db/rmail"
	[ -n "$DESTDIR" ] || own _rmailq /var/spool/rmail
	;;
uninstall)
	for p in $programs; do
		rm -f "$DESTDIR$SBINDIR/$p" "$DESTDIR$SBINDIR/$p.new"
	done
	rm -rf "$DESTDIR$libexec" "$DESTDIR$EXAMPLESDIR"
	for m in $(ls man); do
		rm -f "$DESTDIR$MANDIR/man$(section "$m")/$m"
	done
	rm -f "$DESTDIR$SYSCONFDIR/rc.d/rmaild" "$DESTDIR$SYSCONFDIR/systemd/system/rmaild.service"
	echo "left in place: $SYSCONFDIR/rmail.conf $SYSCONFDIR/rmail $SYSCONFDIR/mail" \
	    "/var/spool/rmail /var/db/rmail and the users"
	;;
esac
