#!/bin/sh
# Builds the tree twice, in two folders from two copies of its files, without a compiler's cache, and
# compares the library, the program and its help files byte for byte.
# usage: check_reproducible.sh [BUILD]     with BUILD: one new build is compared with that one
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "check_reproducible: $*" >&2
    exit 1
}

# build NAME: copies the tree's files to NAME/tree and builds them there.
build() {
    mkdir -p "$work/$1/tree"
    git ls-files -z | tar --null -cf - -T - | tar -xf - -C "$work/$1/tree"
    CMAKE_C_COMPILER_LAUNCHER='' cmake -S "$work/$1/tree" -B "$work/$1/build" -G Ninja \
        -DCMAKE_BUILD_TYPE=Release -DPSC_BUILD_TESTS=OFF -DPSC_BUILD_BENCH=OFF >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "cmake failed"; }
    ninja -C "$work/$1/build" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; fail "the build failed"; }
}

build second
if [ $# -gt 0 ]; then
    first=$1
else
    build first
    first=$work/first/build
fi
for file in libpythiascope.so pythiascope help/man help/bash help/zsh help/fish; do
    cmp "$first/$file" "$work/second/build/$file" || fail "$file differs between two builds of one tree"
done
echo "reproducible: libpythiascope.so, pythiascope and the help files of two builds are equal"
