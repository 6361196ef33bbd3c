#!/bin/sh
# Processes that fail, are killed, stopped or signaled: the run ends, with one sentence where possible, and
# continues from its state to the same bytes. usage: mpi_faults.sh PROGRAM SOURCE_DIR MPIRUN LARGE_PLUGIN
. "$(dirname "$0")/mpi_checks.sh"
for k in 1 2 3 4 5 6 7 8 9 10 11 12; do # so that a run lasts until it is killed
    cp "$docs/b/one.txt" "$docs/b/copy$k.txt"
done
run="corpus $docs --window 64 --threads 1 --batch 2 --plugin mlp"

# Wrong usage and failures: rank 0 speaks, for a worker too.
check 'a wrong option' fails 'unknown option --bogus' 3 corpus "$docs" --bogus
check 'no corpus' fails 'no corpus; pass files' 3 corpus
check 'a file that is not there' fails 'cannot open .*/nothing' 3 corpus "$work/nothing"
check 'a plugin that is not there' fails "unknown built-in plugin 'none'" 3 corpus "$docs" --plugin none
check 'a wrong --mpi' fails "mpi needs auto, yes or no, not 'maybe'" 2 corpus "$docs" --mpi maybe
check 'a wrong --mpi-timeout' fails 'mpi-timeout needs a number' 2 corpus "$docs" --mpi-timeout 0
check 'a sum that overflows' fails "accumulator 'large', slot 0: .* makes the sum overflow" \
    3 corpus "$docs" --window 64 --batch 1 --plugin "$large" --threads 1
check 'alone it overflows, too' sh -c "! '$program' corpus '$docs' --window 64 --plugin '$large' 2>/dev/null"
check 'a verb of one process' ranks 2 info
check 'each process has answered' test "$(grep -c '^  folder' "$work/stdout")" -eq 2
check 'each process alone' ranks 2 corpus "$docs" --limit-tokens 500 --mpi no --plugin ln
check 'each has printed' test "$(grep -c 'See docs' "$work/stdout")" -eq 2
two() { # two PATTERN ARGUMENTS OF RANK 1...: rank 0 runs the corpus with ln
    pattern=$1
    shift
    # shellcheck disable=SC2086
    if timeout 120 "$mpirun" $options -n 1 "$program" corpus "$docs" --window 64 --plugin ln : \
        -n 1 "$program" corpus "$docs" --window 64 "$@" >"$work/stdout" 2>"$work/stderr" </dev/null; then
        return 1
    fi
    says "$pattern"
}
check 'another plugin in a worker' two 'rank 1 on .*: its model, targets, plugins.* differ' --plugin mlp
check 'another model in a worker' two 'rank 1 on .*: its model, targets, plugins.* differ' \
    --plugin ln --model "$source/models/books-0.5m/step512"
check 'a failure in a worker' two "rank 1 on .*: unknown built-in plugin 'none'" --plugin none
check 'a usage error in a worker' two 'rank 1 on .*: unknown option --bogus' --bogus

# A run that is stopped in the middle; then the same command alone must give the bytes of one process.
# shellcheck disable=SC2086 # a list of arguments
check 'one process' alone $run --state "$work/whole"
launch() { # launch N ARGUMENTS...: in the background
    n=$1
    shift
    # shellcheck disable=SC2086
    timeout 120 "$mpirun" $options $patience -n "$n" "$program" $run "$@" \
        >"$work/stdout" 2>"$work/stderr" </dev/null &
    launched=$!
}
process() { # process STATE NUMBER: the n-th process of the run with this state, by its start
    pgrep -f "^$program .*--state $1( |\$)" | sort -n | sed -n "$2p"
}
await() { # await COMMAND...: up to 60 seconds
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || return 1
        sleep 0.1
    done
}
has_tokens() { # has_tokens STATE: more than the beginning is saved
    grep -aoE '"tokens":[0-9]+' "$1" | grep -qv ':0$'
}
ended() { # ended: the run has failed, within two minutes
    wait "$launched"
    code=$?
    [ $code -ne 0 ] && [ $code -ne 124 ]
}
continued() { # continued STATE: the run alone, from there
    # shellcheck disable=SC2086
    alone $run --state "$1" && cmp -s "$work/whole" "$1"
}

stop() { # stop NAME SIGNAL PROCESS OPTIONS...: a run of 3, whose process gets a signal
    name=$1
    signal=$2
    number=$3
    shift 3
    state=$work/$(echo "$name" | tr " " -).state
    launch 3 --state "$state" "$@"
    check "$name: it saves" await has_tokens "$state"
    if [ "$number" = mpirun ]; then
        target=$(pgrep -P "$launched" | head -1)
    else
        target=$(process "$state" "$number")
    fi
    check "$name: the process is there" test -n "$target"
    kill "-$signal" "$target"
    check "$name: the run ends with a failure" ended
    [ "$signal" != STOP ] || kill -KILL "$target" 2>/dev/null
    check "$name: no process is left" await sh -c "! pgrep -f '^$program .*--state $state( |\$)'"
}
slow='--save-seconds 0.2'
patience=
# shellcheck disable=SC2086
{
    stop killed KILL 3 $slow
    check 'killed: it continues' continued "$work/killed.state"
    stop killed-first KILL 1 $slow
    check 'killed-first: it continues' continued "$work/killed-first.state"
    stop silent STOP 3 $slow --mpi-timeout 2
    check 'silent: the sentence' says 'rank [12] on .* has been silent for 2 seconds'
    check 'silent: it continues' continued "$work/silent.state"
    stop silent-first STOP 1 $slow --mpi-timeout 2
    check 'silent-first: it continues' continued "$work/silent-first.state"
    # mpirun waits so long between SIGTERM and SIGKILL, whether or not its processes have ended.
    case $options in *oversubscribe*) patience='--mca odls_base_sigkill_timeout 5' ;; esac
    for one in 'TERM mpirun' 'INT mpirun' 'TERM 3' 'INT 1'; do
        stop "signal ${one% *} to ${one#* }" "${one% *}" "${one#* }" $slow
        case $one in
            *mpirun) ;; # it may end before it has passed on the last sentence
            *) check "$one: the sentence" says 'stopped after [0-9]+ tokens; run the same command to resume' ;;
        esac
        check "$one: it continues" continued "$state"
    done
}
conclude
