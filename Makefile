# rmail.  For GNU make, bmake and OpenBSD make alike: plain rules only.
#
#	make demo	a throw-away server with a user, a certificate and a message
#	make regress	every test
#	make install	programs, manuals, configuration, users and directories

CARGO?=		cargo
CARGOFLAGS?=	--locked
INSTALL?=	install
PREFIX?=	/usr/local
SBINDIR?=	${PREFIX}/sbin
LIBEXECDIR?=	${PREFIX}/libexec/rmail
MANDIR?=	${PREFIX}/man
EXAMPLESDIR?=	${PREFIX}/share/examples/rmail
SYSCONFDIR?=	/etc
DESTDIR?=
T?=

all: deps-build
	RMAILD=${SBINDIR}/rmaild ${CARGO} build --release ${CARGOFLAGS}

install: all
	DESTDIR='${DESTDIR}' SBINDIR='${SBINDIR}' MANDIR='${MANDIR}' \
	    EXAMPLESDIR='${EXAMPLESDIR}' SYSCONFDIR='${SYSCONFDIR}' \
	    LIBEXECDIR='${LIBEXECDIR}' INSTALL='${INSTALL}' sh etc/install.sh install

uninstall:
	DESTDIR='${DESTDIR}' SBINDIR='${SBINDIR}' MANDIR='${MANDIR}' \
	    EXAMPLESDIR='${EXAMPLESDIR}' SYSCONFDIR='${SYSCONFDIR}' \
	    LIBEXECDIR='${LIBEXECDIR}' sh etc/install.sh uninstall

# What building needs, and what the tests need besides.
deps: deps-build
	@sh etc/deps.sh regress

deps-build:
	@sh etc/deps.sh build

demo:
	@sh etc/deps.sh demo
	${CARGO} build ${CARGOFLAGS}
	@sh etc/demo.sh

# As root the tests need the users that the daemon changes to; else this is none.
users:
	@sh etc/install.sh users

test: deps-build users
	${CARGO} test ${CARGOFLAGS} --lib

regress: deps test
	${CARGO} test ${CARGOFLAGS} --test regress -- ${T}

soak: deps
	SOAK=1 ${CARGO} test --release ${CARGOFLAGS} --test regress -- ${T}

bench: deps
	${CARGO} build --release ${CARGOFLAGS}
	BENCH=1 JOBS=1 ${CARGO} test --release ${CARGOFLAGS} --test regress -- bench/${T}

fuzz: deps
	sh regress/fuzz/run.sh ${T}

lint: deps
	${CARGO} fmt --check
	${CARGO} clippy ${CARGOFLAGS} --all-targets -- -D warnings
	mandoc -Tlint -Wwarning man/*.[1-9]

openbsd:
	bash regress/openbsd/check.sh

clean:
	${CARGO} clean

.PHONY: all install uninstall deps deps-build users demo test regress soak bench fuzz lint openbsd clean
