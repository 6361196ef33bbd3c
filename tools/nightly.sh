#!/bin/sh
# The checks that take too long for .ci/run: hours of fuzzing and the like. Each part prints its figures;
# those of docs/reliability.md are copied from here.
# usage: nightly.sh [--hours N | --minutes N] [PART...]
#   fuzz, every, static and the faults of branches take N, by default one hour each; the others take
#   what they need
#   every: single faults beyond one per place, other ones each day; build/faults.log has them
set -eu
cd "$(dirname "$0")/.."

minutes=60
case ${1:-} in
    --hours) minutes=$((${2:?} * 60)); shift 2 ;;
    --minutes) minutes=${2:?}; shift 2 ;;
esac
parts=${*:-fuzz coverage faults every races static branches harness}
day=$(date +%Y%m%d)
failed=
run() { # run COMMAND...: a failed part does not end the others
    echo "nightly: $*"
    "$@" || failed="$failed; $*"
}

for part in $parts; do
    case $part in
        fuzz) # the harnesses share the time
            harnesses=$(find fuzz -name 'fuzz_*.c' | wc -l)
            run fuzz/run.sh --seconds $((minutes * 60 / harnesses))
            ;;
        harness) run tools/test_harness.sh ;;
        coverage) run fuzz/run.sh --coverage ;;
        faults) run tests/faults/run.sh --all --seed "$day" ;;
        every)
            rm -f build/faults.log # cases are numbers of calls, and belong to a build
            run tests/faults/run.sh --every --seed "$day" --minutes "$minutes" --log build/faults.log
            ;;
        races)
            run cmake --preset thread
            run cmake --build --preset thread
            run tests/faults/races.py --all
            ;;
        static) run tools/check_static.sh --minutes "$minutes" ;;
        branches) run tools/coverage.sh --faults "$minutes" ;;
        *) echo "nightly: there is no part $part; there are fuzz, coverage, faults, every, races, static, branches" >&2; exit 2 ;;
    esac
done
[ -z "$failed" ] || { echo "nightly: failed:${failed#;}" >&2; exit 1; }
echo "nightly: all parts passed: $parts"
