#!/bin/bash
# Builds and links everything for OpenBSD/amd64 on Debian; runs nothing.
#
# std comes from Debian's rust-web-src, OpenBSD's libc, headers and a linker
# from the Python package ziglang.  libssl and libcrypto are empty libraries
# with the symbols of libssl.syms and libcrypto.syms: what OpenBSD 7.7 to 7.9
# export and rmail is allowed to use.  A call that is not listed fails the
# link, so each new one is a reviewed line there.  Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=x86_64-unknown-openbsd
cache=${RMAIL_OPENBSD_CACHE:-$HOME/.cache/rmail-openbsd}
here=regress/openbsd
mkdir -p "$cache/lib"

need() {
	if [ "$(id -u)" = 0 ] && [ -z "${NO_INSTALL-}" ]; then
		echo "+ apt-get install -y --no-install-recommends $*"
		apt-get update -qq
		apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null
	else
		echo "make openbsd: install first: $*" >&2
		exit 1
	fi
}
[ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library ] ||
	need rustc-web rust-web-src cargo-web
python3 -c 'import ensurepip' 2>/dev/null || need python3-venv
command -v file >/dev/null || need file
command -v readelf >/dev/null || need binutils
if [ ! -x "$cache/venv/bin/python" ] || ! "$cache/venv/bin/python" -m ziglang version >/dev/null 2>&1; then
	python3 -m venv "$cache/venv"
	"$cache/venv/bin/pip" install -q ziglang==0.17.1
fi

# The cc crate adds a --target that zig does not know.
cat > "$cache/cc" <<EOF
#!/bin/bash
args=()
for a in "\$@"; do case \$a in --target=*) ;; *) args+=("\$a");; esac; done
exec "$cache/venv/bin/python" -m ziglang cc -target x86_64-openbsd "\${args[@]}"
EOF
chmod +x "$cache/cc"

for lib in ssl crypto; do
	awk 'NF && !/^#/ { print "void " $1 "(void) {}" }' "$here/lib$lib.syms" > "$cache/lib$lib.c"
	if ! cmp -s "$cache/lib$lib.c" "$cache/lib/lib$lib.c.done"; then
		"$cache/cc" -w -fno-builtin -nostdlib -shared -Wl,-soname,lib$lib.so \
		    -o "$cache/lib/lib$lib.so" "$cache/lib$lib.c"
		cp "$cache/lib$lib.c" "$cache/lib/lib$lib.c.done"
	fi
done

# What is declared by hand must be what OpenBSD's headers say.
"$cache/cc" -Werror -c -o "$cache/ffi.o" "$here/ffi.c"
"$cache/cc" -Werror -c -o "$cache/layout.o" "$here/layout.c"

export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${RMAIL_OPENBSD_TARGET:-$cache/target}
export CARGO_TARGET_X86_64_UNKNOWN_OPENBSD_LINKER=$cache/cc
export CC_x86_64_unknown_openbsd=$cache/cc
export X86_64_UNKNOWN_OPENBSD_OPENSSL_INCLUDE_DIR=$PWD/$here/include
export X86_64_UNKNOWN_OPENBSD_OPENSSL_LIB_DIR=$cache/lib
export X86_64_UNKNOWN_OPENBSD_OPENSSL_STATIC=0
std=-Zbuild-std=std,panic_abort,panic_unwind,test
/usr/bin/cargo build "$std" -Zwarnings --config 'build.warnings="deny"' --target $target \
    --locked --all-targets
/usr/bin/cargo test "$std" -Zwarnings --config 'build.warnings="deny"' --target $target \
    --locked --no-run

# The libraries that an OpenBSD machine will look for, and no other.
for bin in rmaild rmailctl sendmail; do
	path=$CARGO_TARGET_DIR/$target/debug/$bin
	file -b "$path" | grep -q 'for OpenBSD' || { echo "$bin is not an OpenBSD program" >&2; exit 1; }
	other=$(readelf -d "$path" | sed -n 's/.*NEEDED.*\[\(lib[a-z]*\)\.so.*/\1/p' |
	    grep -vxE 'libc|libpthread|libm|libutil|libssl|libcrypto' || true)
	[ -z "$other" ] || { echo "$bin needs $other" >&2; exit 1; }
done
echo "openbsd: rmaild, rmailctl, sendmail and the tests link for $target"
