#!/bin/sh
# Calls between the files of the built-in plugins go one way: no two files call each other, and no
# group of files forms a cycle.
# usage: downward.sh NM OBJECT...
set -u
nm=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# "file symbol" pairs: the symbols that each file defines for others, and those it takes from
# others.
for object in "$@"; do
    file=$(basename "$object" | sed 's/\.[^.]*$//')
    "$nm" "$object" | awk -v file="$file" -v work="$work" '
        NF == 3 && $2 ~ /[TDRBSC]/ { print $3, file >> (work "/defined") }
        NF == 2 && $1 == "U" { print $2, file >> (work "/taken") }'
done
awk 'NR == FNR { home[$1] = $2; next } ($1 in home) && home[$1] != $2 { print $2, home[$1] }' \
    "$work/defined" "$work/taken" | sort -u >"$work/calls"

calls=$(wc -l <"$work/calls")
if [ "$calls" -lt 100 ]; then
    echo "downward: only $calls calls between $# files were found; are these the plugins' objects?"
    exit 1
fi
if ! tsort "$work/calls" >/dev/null 2>"$work/loops" || [ -s "$work/loops" ]; then
    echo "downward: files that call each other in a cycle:"
    cat "$work/loops"
    exit 1
fi
echo "downward: $calls calls between $# files, no cycles"
