#!/bin/sh
# The state file of corpus: links to it, files that are none, states that cannot be opened, and locks.
# usage: states.sh PROGRAM [NO_LOCKS], a library for LD_PRELOAD
. "$(dirname "$0")/checks.sh"
program=$1
no_locks=${2:-}

docs=$work/docs
mkdir "$docs"
for i in 1 2 3 4 5 6; do
    for j in 1 2 3 4 5 6 7 8 9; do echo "Chapter $i.$j tells of a road of yellow brick, and of $i towers."; done
done >"$docs/a.txt"
survey() { # survey STATE ARGUMENTS...
    state=$1
    shift
    timeout 300 "$program" corpus "$docs" --plugin ln --window 32 --batch 1 --threads 1 --json --state "$state" "$@"
}
quiet() { # quiet NAME COMMAND...: stdout to NAME.json, stderr to NAME.stderr
    name=$1
    shift
    "$@" >"$work/$name.json" 2>"$work/$name.stderr"
}
refused() { # refused PATTERN STATE
    expect 1 "$1" corpus "$docs" --plugin ln --window 32 --state "$2"
}
sum() { cksum <"$1"; }

# A state named through a link: the link stays, the file behind it is locked, read and replaced.
mkdir "$work/real"
check 'a run to compare with' quiet whole survey "$work/whole.state"
ln -s real/one.state "$work/link.state"
check 'a link to nothing' quiet begun survey "$work/link.state" --limit-tokens 100
check 'stays a link' test -L "$work/link.state"
check 'the file is made behind it' test -f "$work/real/one.state"
ln -s link.state "$work/second.state"
check 'a link to the link' quiet rest survey "$work/second.state"
check 'stays a link, too' test -L "$work/second.state" -a -L "$work/link.state"
check 'and resumes' cmp "$work/whole.state" "$work/real/one.state"
check 'no lock stays' sh -c "! ls -A '$work' '$work/real' | grep -q lock"
ln -s "$work/real" "$work/folder"
rm "$work/real/one.state"
check 'it begins' hold "$work/real/one.state" \
    "$program" corpus "$docs" --plugin ln --window 32 --batch 1 --threads 1 --state "$work/real/one.state"
for name in link.state second.state folder/one.state real/one.state; do
    refused "process $held is using the state file .*$name; wait" "$work/$name"
done
kill -9 $held
wait $held 2>/dev/null
check 'nothing is lost' quiet after survey "$work/link.state"
check 'and the file is the same' cmp "$work/whole.state" "$work/real/one.state"

# What is no state, and must not be replaced or waited for.
mkfifo "$work/pipe.state"
mkdir "$work/folder.state"
ln -s loop.state "$work/loop.state"
ln -s pipe.state "$work/piped.state"
refused 'pipe.state is a FIFO, not a regular file' "$work/pipe.state"
refused 'piped.state is a FIFO, not a regular file' "$work/piped.state"
refused 'folder.state is a folder, not a regular file' "$work/folder.state"
refused 'null is a device, not a regular file' /dev/null
refused 'cannot open the state file .*loop.state: Too many levels' "$work/loop.state"
refused 'cannot open the state file .*: Not a directory' "$docs/a.txt/one.state"
refused 'has no name' ''
refused 'cannot lock the state file .*cannot open .*nowhere/one.state.lock: No such file' "$work/nowhere/one.state"
check 'they stay' test -p "$work/pipe.state" -a -d "$work/folder.state" -a -L "$work/loop.state" -a -c /dev/null
check 'no lock stays beside them' sh -c "! ls -A '$work' | grep -q lock"

# A lock that cannot be made.
cp "$work/whole.state" "$work/kept.state"
mkfifo "$work/kept.state.lock"
refused 'cannot lock the state file .*kept.state.lock: File exists; pass a different --state' "$work/kept.state"
rm "$work/kept.state.lock"
ln -s /tmp "$work/kept.state.lock"
refused 'cannot lock the state file .*kept.state.lock' "$work/kept.state"
rm "$work/kept.state.lock"
check 'the state stays' cmp "$work/whole.state" "$work/kept.state"
if [ -n "$no_locks" ]; then
    check 'without locks it runs' quiet unlocked env LD_PRELOAD="$no_locks" "$program" corpus "$docs" --plugin ln \
        --window 32 --batch 1 --threads 1 --json --state "$work/unlocked.state"
    check 'says so' grep -q '^pythiascope: note: the file system has no locks (No locks available): make sure that no other process uses the state file' \
        "$work/unlocked.stderr"
    check 'with one sentence' test "$(wc -l <"$work/unlocked.stderr")" -eq 1
    check 'and the same state' cmp "$work/whole.state" "$work/unlocked.state"
    check 'and no lock stays' test ! -e "$work/unlocked.state.lock"
fi

# As a user who may not read the state, or not write into its folder.
as_other() { true; }
if [ "$(id -u)" -eq 0 ]; then
    as_other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    chmod 755 "$work"
fi
if as_other "$program" --version >"$work/version" 2>&1 && [ -s "$work/version" ]; then
    other=$work/other
    mkdir -m 777 "$other"
    cp "$work/whole.state" "$other/shut.state"
    chmod 0 "$other/shut.state"
    before=$(sum "$other/shut.state")
    as_other timeout 300 "$program" corpus "$docs" --plugin ln --window 32 --state "$other/shut.state" >"$work/stdout" 2>"$work/stderr"
    check 'a state without permission is refused' test $? -eq 1
    check 'with one sentence' test "$(grep -c 'shut.state: Permission denied' "$work/stderr")" -eq 1
    check 'and not replaced' test "$before" = "$(sum "$other/shut.state")"
    chmod 644 "$other/shut.state"
    chmod 555 "$other"
    as_other timeout 300 "$program" corpus "$docs" --plugin ln --window 32 --state "$other/shut.state" >"$work/stdout" 2>"$work/stderr"
    check 'a folder that cannot be written is refused' test $? -eq 1
    check 'with one sentence, too' test "$(grep -c 'cannot lock the state file .*shut.state.lock: Permission denied; pass a different --state' "$work/stderr")" -eq 1
    chmod 000 "$other"
    as_other timeout 300 "$program" corpus "$docs" --plugin ln --window 32 --state "$other/shut.state" >"$work/stdout" 2>"$work/stderr"
    check 'a folder that cannot be searched is refused' test $? -eq 1
    check 'and named' test "$(grep -c 'cannot open the state file .*Permission denied' "$work/stderr")" -eq 1
fi

conclude
