# What the linker made of the hardening flags. usage: hardening.sh PROGRAM LIBRARY OBJECT
program=$1
library=$2
object=$3
. "$(dirname "$0")/checks.sh"

has() { # has PATTERN: in what was read last
    grep -qE -- "$1" "$work/read"
}
for file in "$program" "$library"; do
    readelf -dW "$file" >"$work/read"
    check "$file resolves its symbols at the start" has 'BIND_NOW|FLAGS_1.*NOW'
    check "$file has no run path of the build" sh -c "! grep -q 'R.*PATH.*$(pwd)' '$work/read'"
    readelf -lW "$file" >"$work/read"
    check "$file has a read-only relocation table" has GNU_RELRO
    check "$file has a stack that cannot run" has 'GNU_STACK .* RW '
    readelf -W --dyn-syms "$file" >"$work/read"
    check "$file has the stack protector" has __stack_chk_fail
    check "$file has checked calls" has '__(snprintf|memcpy|read|fread)_chk'
    check "$file names no folder of the tree" sh -c "! strings -a '$file' | grep -qF '$(cd "$(dirname "$0")/../.." && pwd)/'"
done
readelf -hW "$program" >"$work/read"
check 'the program can be loaded anywhere' has 'Type: *DYN'
if [ "$(uname -m)" = x86_64 ]; then
    readelf -nW "$object" >"$work/read"
    check 'jumps and returns are protected' has 'IBT, SHSTK'
fi
conclude
