# rmail.  For GNU make, bmake and OpenBSD make alike.
CARGO?=		cargo
CARGOFLAGS?=	--locked
T?=

all:
	${CARGO} build --release ${CARGOFLAGS}

test:
	${CARGO} test ${CARGOFLAGS} --lib

regress: test
	${CARGO} test ${CARGOFLAGS} --test regress -- ${T}

lint:
	${CARGO} fmt --check
	${CARGO} clippy ${CARGOFLAGS} --all-targets -- -D warnings

clean:
	${CARGO} clean

.PHONY: all test regress lint clean
