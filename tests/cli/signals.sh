#!/bin/sh
# Signals from outside: INT, TERM and HUP while results are written and during a corpus, kill -9 at every
# place of a write, a reader that goes away.
# usage: signals.sh PROGRAM SOURCE_DIR SIGNAL_AT_SYNC
. "$(dirname "$0")/checks.sh"
program=$1
source=$2
preload=$3
text='a book on the'

left() { # what is in a folder under temporary names
    find "$1" -name '*.psc-tmp*'
}

# at SYNC SIGNAL ARGUMENTS...: the signal comes in the Nth fsync of the program.
at() {
    PSC_TEST_SYNC=$1 PSC_TEST_SIGNAL=$2 LD_PRELOAD=$preload "$program" "$3" --text "$text" --threads 2 "$4" "$5" \
        >"$work/stdout" 2>"$work/stderr"
}

# Whole or nothing, whichever thread the system hands the signal to. Before commit the folder's files are synced
# (2), then the folder; after its rename its parent.
for signal in 1 2 15; do
    for sync in 1 2 3 4; do
        at $sync $signal analyze --out "$work/$signal-$sync"
        check "signal $signal in sync $sync ends the program" test $? -eq $((128 + signal))
        check 'in silence' sh -c "! grep -q pythiascope: '$work/stderr'"
        check 'the folder is whole' test -s "$work/$signal-$sync/tensors.safetensors"
        check 'both files' test -s "$work/$signal-$sync/results.json"
    done
    if "$program" analyze --text "$text" --html "$work/page.html" >/dev/null 2>&1; then
        at 1 $signal analyze --html "$work/$signal.html"
        check "signal $signal while a page is written" test $? -eq $((128 + signal))
        check 'the page is whole' grep -q '</html>' "$work/$signal.html"
    fi
done
check 'no temporary name is left' test -z "$(left "$work")"

# kill -9 in each sync: the next run with the same names works, and leaves nothing.
"$program" corpus "$source/docs/hooks.md" --plugin ln --limit-tokens 500 --out "$work/whole" >/dev/null 2>&1
sync=0
code=137
while [ $code -eq 137 ] && [ $sync -lt 40 ]; do
    sync=$((sync + 1))
    rm -rf "$work/k"
    mkdir "$work/k"
    for turn in first second; do
        PSC_TEST_SYNC=$sync PSC_TEST_SIGNAL=9 LD_PRELOAD=$preload "$program" corpus "$source/docs/hooks.md" \
            --plugin ln --limit-tokens 500 --save-seconds 0 --state "$work/k/state" --out "$work/k/out" \
            >/dev/null 2>&1
        code=$?
        [ $turn = first ] && [ -d "$work/k/out" ] && rm -r "$work/k/out"
    done
    [ -d "$work/k/out" ] && mv "$work/k/out" "$work/k/former"
    check "after kill -9 in sync $sync" "$program" corpus "$source/docs/hooks.md" --plugin ln --limit-tokens 500 \
        --state "$work/k/state" --out "$work/k/out" >/dev/null 2>"$work/stderr"
    check 'the same tensors' cmp "$work/k/out/tensors.safetensors" "$work/whole/tensors.safetensors"
    check 'nothing is left' test -z "$(left "$work/k")"
done
check 'kills came in several syncs' test $sync -gt 5
check 'and ended' test $code -ne 137

# A corpus that is stopped by INT, TERM or HUP saves its state; nohup keeps HUP away.
cat "$source/docs/architecture.md" "$source/docs/hooks.md" | iconv -c -t ASCII | head -c 30000 >"$work/long.txt"
survey() { # survey NAME ARGUMENTS...
    name=$1
    shift
    "$program" corpus "$work/long.txt" --plugin ln --window 64 --batch 1 --threads 2 --state "$work/$name.state" \
        "$@" >"$work/$name.stdout" 2>"$work/$name.stderr"
}
survey once
for signal in INT TERM HUP; do
    # A shell's background job ignores INT; env gives it back where it can.
    env=
    [ $signal != INT ] || env=--default-signal=INT
    env $env true 2>/dev/null || continue
    check 'it begins' hold "$work/$signal.state" env $env sh -c 'exec "$@" 2>"$0"' "$work/stderr" \
        "$program" corpus "$work/long.txt" --plugin ln --window 64 --batch 1 --threads 2 --state "$work/$signal.state" \
        --save-seconds 1000
    pid=$held
    kill -$signal $pid
    kill -CONT $pid
    wait $pid
    check "$signal: exit 1" test $? -eq 1
    check "$signal: one sentence" test "$(grep -c '' "$work/stderr")" -eq 1
    check "$signal: it names the state" \
        grep -q 'stopped after .* tokens; run the same command to resume from' "$work/stderr"
    check "$signal: resumes" survey $signal
    check "$signal: the same results" cmp "$work/$signal.stdout" "$work/once.stdout"
done
(
    trap '' HUP
    exec "$program" corpus "$work/long.txt" --plugin ln --window 64 --batch 1 --state "$work/nohup.state" \
        >"$work/nohup.stdout" 2>"$work/stderr"
) &
pid=$!
await "$work/nohup.state"
kill -HUP $pid
wait $pid
check 'nohup: goes on to the end' test $? -eq 0
check 'nohup: the same results' cmp "$work/nohup.stdout" "$work/once.stdout"

# On a terminal the bar's line is erased before the program ends; `script` of util-linux makes one. The shell on it
# outlives the program: where a session's leader ends, the system may drop what nobody has read yet.
ends_erased() {
    grep -v '^Script ' "$work/terminal" | tr -d '\n' | tail -c 4 | grep -q "$(printf '^\r\033\\[K')\$"
}
within() { # within SECONDS COMMAND...: whether it comes true in this time
    tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done 2>/dev/null
}
erased() {
    within 60 ends_erased && return
    cat -v "$work/terminal"
    return 1
}
if script --version 2>/dev/null | grep -q util-linux; then
    head -c 900 "$source/docs/hooks.md" >"$work/rows.txt"
    cat >"$work/on_terminal.sh" <<END
exec 3>&2 2>/dev/null
"$program" sweep --file "$work/rows.txt" --over edges --threads 1 2>&3 &
echo \$! >"$work/pid"
wait \$!
until [ -e "$work/seen" ]; do sleep 0.1; done
END
    script -qfec "sh '$work/on_terminal.sh'" "$work/terminal" >/dev/null 2>&1 </dev/null &
    check 'the bar is shown' within 60 grep -q elapsed "$work/terminal"
    kill -TERM "$(cat "$work/pid")" # a background job ignores INT
    check 'the bar is erased' erased
    touch "$work/seen"
    wait $!
fi

# TERM as soon as the state's lock is there, before the run waits for signals: no lock stays.
locks=0
for i in 1 2 3 4 5 6; do
    "$program" corpus "$work/long.txt" --plugin ln --window 64 --state "$work/early$i.state" >"$work/stdout" 2>"$work/stderr" &
    pid=$!
    until [ -e "$work/early$i.state.lock" ] || ! kill -0 $pid 2>/dev/null; do :; done
    kill -TERM $pid
    wait $pid
    [ ! -e "$work/early$i.state.lock" ] || locks=$((locks + 1))
done
check "no lock stays after an early TERM: $locks of 6 do" test $locks -eq 0

# A reader of stderr that is gone does not stop a run whose notes it would have read.
mkdir "$work/bad"
head -c 3000 "$work/long.txt" >"$work/bad/b.txt"
printf 'not UTF-8 \377' >"$work/bad/a.txt"
mkfifo "$work/gone"
sh -c "exec 3<'$work/gone'" &
"$program" corpus "$work/bad" --plugin ln 2>"$work/gone" >"$work/stdout" &
pid=$!
wait $pid
check 'without a reader of stderr' test $? -eq 0
check 'the results are there' grep -q '^ln ' "$work/stdout"
conclude
