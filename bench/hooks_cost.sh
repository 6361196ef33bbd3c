#!/bin/sh
# The cost of unused hooks: instructions of all runs of a session, relative to a build without
# hooks. The session runs a prompt, then tokens one by one, on the embedded model with one thread.
# valgrind's callgrind counts, so the machine may be busy.
# usage: bench/hooks_cost.sh [FOLDER]      FOLDER keeps the two builds
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
    work=$1
    mkdir -p "$work"
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/psc-hooks.XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi

# count NAME OPTION: prints the instructions inside psc_session_run.
count() {
    cmake -S . -B "$work/$1" -DCMAKE_BUILD_TYPE=Release -DPSC_BUILD_TESTS=OFF -DPSC_BUILD_BENCH=OFF \
        "-DPSC_NO_HOOKS=$2" >"$work/$1.log"
    cmake --build "$work/$1" --parallel >>"$work/$1.log"
    valgrind --tool=callgrind --toggle-collect=psc_session_run --callgrind-out-file="$work/$1.out" \
        "$work/$1/pythiascope" generate --threads 1 --n 16 --text \
        "It was the best of times, it was the worst of times" >/dev/null 2>"$work/$1.err" ||
        { cat "$work/$1.err" >&2; exit 1; }
    awk '/^(summary|totals):/ { n = $2 } END { print n }' "$work/$1.out"
}

with=$(count with OFF)
without=$(count without ON)
awk -v a="$with" -v b="$without" 'BEGIN {
    printf "{\"instructions_with_unused_hooks\": %d, \"built_without\": %d, \"ratio\": %.6f}\n", a, b, a / b
}'
