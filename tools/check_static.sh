#!/bin/sh
# clang-tidy with clang's static analyzer (.clang-tidy) over all C files but the tests: the library, the
# program (with MPI where it is installed), fuzz/ and examples/. A file that passed is not checked again
# until it, a header that it includes, or the checks change: build/static/passed.
# usage: check_static.sh [--minutes N] [FOLDER|FILE...]
#   JOBS=N: processes at once; default: all cores
#   --minutes N: starts no file after that and says how many are left; the newest changes come first
set -eu
cd "$(dirname "$0")/.."

minutes=
if [ "${1:-}" = --minutes ]; then
    minutes=${2:?}
    shift 2
fi
command -v clang-tidy >/dev/null 2>&1 || {
    echo "check_static: clang-tidy is missing; run tools/install_dependencies.sh --static" >&2
    exit 1
}
folder=$PWD/build/static
mkdir -p "$folder/passed" "$folder/said"
cmake -S . -B "$folder" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    -DPSC_BUILD_TESTS=OFF -DPSC_BUILD_BENCH=OFF -DPSC_FUZZ=coverage -DPSC_MPI=AUTO >"$folder/cmake.log" 2>&1 || {
    tail -5 "$folder/cmake.log" >&2
    exit 1
}
# What is not made by hand has no findings of its own. The examples have builds of their own; clang-tidy
# takes the flags of a file that resembles them.
{
    sed -n 's/^ *"file": "\(.*\)",*$/\1/p' "$folder/compile_commands.json" | grep -v '/build/' |
        sed "s|^$PWD/||" | grep -v '^tests/'
    find examples -name '*.c'
} | sort -u >"$folder/all"
if [ $# -gt 0 ]; then
    for name; do grep -E "^${name%/}(/|\$)" "$folder/all" || true; done | sort -u >"$folder/chosen"
else
    cp "$folder/all" "$folder/chosen"
fi
{ # newest changes first
    git log --name-only --format= -n 300 2>/dev/null || true
    cat "$folder/chosen"
} | awk 'NR == FNR { wanted[$0]; next } $0 in wanted && !seen[$0]++' "$folder/chosen" - >"$folder/files"

end=0
[ -z "$minutes" ] || end=$(($(date +%s) + 60 * minutes))
one='
file=$1 folder=$2 end=$3
name=$(echo "$file" | tr / _)
rm -f "$folder/said/$name"
[ "$end" -eq 0 ] || [ "$(date +%s)" -lt "$end" ] || { echo "$file" >>"$folder/left"; exit 0; }
flags=$(awk -v file="/$file\"" "/\"command\"/ { command = \$0 } index(\$0, file) && /\"file\"/ { print command; exit }" \
    "$folder/compile_commands.json" | grep -oE "(^| )(-I|-D|-std=|-m|-include |-isystem )[^ ]*" | tr "\n" " ")
text=$folder/said/$name.i
eval "clang -E -P -D__clang_analyzer__ ${flags:--Iinclude/pythiascope} \"$file\"" >"$text" 2>/dev/null ||
    echo "$file $$" >>"$text" # the key of none
key=$( { cat .clang-tidy; clang-tidy --version; grep NOLINT "$file"; cat "$text"; } | sha256sum | cut -d " " -f 1)
rm "$text"
[ ! -e "$folder/passed/$key" ] || exit 0
if clang-tidy -p "$folder" --quiet "$file" >"$folder/said/$name" 2>/dev/null; then
    rm "$folder/said/$name"
    : >"$folder/passed/$key"
fi'
rm -f "$folder/left" "$folder/said"/*
xargs -P "${JOBS:-$(nproc)}" -I FILE sh -c "$one" check FILE "$folder" "$end" <"$folder/files"

left=0
[ ! -e "$folder/left" ] || left=$(wc -l <"$folder/left")
bad=$(find "$folder/said" -type f | wc -l)
find "$folder/said" -type f -exec cat {} + | grep -E '(warning|error): ' | sed "s|$PWD/||" | sort -u || true
echo "check_static: $(($(wc -l <"$folder/files") - left - bad)) files pass, $bad do not, $left were left for want of time"
[ "$bad" -eq 0 ]
