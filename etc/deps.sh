#!/bin/sh
# deps.sh build|demo|regress: what is missing on this machine, installed when run by
# root (the command is printed first), else named.  NO_INSTALL=1 only names.
set -eu
want=${1:-build}
missing=

if [ -f /etc/debian_version ]; then
	system=debian
elif [ "$(uname)" = OpenBSD ]; then
	system=openbsd
else
	exit 0
fi

# add DEBIAN-PACKAGES OPENBSD-PACKAGES; `-' is none
add() {
	if [ $system = debian ]; then names=$1; else names=$2; fi
	[ "$names" = - ] || missing="$missing $names"
}

# needs build|demo|regress COMMAND DEBIAN-PACKAGES OPENBSD-PACKAGES; each needs
# what those before it do
needs() {
	case $want.$1 in
	*.build | demo.demo | regress.*) ;;
	*) return 0 ;;
	esac
	command -v "$2" >/dev/null 2>&1 || add "$3" "$4"
}

needs build cargo "rustc-web cargo-web" rust
needs build openssl openssl -
if [ $system = debian ]; then
	needs build cc "gcc libc6-dev" -
	[ -f /usr/include/openssl/ssl.h ] || add "libssl-dev pkg-config" -
	[ -f /usr/include/crypt.h ] || add libcrypt-dev -
	[ -f /etc/ssl/certs/ca-certificates.crt ] || add ca-certificates -
fi
needs regress python3 python3 python3
needs demo curl curl curl
needs regress mandoc mandoc -
needs regress mbsync isync isync
needs regress mutt mutt mutt
needs regress fetchmail fetchmail fetchmail
needs regress bmake bmake -
needs regress ps procps -
needs regress strace strace -
if [ $system = debian ] && [ "$want" = regress ]; then
	[ -x /usr/sbin/dovecot ] || add dovecot-imapd -
	[ -x /usr/bin/sieve-test ] || add dovecot-sieve -
	/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null || add "python3-dkim python3-nacl" -
	command -v ip >/dev/null 2>&1 || add iproute2 -
fi
[ -n "$missing" ] || exit 0

if [ $system = debian ]; then
	command="apt-get install -y --no-install-recommends$missing"
else
	command="pkg_add$missing"
fi
if [ "$(id -u)" != 0 ] || [ -n "${NO_INSTALL-}" ]; then
	echo "missing here; as root: $command" >&2
	exit 1
fi
echo "+ $command"
if [ $system = debian ]; then
	export DEBIAN_FRONTEND=noninteractive
	# Services of these packages are for tests, which start their own.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
	fi
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
else
	# shellcheck disable=SC2086
	pkg_add -I $missing
fi
