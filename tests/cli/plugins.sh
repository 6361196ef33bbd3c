#!/bin/sh
# Hostile plugins and state files from outside: code that no caller named is not loaded, and a plugin
# that ends the process is named.
# usage: plugins.sh PROGRAM SOURCE_DIR EDIT_STATE PLUGIN_DIR
. "$(dirname "$0")/checks.sh"
program=$1
edit_state=$3
plugins=$4
loud=$plugins/loud.so
front=$plugins/front.so

printf 'The sun rose over the hills. The king sat by the river and the bread was still warm.' >"$work/one.txt"

# --- a state file of a stranger -------------------------------------------------------------------
run() { # run ARGUMENTS...: leaves the exit code in $code, and $work/loaded if loud.so was loaded
    rm -f "$work/loaded"
    PSC_TEST_LOADED="$work/loaded" "$program" "$@" >"$work/stdout" 2>"$work/stderr"
    code=$?
}
run corpus "$work/one.txt" --window 16 --plugin "$loud" --state "$work/loud.state"
check 'corpus loads what it is given' test "$code" -eq 0 -a -e "$work/loaded"
run corpus "$work/one.txt" --window 16 --plugin ln --state "$work/loud.state"
check 'corpus does not load what a state names' test "$code" -eq 1 -a ! -e "$work/loaded"
run merge "$work/loud.state"
check 'nor does merge' test "$code" -eq 1 -a ! -e "$work/loaded"
check 'it says what to add' grep -qx "pythiascope: the state file $work/loud.state: it was made with the plugin file \
$loud, which is loaded only if the caller names it; if you trust that file, add --plugin $loud" "$work/stderr"
cp "$loud" "$work/loud.so"
run merge "$work/loud.state" --plugin "$work/loud.so"
check 'merge loads what it is given, from there' test "$code" -eq 0 -a -e "$work/loaded"
run merge "$work/loud.state" --plugin "$front"
check 'not another file' test "$code" -eq 1 -a ! -e "$work/loaded"
check 'it says which' grep -q 'front.so is not the file of a plugin that the state files record' "$work/stderr"
run merge "$work/loud.state" --plugin "$loud:a=b"
check 'nor other options' grep -q 'a=b is not the file of .*pass the path alone' "$work/stderr"

# The header and the client part of a state: sizes at byte 16, each 8 bytes.
part_sizes=$(od -An -tu8 -j16 -N16 "$work/loud.state")
client_from() { # client_from HEADER CLIENT: the client part
    tail -c +$((41 + $1)) "$work/loud.state" | head -c "$2"
}
# shellcheck disable=SC2086 # two numbers
client=$(client_from $part_sizes)
for name in evil.so ./evil evil.dylib /tmp/evil:a=b; do
    cp "$work/loud.state" "$work/evil.state"
    printf '%s' "$client" | awk -v old="\"$loud\"" -v new="\"$name\"" '{
        at = index($0, old); print substr($0, 1, at - 1) new substr($0, at + length(old)) }' |
        "$edit_state" "$work/evil.state" client
    run merge "$work/evil.state"
    check "$name in a state is not loaded" test "$code" -eq 1
    check "$name: one sentence" test "$(grep -c 'made with the plugin file .*loaded only if' "$work/stderr")" -eq 1
done

# --- writes of observers --------------------------------------------------------------------------
run analyze --text 'a b c' --plugin "$plugins/faulty.so:do=write,when=open" --check-plugins
check 'a write is noticed' test "$code" -eq 1
check 'with its place' grep -qx 'pythiascope: plugin faulty wrote to what it only observes (an editor may, by host->edit) at blocks.0.hook_resid_post' "$work/stderr"
run analyze --text 'The king sat by the river' --check-plugins --html "$work/page.html" --capture all
check 'the built-in plugins write to nothing' test "$code" -eq 0
run corpus "$work/one.txt" --window 16 --check-plugins
check 'nor over documents' test "$code" -eq 0
run generate --text 'The king' --n 2 --plugin ln --plugin mlp --plugin lens --check-plugins
check 'nor token by token' test "$code" -eq 0

# --- a plugin that ends the process ---------------------------------------------------------------
# ends CODE PATTERN PLUGIN...: analyze with the plugin must end with CODE, one line of the program's own on stderr that
# matches, and nothing delivered.
ends() {
    want=$1
    pattern=$2
    shift 2
    rm -rf "$work/never"
    "$program" analyze --text "a b c" --plugin "$@" --out "$work/never" >"$work/stdout" 2>"$work/stderr" \
        </dev/null
    got=$?
    check "$*: exit code $got, not $want" test "$got" -eq "$want"
    check "$*: one line" test "$(grep -c '^pythiascope: ' "$work/stderr")" -eq 1
    check "$*: $pattern" grep -qE "^pythiascope: $pattern" "$work/stderr"
    check "$*: nothing delivered" test ! -e "$work/never" -a ! -s "$work/stdout"
}
ulimit -c 0
faulty=$plugins/faulty.so
if [ -z "${PSC_SANITIZED:-}" ]; then # a sanitizer has handlers and words of its own
    for place in open run_begin event part run_end report; do
        ends 139 'plugin faulty ended the program by SIGSEGV: it used memory' "$faulty:do=segv,when=$place"
        ends 1 'plugin faulty called exit before the work was done' "$faulty:do=exit,when=$place"
    done
    ends 135 'plugin faulty ended the program by SIGBUS' "$faulty:do=bus,when=event"
    ends 136 'plugin faulty ended the program by SIGFPE' "$faulty:do=fpe,when=event"
    ends 132 'plugin faulty ended the program by SIGILL' "$faulty:do=ill,when=event"
    ends 134 'plugin faulty ended the program by SIGABRT: it called abort' "$faulty:do=abort,when=event"
    ends 139 'plugin faulty ended the program by SIGSEGV' "$faulty:do=stack,when=run_end"
    ends 1 'plugin faulty called pthread_exit' "$faulty:do=thread_exit,when=run_end"
    ends 139 'the program ends by SIGSEGV while no plugin is at work on this thread' "$faulty:do=own_segv,when=run_end"
    ends 1 'a thread that a plugin started called exit' "$faulty:do=own_exit,when=run_end"
    if [ -e "$plugins/thrower.so" ]; then
        ends 134 'plugin thrower ended the program by SIGABRT' "$plugins/thrower.so"
        ends 1 'plugin thrower: it left parallel_for by a jump or an exception' "$plugins/thrower.so:kind=caught"
    fi
fi
ends 1 'plugin faulty: it left parallel_for by a jump or an exception' "$faulty:do=jump,when=part" --threads 1

conclude
