# Shared code of the command line tests, which source this file. The shell removes the folder `work`
# at its end; `conclude` is a test's last command.
set -u
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-cli-XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
passed=0
failed=0

check() { # check DESCRIPTION COMMAND...
    description=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $description"; fi
}

# expect CODE PATTERN ARGUMENTS...: $program must exit with CODE after one sentence that matches PATTERN on stderr, and
# print nothing.
expect() {
    code=$1
    pattern=$2
    shift 2
    "$program" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    got=$?
    problem=
    [ $got -eq "$code" ] || problem="exit code $got, not $code"
    [ "$(wc -l <"$work/stderr")" -eq 1 ] || problem="$problem; not one line on stderr"
    grep -q '^pythiascope: ' "$work/stderr" || problem="$problem; no 'pythiascope: '"
    grep -qE -- "$pattern" "$work/stderr" || problem="$problem; no '$pattern'"
    [ ! -s "$work/stdout" ] || problem="$problem; something on stdout"
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $* -> ${problem#; }"
        sed 's/^/    /' "$work/stderr" | head -5
    fi
}

await() { # await FILE: waits until it is there, at most a minute
    tries=0
    until [ -e "$1" ]; do
        tries=$((tries + 1))
        [ $tries -le 6000 ] || return 1
        sleep 0.01
    done
}

# hold STATE COMMAND...: starts a command and stops it by STOP while it uses its state file, which must not be
# there before; its process is $held. A command that ended first is started again.
hold() {
    state=$1
    shift
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        "$@" >/dev/null 2>&1 &
        held=$!
        await "$state" || return 1
        kill -STOP $held
        [ ! -e "$state.lock" ] || return 0
        kill -9 $held
        wait $held 2>/dev/null
        rm "$state"
    done
    return 1
}

conclude() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
