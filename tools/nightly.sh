#!/bin/sh
# The checks that take too long for .ci/run: hours of fuzzing and the like. Each part prints its figures;
# those of docs/reliability.md are copied from here.
# usage: nightly.sh [--hours N] [PART...]      default: one hour of fuzzing; all parts
set -eu
cd "$(dirname "$0")/.."

hours=1
if [ "${1:-}" = --hours ]; then
    hours=${2:?}
    shift 2
fi
parts=${*:-fuzz coverage faults races static branches}
failed=
run() { # run COMMAND...: a failed part does not end the others
    echo "nightly: $*"
    "$@" || failed="$failed; $*"
}

for part in $parts; do
    case $part in
        fuzz) # the hours are shared by the harnesses
            harnesses=$(find fuzz -name 'fuzz_*.c' | wc -l)
            run fuzz/run.sh --seconds $((hours * 3600 / harnesses))
            ;;
        coverage) run fuzz/run.sh --coverage ;;
        faults) run tests/faults/run.sh --all ;;
        races)
            run cmake --preset thread
            run cmake --build --preset thread
            run tests/faults/races.py --all
            ;;
        static) run tools/check_static.sh ;;
        branches) run tools/coverage.sh ;;
        *) echo "nightly: there is no part $part; there are fuzz, coverage, faults, races, static, branches" >&2; exit 2 ;;
    esac
done
[ -z "$failed" ] || { echo "nightly: failed:${failed#;}" >&2; exit 1; }
echo "nightly: all parts passed: $parts"
