#!/bin/sh
# Fuzzes the readers of untrusted input and the public interface with libFuzzer and the address and
# undefined-behavior sanitizers.
#
#   run.sh [--minutes N | --seconds N] [--seed N] [HARNESS...]
#   run.sh --coverage [HARNESS...]
#
# Each harness (default: all of them; safetensors, torch, ...) runs N minutes, by default 10. It begins
# with its seeds, its findings and the corpus that earlier runs left in build/fuzz/corpus/HARNESS, which is
# minimized afterwards. --seed repeats a run: it begins with seeds and findings only and keeps nothing.
# --coverage runs all inputs once and prints how much of the readers' files they reach. A finding is
# kept in build/fuzz/found/HARNESS; the exit code is then 1.
set -eu
cd "$(dirname "$0")/.."

seconds=600
seed=
kind=libfuzzer
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) seconds=$((${2:?} * 60)); shift 2 ;;
        --seconds) seconds=${2:?}; shift 2 ;;
        --seed) seed=${2:?}; shift 2 ;;
        --coverage) kind=coverage; shift ;;
        -*) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) break ;;
    esac
done
clang=${CLANG:-clang}
command -v "$clang" >/dev/null || {
    echo "fuzz: clang with libFuzzer is missing; run tools/install_dependencies.sh --fuzz" >&2
    exit 2
}

harnesses=${*:-$(find fuzz -name 'fuzz_*.c' | sed 's|.*/fuzz_||; s|\.c$||' | sort)}
build=build/$kind
corpora=$PWD/build/fuzz/corpus # absolute, since some harnesses change their folder
mkdir -p build/fuzz/found "$build"
targets=
for harness in $harnesses; do
    if [ ! -f "fuzz/fuzz_$harness.c" ]; then
        echo "fuzz: there is no harness $harness; fuzz/README.md lists them" >&2
        exit 2
    fi
    targets="$targets fuzz/fuzz_$harness"
done
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER="$clang" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O1 -g" -DPSC_FUZZ=$kind -DPSC_BUILD_TESTS=OFF \
    -DPSC_BUILD_BENCH=OFF >"$build/log" 2>&1 || { tail -30 "$build/log" >&2; exit 2; }
# shellcheck disable=SC2086 # a list
ninja -C "$build" ${JOBS:+-j "$JOBS"} $targets >"$build/log" 2>&1 || { tail -30 "$build/log" >&2; exit 2; }

memory=/dev/shm
[ -d $memory ] || memory=${TMPDIR:-/tmp}
PSC_FUZZ_SCRATCH=$(mktemp -d "$memory/psc-XXXXXX") # the harnesses' files; removed after a crash, too
export PSC_FUZZ_SCRATCH
trap 'rm -rf "$PSC_FUZZ_SCRATCH"' EXIT
trap 'exit 1' INT TERM HUP

folders_of() { # those that exist of a harness's findings, seeds and golden files
    for folder in "$PWD/fuzz/findings/$1" "$PWD/fuzz/seeds/$1" "$PWD/tests/golden/$1/files"; do
        if [ -d "$folder" ]; then echo "$folder"; fi
    done
}

if [ $kind = coverage ]; then
    objects=
    for harness in $harnesses; do
        program=$build/fuzz/fuzz_$harness
        kept=
        [ -z "$(ls "$corpora/$harness" 2>/dev/null)" ] || kept=$corpora/$harness
        # shellcheck disable=SC2046,SC2086 # lists
        LLVM_PROFILE_FILE=$PWD/$build/$harness.profraw "$program" $(folders_of "$harness") $kept \
            >"$build/$harness.log" 2>&1 || { tail -3 "$build/$harness.log" >&2; exit 1; }
        objects="$objects ${objects:+-object} $program"
    done
    llvm-profdata merge -sparse "$build"/*.profraw -o "$build/all.profdata"
    # shellcheck disable=SC2086 # a list
    llvm-cov report $objects -instr-profile="$build/all.profdata" 2>/dev/null |
        awk 'NR == FNR { reader[$1] = 1; next }
            FNR == 1 { printf "%-42s %8s %8s %8s\n", "file", "regions", "lines", "branches" }
            $1 in reader {
                printf "%-42s %8s %8s %8s\n", $1, $4, $10, $13
                n[1] += $2; n[2] += $8; n[3] += $11; missed[1] += $3; missed[2] += $9; missed[3] += $12 }
            END { printf "%-42s", "all"; for (i = 1; i <= 3; i++) printf " %7.2f%%", 100 - 100 * missed[i] / n[i]
                print "" }' fuzz/readers.txt -
    exit 0
fi

number() { # number KEY LOG: the last value of a key in libFuzzer's output
    grep -o "$1: *[0-9]*" "$2" | tail -1 | grep -o '[0-9]*$' || echo 0
}

minimize() {
    smaller=$PSC_FUZZ_SCRATCH/smaller
    rm -rf "$smaller"
    mkdir "$smaller"
    # shellcheck disable=SC2046 # a list
    if "$build/fuzz/fuzz_$1" -merge=1 -rss_limit_mb=512 -timeout=10 "$smaller" \
        $(folders_of "$1") "$corpora/$1" >>"build/fuzz/$1.log" 2>&1; then
        rm -rf "${corpora:?}/$1"
        cp -r "$smaller" "$corpora/$1"
    fi
}

# An allocation that fails is a null pointer, as in a release; -rss_limit_mb ends a bomb before that.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
failed=
total=0
printf '%-17s %12s %9s %7s %7s\n' harness executions 'per s' edges inputs
for harness in $harnesses; do
    corpus=$corpora/$harness
    [ -z "$seed" ] || corpus=$PSC_FUZZ_SCRATCH/corpus/$harness
    found=$PWD/build/fuzz/found/$harness/
    log=build/fuzz/$harness.log
    mkdir -p "$corpus" "$found"
    words=
    [ ! -f "fuzz/dictionaries/$harness.dict" ] || words=fuzz/dictionaries/$harness.dict
    # shellcheck disable=SC2086 # at most one
    cat fuzz/dictionaries/common.dict $words >"build/fuzz/$harness.dict"
    result=
    # shellcheck disable=SC2046 # a list
    "$build/fuzz/fuzz_$harness" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10 \
        -seed="${seed:-0}" -dict="build/fuzz/$harness.dict" -artifact_prefix="$found" \
        -print_final_stats=1 "$corpus" $(folders_of "$harness") >"$log" 2>&1 || result=FOUND
    runs=$(number stat::number_of_executed_units "$log")
    total=$((total + runs))
    printf '%-17s %12s %9s %7s %7s %s\n' "$harness" "$runs" \
        "$(number stat::average_exec_per_sec "$log")" "$(number cov "$log")" \
        "$(find "$corpus" -type f | wc -l | tr -d ' ')" "$result"
    if [ -n "$result" ]; then
        failed="$failed $harness"
        grep -E 'ERROR:|runtime error:|^fuzz:|^SUMMARY' "$log" | head -5
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
        echo "repeat: $build/fuzz/fuzz_$harness ${input:-}; then keep the input in fuzz/findings/$harness"
    elif [ -z "$seed" ]; then
        minimize "$harness"
    fi
done
echo "$total executions"
[ -z "$failed" ] || { echo "fuzz: findings in$failed" >&2; exit 1; }
