#!/bin/sh
# What several processes cost beside one: the wall time of one process with two threads against two ranks
# of one thread, in turn, and the memory of each rank. The least time of each counts.
# usage: cluster.sh PROGRAM CORPUS [REPEATS [ARGUMENTS OF corpus]]; PROGRAM is a build with -DPSC_MPI=ON
set -eu
program=$1
corpus=$2
repeats=${3:-5}
[ $# -lt 3 ] || shift
shift 2
[ $# -gt 0 ] || set -- --plugin ln --plugin mlp --limit-tokens 30000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
options=--oversubscribe
[ "$(id -u)" -ne 0 ] || options="$options --allow-run-as-root"

now() { date +%s.%N; }
timed() { # timed NAME COMMAND...: appends the seconds to $work/NAME
    name=$1
    shift
    begin=$(now)
    "$@" >"$work/out" 2>"$work/err" </dev/null || { cat "$work/err" >&2; exit 1; }
    echo "$begin $(now)" | awk '{printf "%.2f\n", $2 - $1}' >>"$work/$name"
}
least() { sort -n "$work/$1" | head -1; }
i=0
while [ $i -lt "$repeats" ]; do
    i=$((i + 1))
    timed threads "$program" corpus "$corpus" --threads 2 "$@"
    # shellcheck disable=SC2086 # a list of options
    timed ranks mpirun $options --bind-to none -n 2 "$program" corpus "$corpus" --threads 1 "$@"
done
echo "one process, two threads: $(sort -n "$work/threads" | tr '\n' ' ')s"
echo "two ranks, one thread:    $(sort -n "$work/ranks" | tr '\n' ' ')s"
echo "$(least threads) $(least ranks)" | awk '{printf "efficiency: %.2f\n", $1 / $2}'

# Memory: the largest resident and proportional size of each rank, in a short and in a long run.
memory() { # memory RANKS TOKENS ARGUMENTS...
    ranks=$1
    tokens=$2
    shift 2
    # shellcheck disable=SC2086
    mpirun $options --bind-to none -n "$ranks" "$program" corpus "$corpus" --threads 1 "$@" \
        --limit-tokens "$tokens" >/dev/null 2>&1 </dev/null &
    run=$!
    : >"$work/memory"
    while kill -0 $run 2>/dev/null; do
        for process in $(pgrep -f "^$program corpus .*--limit-tokens $tokens\$"); do
            awk -v id="$process" '/^Rss/ {r = $2} /^Pss:/ {p = $2} END {if (r) print id, r, p}' \
                "/proc/$process/smaps_rollup" 2>/dev/null >>"$work/memory" || true
        done
        sleep 0.2
    done
    awk -v n="$ranks" -v tokens="$tokens" '{if ($2 > r[$1]) r[$1] = $2; if ($3 > p[$1]) p[$1] = $3}
        END {printf "%d ranks, %d tokens, MB per rank, resident (proportional):", n, tokens
             for (i in r) printf " %.1f (%.1f)", r[i] / 1024, p[i] / 1024; print ""}' "$work/memory"
}
for n in 1 2 4; do memory $n 20000 --plugin ln; done
memory 4 200000 --plugin ln
