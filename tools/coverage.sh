#!/bin/sh
# Branch coverage of base, hooks, runtime and report, counted by gcov: the suite, with a bounded part of
# the faults of tests/faults. An assert is no branch (NDEBUG), since no input may reach its failure.
# Kernels and analysis/ are compared with references instead.
# usage: coverage.sh [--minutes N] [--faults N] [--jobs N]
#   --minutes N   the suite ends after N minutes at most (90); what has run until then counts
#   --faults N    then places of tests/faults beyond those of the suite, for N minutes (0)
#   --jobs N      programs at once (2)
# Prints the files with most branches left and a line per folder; fails where one is below 90 %.
set -eu
cd "$(dirname "$0")/.."

least=90 minutes=90 faults=0 jobs=2
while [ $# -gt 0 ]; do
    case $1 in
        --minutes) minutes=${2:?} ;;
        --faults) faults=${2:?} ;;
        --jobs) jobs=${2:?} ;;
        *) sed -n '/^# usage/,/^set/s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
# Tests that run none of this code, or the same code once more: kernels alone; rules of the tree; types
# and layout of the package, and other releases of Python; the page in a browser, which runs the
# viewer's JavaScript (what writes the page is tested by test_page*).
others='^(page_|python_(3[.]|mypy|ruff|format|stubtest)|install$|without_packages$|cli_hardening$)'
others="$others|^(layering|headers|downward|statics)|^test_(erf|exp|tanh|kernel|golden_bits|dispatch|avx512)"

folder=build/coverage
grep -q '^CMAKE_C_COMPILER:.*gcc' "$folder/CMakeCache.txt" 2>/dev/null || rm -rf "$folder" # another compiler's
cmake --preset coverage >/dev/null
cmake --build --preset coverage --parallel "$jobs"
find "$folder" -name '*.gcda' -delete
# cli_limits and hub_pull_faults fail here: where counters cannot be written libgcov says so on stderr.
timeout --kill-after=60 "${minutes}m" \
    ctest --preset coverage --parallel "$jobs" --exclude-regex "$others" ||
    echo "coverage: some tests failed or did not end; the branches that they took count" >&2
if [ "$faults" != 0 ]; then
    python3 tests/faults/faults.py --build "$folder" --all --minutes "$faults" --jobs "$jobs" ||
        echo "coverage: some faults were not handled" >&2
fi
gcovr --root . --object-directory "$folder" --branches --json "$folder/coverage.json" \
    --filter base/ --filter hooks/ --filter runtime/ --filter report/ "$folder" >/dev/null
python3 - "$folder/coverage.json" $least <<'END'
import json
import sys

files, folders, least = [], {}, float(sys.argv[2])
for file in json.load(open(sys.argv[1], encoding="utf-8"))["files"]:
    branches = [b["count"] > 0 for line in file["lines"] for b in line.get("branches", [])]
    taken, total = sum(branches), len(branches)
    files.append((total - taken, total, file["file"]))
    for name in (file["file"].split("/")[0], "all"):
        a, b = folders.get(name, (0, 0))
        folders[name] = (a + taken, b + total)
for left, total, name in sorted(files, reverse=True)[:20]:
    print(f"{name}: {left} of {total} branches are not taken")
for name, (taken, total) in sorted(folders.items()):
    print(f"{name}: {100 * taken / total:.1f} % of {total} branches")
low = [name for name, (taken, total) in folders.items() if 100 * taken < least * total]
missing = {"base", "hooks", "runtime", "report"} - folders.keys()
if low or missing:
    names = ", ".join(sorted(low) + sorted(missing))
    sys.exit(f"coverage: less than {least:g} % of the branches are taken: {names}")
END
