#!/bin/sh
# The same bytes for any number of processes: states, results, all plugins of corpus, sweep, lists of
# prompts and of checkpoints. usage: mpi_same.sh PROGRAM SOURCE_DIR MPIRUN LARGE_PLUGIN
. "$(dirname "$0")/mpi_checks.sh"
run='--window 64 --threads 1 --batch 2'

# One process, then 1 to 4.
# shellcheck disable=SC2086 # lists of arguments
{
    check 'one process' alone corpus "$docs" $run --state "$work/s0" --out "$work/o0"
    for n in 1 2 3 4; do
        check "$n ranks" ranks $n corpus "$docs" $run --state "$work/s$n" --out "$work/o$n"
        check "the state of $n ranks" cmp -s "$work/s0" "$work/s$n"
        check "the results of $n ranks" same "$work/o0" "$work/o$n"
    done
    check 'a note is printed once' test "$(grep -c 'JSON object' "$work/stderr")" -eq 1

    # All other plugins over a corpus; batches do not matter.
    all='--plugin logits:level=layer --plugin neurons:contexts=3 --plugin attention:contexts=2
        --plugin spans --plugin words'
    check 'plugins of contexts' alone corpus "$docs" $run $all --state "$work/p0" --out "$work/po0"
    check 'plugins of contexts, 3 ranks' \
        ranks 3 corpus "$docs" --window 64 --threads 2 --batch 5 $all --state "$work/p3" --out "$work/po3"
    check 'their states' cmp -s "$work/p0" "$work/p3"
    check 'their results' same "$work/po0" "$work/po3"

    # Short and long windows in a pass.
    awk 'BEGIN {for (i = 0; i < 80; i++) {n = i % 20 == 7 ? 150 : i * i % 23 + 1; printf "{\"text\": \"the"
        for (k = 1; k < n; k++) printf " %s", k % 3 ? "old man" : "sea"; print "\"}"}}' >"$work/mixed.jsonl"
    check 'mixed lengths' alone corpus "$work/mixed.jsonl" $run --state "$work/x0" --out "$work/xo0"
    check 'mixed lengths, 3 ranks' \
        ranks 3 corpus "$work/mixed.jsonl" --window 64 --batch 3 --state "$work/x3" --out "$work/xo3"
    check 'their states' cmp -s "$work/x0" "$work/x3"
    check 'their results' same "$work/xo0" "$work/xo3"

    # Windows that overlap, with an intervention, each run twice.
    overlap='--plugin loss:early=2,late=20 --stride 20 --ablate L1H2'
    check 'windows that overlap' alone corpus "$docs" $run $overlap --state "$work/v0" --out "$work/vo0"
    check 'windows that overlap, 3 ranks' ranks 3 corpus "$docs" $run $overlap --state "$work/v3" --out "$work/vo3"
    check 'their states' cmp -s "$work/v0" "$work/v3"
    check 'their results' same "$work/vo0" "$work/vo3"

    # What is read, and what acts on it.
    each='--plugin ln --plugin logits:level=layer'
    i=0
    for how in '--limit-tokens 3000' '--sample 20 --seed 3' '--shard 2/3' '--ablate L1H2' \
        '--bos --target top:2'; do
        i=$((i + 1))
        check "one process: $how" alone corpus "$docs" $run $each $how --state "$work/h$i"
        check "3 ranks: $how" ranks 3 corpus "$docs" $run $each $how --state "$work/H$i"
        check "the state: $how" cmp -s "$work/h$i" "$work/H$i"
    done

    # Another number of processes continues, or none; a finished state is reported again.
    check 'up to a limit with 2' ranks 2 corpus "$docs" $run --limit-tokens 2000 --state "$work/r"
    check 'further with 3' ranks 3 corpus "$docs" $run --limit-tokens 5000 --state "$work/r"
    check 'further alone' alone corpus "$docs" $run --limit-tokens 7000 --state "$work/r"
    check 'to the end with 2' ranks 2 corpus "$docs" $run --state "$work/r" --out "$work/ro"
    check 'the state that many continued' cmp -s "$work/s0" "$work/r"
    check 'its results' same "$work/o0" "$work/ro"
    check 'a finished state' ranks 2 corpus "$docs" $run --state "$work/r"
    check 'a finished state says so' grep -q 'nothing was left to read' "$work/stderr"
    check 'saved often' ranks 3 corpus "$docs" $run --state "$work/often" --save-seconds 0
    check 'the state that was saved often' cmp -s "$work/s0" "$work/often"
    check 'a part with 2 ranks' ranks 2 corpus "$docs" $run --shard 1/2 --state "$work/m1"
    check 'the other alone' alone corpus "$docs" $run --shard 2/2 --state "$work/m2"
    check 'both merged' alone merge "$work/m1" "$work/m2" --out "$work/mo"
    check 'their results are those of all' same "$work/o0" "$work/mo"
    check 'standard input' sh -c "cat '$docs/b/one.txt' | '$mpirun' $options -n 2 '$program' corpus - \
        $run $each --state '$work/i2' >/dev/null"
    check 'standard input alone' sh -c "cat '$docs/b/one.txt' | '$program' corpus - \
        $run $each --state '$work/i0' >/dev/null"
    check 'standard input is the same' cmp -s "$work/i0" "$work/i2"
}

# sweep: its cases over one prompt, and prompts.
text='the sun rose over the sea and the'
i=0
for how in '--over heads' '--over heads_by_pos --metric kl' '--over resid_pre --do mean --target next' \
    '--over edges --do cut --layer 1 --target next --target top:2'; do
    i=$((i + 1))
    # shellcheck disable=SC2086
    {
        check "sweep alone: $how" alone sweep --text "$text" $how --threads 1 --out "$work/w$i"
        check "sweep with 3: $how" ranks 3 sweep --text "$text" $how --threads 1 --out "$work/W$i"
    }
    check "sweep, the results: $how" same "$work/w$i" "$work/W$i"
done
printf '%s\n' 'the sun rose over the' 'once upon a time there was a' 'the king said to his' \
    'in the beginning God created the' >"$work/prompts"
mkdir "$work/one" "$work/three"
several() { # several FOLDER COMMAND...
    folder=$1
    shift
    (cd "$work/$folder" && "$@" sweep --prompts ../prompts --threads 1 --out out --html page.html)
}
check 'prompts alone' several one alone
check 'prompts with 3 ranks' several three ranks 3
check 'the folders and pages of prompts' diff -r "$work/one" "$work/three"

# Checkpoints.
family=$work/family
mkdir "$family"
for step in step0 step128 step512; do cp -r "$source/models/books-0.5m/$step" "$family"; done
i=0
for first in analyze sweep weights corpus; do
    i=$((i + 1))
    case $first in
        analyze) set -- analyze --text "$text" ;;
        sweep) set -- sweep --text 'the rose' --over heads ;;
        weights) set -- weights ;;
        corpus) set -- corpus "$docs" --window 64 --limit-tokens 2000 ;;
    esac
    set -- "$@" --model "$family@step0,step128,step512" --threads 1
    check "checkpoints alone: $first" alone "$@" --out "$work/c$i"
    check "checkpoints with 3: $first" ranks 3 "$@" --out "$work/C$i"
    check "the stack: $first" same "$work/c$i" "$work/C$i"
    check "nothing is left: $first" test ! -e "$work/C$i.steps"
done
check 'no folders are left' test -z "$(ls -d "${TMPDIR:-/tmp}"/pythiascope-rank-* 2>/dev/null)"
conclude
