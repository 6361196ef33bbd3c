#!/bin/sh
# Every kernel is compiled with the address sanitizer in a build that has it: each object calls its run time.
# usage: instrumented.sh NM OBJECT...
set -u
nm=$1
shift
n=0
failed=0
for object in "$@"; do
    n=$((n + 1))
    # A file of constants alone reads and writes nothing.
    "$nm" "$object" | grep -q ' [Tt] psc_' || continue
    "$nm" "$object" | grep -q 'U __asan_' || { failed=$((failed + 1)); echo "not instrumented: $object"; }
done
echo "$n objects, $failed not instrumented"
[ "$n" -gt 20 ] && [ "$failed" -eq 0 ]
