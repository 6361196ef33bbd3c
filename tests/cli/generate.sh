#!/bin/sh
# generate with several prompts: each has the tokens that it has alone, whatever is decoded beside it.
# Usage: generate.sh PROGRAM
program=$1
. "$(dirname "$0")/checks.sh"

# Long and short texts, more than one batch; some end at the token 0 or at the context.
printf 'Once upon a time\nThe king\n\nA\nIt was the best of times, it was the worst of times, it was the age of wisdom\n' >"$work/list"
for word in one two three four five six; do echo "The $word"; done >>"$work/list"
yes 'and the sea' | head -n 170 | tr '\n' ' ' | sed 's/ $//' >>"$work/list"
echo >>"$work/list"
grep . "$work/list" >"$work/texts"
n=$(wc -l <"$work/texts")

alone() { # alone OPTIONS...: what the prompts print, each by a run of its own
    i=0
    while IFS= read -r text; do
        i=$((i + 1))
        [ $i -eq 1 ] || echo
        echo "prompt $i of $n"
        "$program" generate --text "$text" "$@" 2>/dev/null
    done <"$work/texts"
}
same() { # same OPTIONS... [-- OPTIONS of the run of all]
    options=
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086
    alone $options >"$work/alone" && "$program" generate --prompts "$work/list" $options "$@" >"$work/all" 2>/dev/null &&
        cmp "$work/all" "$work/alone"
}
check 'greedy' same --n 40
check 'one at a time' same --n 40 -- --batch 1
check 'three at a time, on one thread' same --n 40 -- --batch 3 --threads 1 --chunk 7
check 'drawn' same --n 30 --temperature 0.9 --top-p 0.9 --seed 3
check 'on another instruction set' same --n 30 --top-k 20 --seed 4 -- --isa reference
check 'no token' same --n 0
"$program" generate --text 'The king' --text 'The king' --n 20 --temperature 1 --seed 5 >"$work/twice"
check 'one seed for all' test "$(sed -n 2p "$work/twice")" = "$(sed -n 5p "$work/twice")"
check 'to the end of the context' same --n 600
check 'with the beginning token' same --n 5 --bos
head -n 2 "$work/texts" >"$work/two"
"$program" generate --prompts "$work/two" --n 4 >"$work/of_file"
"$program" generate --text 'Once upon a time' --text 'The king' --n 4 >"$work/of_texts"
check 'repeated texts' cmp "$work/of_file" "$work/of_texts"
check 'from a pipe' sh -c "'$program' generate --prompts - --n 3 <'$work/list' | grep -q '^prompt $n of $n$'"

# An object per prompt has the generation of the prompt's own run.
"$program" generate --prompts "$work/list" --n 12 --top-p 0.8 --json >"$work/objects" 2>/dev/null
check 'an object per prompt' test "$(jq -c .prompt "$work/objects" | tr '\n' ' ')" = "$(seq -s ' ' 1 "$n") "
while IFS= read -r text; do
    "$program" generate --text "$text" --n 12 --top-p 0.8 --json 2>/dev/null | tail -n 1 | jq -cS .generation
done <"$work/texts" >"$work/generations"
check 'the generations of runs alone' sh -c "jq -cS .generation '$work/objects' | cmp - '$work/generations'"
check 'the command of each' sh -c "jq -r .command '$work/objects' | grep -c -- '--text' | grep -qx '$n'"
"$program" generate --prompts "$work/list" --n 12 --top-p 0.8 --json --batch 3 >"$work/three" 2>/dev/null
check 'in batches the same but for three numbers' sh -c "jq -c 'del(.run.chunk, .run.n_rows, .run.sequences)' '$work/objects' >'$work/whole' &&
    jq -c 'del(.run.chunk, .run.n_rows, .run.sequences)' '$work/three' | cmp - '$work/whole'"
check 'the whole text in its command' grep -qF -- "--text '$(tail -n 1 "$work/texts")' --n 12 " "$work/objects"
check 'nothing of the last run' jq -se 'all(has("tokens") or has("plugins") | not)' "$work/objects" >/dev/null

# With plugins, a folder, targets or interventions the prompts run one after the other.
check 'with a folder' sh -c "'$program' generate --prompts '$work/two' --n 3 --plugin ln --out '$work/out' >/dev/null 2>&1"
check 'a folder per prompt' sh -c "'$program' generate --text 'The king' --n 3 --plugin ln --out '$work/king' >/dev/null 2>&1 &&
    test \"\$(jq -cS .generation '$work/king/results.json')\" = \"\$(jq -cS .generation '$work/out/2/results.json')\""
"$program" generate --text 'The king' --n 8 --ablate L1H2 >"$work/edited"
"$program" generate --prompts "$work/two" --n 8 --ablate L1H2 | sed '1,/prompt 2/d' >"$work/second"
check 'an intervention acts on each' cmp "$work/second" "$work/edited"

# A note on one of several prompts names it.
printf 'The king\n\nThe queen \n' >"$work/spaced"
for verb in analyze generate; do
    check "$verb: a note names the line" sh -c "'$program' $verb --prompts '$work/spaced' 2>&1 >/dev/null |
        grep -q '^pythiascope: note: $work/spaced, line 3: the text ends with a space'"
    check "$verb: a note names the text" sh -c "'$program' $verb --text a --text 'b ' --ablate L1H2 2>&1 >/dev/null |
        grep -q '^pythiascope: note: text 2: the text ends with a space'"
done
printf 'The king\n {"a": 1}\n { "text": "The queen"}\n{"text": "The sea"}\n' >"$work/mixed"
"$program" generate --prompts "$work/mixed" --n 1 >"$work/stdout" 2>"$work/stderr"
check 'an object below a text is a text' grep -q '^prompt 4 of 4$' "$work/stdout"
check 'one note says so' test "$(grep -c . "$work/stderr")" -eq 1
check 'and names the line' grep -q 'note: .*mixed, line 3: {"text" is read as it stands' "$work/stderr"
for line in '{' '{"text' '{"texts": 1}' '{ }'; do
    printf 'The king\n%s' "$line" >"$work/mixed"
    check "no note on $line" sh -c "'$program' generate --prompts '$work/mixed' --n 1 2>&1 >/dev/null | grep -c . | grep -qx 0"
done

# What is wrong is one sentence before any work.
expect 2 'mutually exclusive' generate --text a --prompts "$work/two"
expect 2 '--batch needs' generate --text a --batch 0
expect 1 'cannot open' generate --prompts "$work/missing"
printf '\n\n' >"$work/none"
expect 1 'none has no prompts' generate --prompts "$work/none"
seq -s ' ' 1 600 >"$work/long"
expect 1 'long, line 1: the prompt has at least [0-9]* tokens' generate --prompts "$work/long"
expect 1 'text 2: the text is empty' generate --text a --text ''

# A wrong option is no prompt's fault: the sentence names none, and no prompt is announced.
for verb in generate analyze; do
    expect 1 '^pythiascope: unknown built-in plugin' $verb --prompts "$work/two" --plugin nonsense
    expect 1 '^pythiascope: plugin ln has no option' $verb --prompts "$work/two" --plugin ln:nonsense=1
    expect 1 '^pythiascope: target #9999999 ' $verb --prompts "$work/two" --plugin ln --target '#9999999'
    expect 1 '^pythiascope: plugin ablate: at=' $verb --prompts "$work/two" --ablate L99H0
done
expect 1 '^pythiascope: plugin spans: heads=causal' generate --prompts "$work/two" --plugin spans:heads=causal
expect 1 'two, line 1: plugin ablate: ' analyze --prompts "$work/two" --ablate L0H0:rows=30 --json
conclude
