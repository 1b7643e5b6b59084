#!/bin/sh
# Fuzzing with the stable toolchain: run.sh [TARGET ...]
#
# Builds the fuzzer and runs each target, all or those named, for SECS seconds
# (600), JOBS at a time (2), and prints a line for each.  An input that panics,
# that takes more than LIMIT_SECS seconds (10) or LIMIT_MB megabytes (768) is a
# finding: it is left in artifacts/, and the exit status is 1.
#
# What a run learns stays in target/corpus/.  With MERGE=1 nothing is run:
# corpus/ becomes the smallest part of both that reaches the same code.
#
# A finding once more:	FUZZ_TARGET=name regress/fuzz/target/fuzz FILE
set -eu
cd "$(dirname "$0")"

# Where a target needs a file, it is one in memory if there is such a place.
[ ! -d /dev/shm ] || TMPDIR=/dev/shm
export TMPDIR=${TMPDIR-/tmp}

# One target: run or merge, then one line.
one() {
	log=target/log/$1
	words=words/${1%%-*}
	mkdir -p "target/corpus/$1" "corpus/$1" artifacts
	set -- "$1" -max_len="${MAX_LEN:-4096}" -timeout="${LIMIT_SECS:-10}" \
	    -rss_limit_mb="${LIMIT_MB:-768}"
	[ ! -f "$words" ] || set -- "$@" -dict="$words"
	FUZZ_TARGET=$1
	export FUZZ_TARGET
	shift
	if [ -n "${MERGE-}" ]; then
		rm -rf "target/merged/$FUZZ_TARGET"
		mkdir -p "target/merged/$FUZZ_TARGET"
		target/fuzz "$@" -max_len="${MERGE_LEN:-1024}" -use_counters=0 \
		    -set_cover_merge=1 "target/merged/$FUZZ_TARGET" \
		    "target/corpus/$FUZZ_TARGET" "corpus/$FUZZ_TARGET" >"$log" 2>&1 || {
			echo "$FUZZ_TARGET: not merged, see regress/fuzz/$log"
			exit 1
		}
		# Inputs that once were findings stay, whatever they cover.
		find "corpus/$FUZZ_TARGET" -type f ! -name 'found-*' -exec rm {} +
		find "target/merged/$FUZZ_TARGET" -type f -exec mv {} "corpus/$FUZZ_TARGET/" \;
		echo "$FUZZ_TARGET: $(find "corpus/$FUZZ_TARGET" -type f | wc -l) inputs," \
		    "$(cat "corpus/$FUZZ_TARGET"/* | wc -c) octets"
		exit 0
	fi
	result=clean
	target/fuzz "$@" -max_total_time="${SECS:-600}" -print_final_stats=1 \
	    -artifact_prefix="artifacts/$FUZZ_TARGET-" \
	    "target/corpus/$FUZZ_TARGET" "corpus/$FUZZ_TARGET" >"$log" 2>&1 || result=FOUND
	awk -v name="$FUZZ_TARGET" -v result="$result" '
	    / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cover = $(i + 1) }
	    /^stat::number_of_executed_units/ { runs = $2 }
	    /^stat::average_exec_per_sec/ { rate = $2 }
	    /^Done .* runs in / { secs = $5 }
	    /Test unit written to/ { file = $NF }
	    END {
		printf("%-22s %10d runs %7d/s %5d s %6d edges  %s", name, runs, rate,
		    secs, cover, result)
		if (result != "clean")
			printf(": %s", file == "" ? "see its log" : "regress/fuzz/" file)
		print ""
	    }' "$log"
	[ "$result" = clean ]
}

if [ "${1-}" = -one ]; then
	one "$2"
	exit
fi

# Code and dependencies are instrumented; build scripts, which run here, are
# not: that is what naming the host as the target is for.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares ${RUSTFLAGS-}" \
    ${CARGO:-cargo} build --release --locked --target "$host" --target-dir target
mkdir -p target/log
# A copy, so that a build does not pull it from under a run.
cp "target/$host/release/fuzz" target/fuzz.new
mv target/fuzz.new target/fuzz

[ $# -gt 0 ] || set -- $(target/fuzz)
printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-2}" sh ./run.sh -one
