#!/bin/sh
# Branch coverage of base, hooks, runtime and report: the suite, then failed allocations of small runs of
# every verb (tests/faults), counted by gcov. An assert is no branch (NDEBUG), since no input may reach
# its failure; kernels and analysis/ are compared with references instead.
# usage: coverage.sh [--no-faults]      prints a line per folder and the files with most branches left
set -eu
cd "$(dirname "$0")/.."

faults=yes
[ "${1:-}" != --no-faults ] || faults=no
folder=build/coverage
cmake --preset coverage >/dev/null
cmake --build --preset coverage
find "$folder" -name '*.gcda' -delete
ctest --preset coverage || echo "coverage: some tests failed; their branches count all the same" >&2
if [ $faults = yes ]; then
    python3 tests/faults/faults.py --build "$folder" --cases 0 || echo "coverage: some faults were not handled" >&2
fi
gcovr --root . --object-directory "$folder" --branches --json "$folder/coverage.json" \
    --filter base/ --filter hooks/ --filter runtime/ --filter report/ >/dev/null
python3 - "$folder/coverage.json" <<'END'
import json
import sys

files, folders = [], {}
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
END
