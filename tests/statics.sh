#!/bin/sh
# The built-in plugins have no zeroed static data, which two sessions at once would share: their memory
# is the instance's or the run's. Names of compilers begin with two underscores.
# usage: statics.sh NM OBJECT...
set -u
nm=$1
shift
failures=0
symbols=0
for object in "$@"; do
    listed=$("$nm" "$object") || exit 1
    symbols=$((symbols + $(echo "$listed" | grep -c ' T ')))
    for name in $(echo "$listed" | awk '$2 ~ /^[bBC]$/ && $3 !~ /^_*__/ { print $3 }'); do
        echo "statics: $(basename "$object") has the static variable $name"
        failures=$((failures + 1))
    done
done
[ "$symbols" -gt 100 ] || { echo "statics: found only $symbols functions in $# files"; exit 1; }
[ $failures -eq 0 ] || exit 1
echo "statics: no plugin has a static variable; read $# files"
