#!/bin/sh
# Makes build/packages/pythiascope_*.deb and pythiascope-*.tar.gz from a release build. The .tar.gz
# names the packages of Debian or Ubuntu that it needs in share/doc/pythiascope/libraries.txt. Both
# run on the release of Debian or Ubuntu that made them, or a later one with the same libraries.
# usage: make_packages.sh [BUILD]      default: build/release
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
out=$PWD/build/packages

fail() {
    echo "make_packages: $*" >&2
    exit 1
}
[ -x "$build/pythiascope" ] || fail "no program in $build; build it first or pass its folder"
for tool in cpack dpkg-shlibdeps dpkg-deb file; do
    command -v $tool >/dev/null 2>&1 || fail "$tool is missing; run tools/install_dependencies.sh --packages"
done
mkdir -p "$out"
rm -f "$out"/pythiascope*.deb "$out"/pythiascope*.tar.gz "$build/libraries.txt"
pack() { # pack GENERATOR
    cpack --config "$build/CPackConfig.cmake" -G "$1" -B "$out/work" >"$out/$1.log" 2>&1 ||
        { cat "$out/$1.log" >&2; fail "cpack -G $1 failed"; }
}
pack DEB
# "libc6 (>= 2.35), libcurl4 (>= 7.66.0) | libcurl4t64, ..." -> one name per line
dpkg-deb -f "$out"/work/*.deb Depends | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/ //g' |
    grep -v '^libc6$' >"$build/libraries.txt"
echo ca-certificates >>"$build/libraries.txt" # pull speaks TLS
pack TGZ
rm -f "$build/libraries.txt"
mv "$out"/work/pythiascope*.deb "$out"/work/pythiascope*.tar.gz "$out"
rm -rf "$out/work"
for package in "$out"/pythiascope*; do
    echo "build/packages/${package##*/}: $(wc -c <"$package") bytes"
done
