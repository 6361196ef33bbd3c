#!/bin/sh
# results.json from outside: its numbers, targets, command and time; several prompts; captures; what
# generate leaves.
# usage: results.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1
text='There was once a giant named Grumbold. Nobody in the village had ever seen Grumb'
if ! command -v jq >/dev/null 2>&1; then
    echo 'jq is missing; tools/install_dependencies.sh installs it'
    exit 1
fi

# --- numbers -------------------------------------------------------------------------------------
"$program" analyze --text "$text" --json >"$work/one.json"
heads=$(jq -r '.plugins.logits.arrays["contributions.head"].largest[-1].heads[:5][].label' "$work/one.json" | tr '\n' ' ')
check 'the five heads with the largest share' test "$heads" = 'L3H7 L3H3 L2H1 L2H7 L1H7 '
check 'the share of the first' test "$(jq '.plugins.logits.arrays["contributions.head"].largest[-1].heads[0].value * 1000 | round' \
    "$work/one.json")" = 9627
check 'the target' test "$(jq -c '.targets[-1] | [.name, .row, .id, .text, .rank, (.p * 1000 | round), (.logit * 100 | round)]' \
    "$work/one.json")" = '["top:1",22,1606,"old",1,991,1398]'
check 'a small array' test "$(jq -c '.plugins.logits.arrays.target_ids.values' "$work/one.json")" = '[[[1606,-1]]]'
"$program" analyze --text "$text" --contrast ' he' ' she' --plugin logits:level=head --json >"$work/both.json"
check 'a contrast' test "$(jq -c '.targets[0] | [.name, .text, .minus.text, .logit > .minus.logit]' "$work/both.json")" = \
    "[\"' he' - ' she'\",\" he\",\" she\",true]"

# --- the command ---------------------------------------------------------------------------------
run() { # run NAME OPTIONS...
    name=$1
    shift
    "$program" analyze --text "it's" --plugin ln --out "$work/$name" "$@" >/dev/null 2>"$work/$name.said"
}
check 'a run' run first --threads 1
check 'a run with other settings' run second --threads 1 --no-cache --json
check 'equal work has equal results.json' cmp "$work/first/results.json" "$work/second/results.json"
check 'nothing is said' test ! -s "$work/first.said"
check 'the command' test "$(jq -r .command "$work/first/results.json")" = "pythiascope analyze --text 'it'\\''s' --plugin ln"
check 'no time without --time' test "$(jq .time "$work/first/results.json")" = null
check 'view keeps it' sh -c "'$program' view '$work/first' --json | cmp - '$work/first/results.json'"

# --- time ----------------------------------------------------------------------------------------
check 'a run with --time' run timed --time
check 'it is said' grep -Eq '^pythiascope: time: [0-9.]+ s, [0-9]+ tokens, [0-9.]+ tokens per second, peak memory [0-9]+ MiB$' \
    "$work/timed.said"
check 'it is in the results' jq -e '.time.seconds > 0 and .time.tokens_per_second > 0 and .time.peak_memory_bytes > 1000000' \
    "$work/timed/results.json" >/dev/null
check 'the rest is the same' sh -c "sed '/^  \"time\": {/,/^  },/d' '$work/timed/results.json' |
    sed 's/\"threads\": .*/\"threads\": 1,/' | cmp - '$work/first/results.json'"
for verb in 'sweep --text a' 'weights --what frames' "corpus $work/lines" 'generate --text a --n 2'; do
    printf 'The sun rose.\n' >"$work/lines.txt"
    mkdir -p "$work/lines"
    cp "$work/lines.txt" "$work/lines/a.txt"
    # shellcheck disable=SC2086 # a list of words
    check "$verb --time" sh -c "'$program' $verb --time 2>&1 >/dev/null | grep -q '^pythiascope: time: '"
done
check 'weights have no tokens' sh -c "'$program' weights --what frames --time --json 2>/dev/null |
    jq -e '.time | .tokens_per_second == null and .seconds > 0' >/dev/null"

# Of several checkpoints the work of all is counted: 5 tokens each.
check 'several checkpoints' sh -c "'$program' analyze --model books-0.5m@step0,step128 --text 'The sun rose' --plugin ln --time \
    --out '$work/steps' 2>&1 >/dev/null | grep -q '^pythiascope: time: .* s, 10 tokens, '"
check 'and in the results' jq -e '.time | .tokens_per_second * .seconds | . > 9.9 and . < 10.1' "$work/steps/results.json" >/dev/null
tokens() { # tokens STEPS: of a corpus
    "$program" corpus "$work/lines" --model "books-0.5m@$1" --plugin ln --time 2>&1 >/dev/null |
        sed -n 's/^pythiascope: time: .* s, \([0-9]*\) tokens, .*/\1/p'
}
check 'over a corpus, too' test "$(tokens step0,step128)" -eq "$((2 * $(tokens step0)))"

# --- several prompts -----------------------------------------------------------------------------
several() { # several VERB OPTIONS...
    verb=$1
    shift
    "$program" "$verb" --threads 1 "$@"
}
alone() { # alone FOLDER OPTIONS...
    folder=$1
    shift
    "$program" analyze --threads 1 --plugin logits:level=head --plugin ln --out "$work/$folder" "$@" >/dev/null
}
check 'the first text alone' alone one --text 'Once upon a time'
check 'the second alone' alone two --text 'The cat {sat}'
check 'texts' alone both --text 'Once upon a time' --text 'The cat {sat}'
for name in results.json tensors.safetensors; do
    check "the first of two, $name" cmp "$work/one/$name" "$work/both/1/$name"
    check "the second of two, $name" cmp "$work/two/$name" "$work/both/2/$name"
done
printf '\357\273\277Once upon a time\r\n\r\n \nThe cat {sat}' >"$work/prompts.txt"
check 'a file of lines' alone listed --prompts "$work/prompts.txt"
check 'its results' diff -r "$work/both" "$work/listed"
printf '{"text": "Once upon a time", "label": NULL}\n' | sed s/NULL/null/ >"$work/prompts.jsonl"
printf '{"text": "The cat {sat}", "target": [" down", "#5"]}\n' >>"$work/prompts.jsonl"
check 'a file of objects' alone objects --prompts "$work/prompts.jsonl"
check 'the first object' cmp "$work/one/results.json" "$work/objects/1/results.json"
check 'targets of an object' test "$(jq -c '[.targets[].name]' "$work/objects/2/results.json")" = "[\"' down'\",\"'&'\"]" -o \
    "$(jq -c '[.targets[].id] | .[1]' "$work/objects/2/results.json")" = 5
check 'an object per prompt' test "$(several analyze --prompts "$work/prompts.txt" --plugin ln --json | jq -r .command | wc -l)" -eq 2
check 'on a line each' test "$(several analyze --prompts "$work/prompts.txt" --plugin ln --json | wc -l)" -eq 2
check 'from a pipe' sh -c "'$program' analyze --prompts - --plugin ln <'$work/prompts.txt' | grep -q '^prompt 2 of 2$'"
check 'sweep, too' test "$(several sweep --text 'The cat' --text 'The dog' --json | wc -l)" -eq 2
check 'interventions' test "$(several analyze --text 'The cat' --text 'The dog' --ablate L0H0 --json | jq -r .plugins.effects.version | wc -l)" -eq 2
check 'a BOS for each, one note' sh -c "'$program' analyze --text 'The cat' --text 'The dog' --plugin spans 2>&1 >/dev/null |
    wc -l | grep -q '^ *1$'"
if "$program" analyze --text a --plugin ln --html "$work/p.html" >/dev/null 2>&1; then
    check 'pages' sh -c "'$program' analyze --text a --text b --plugin ln --html '$work/page.html' >/dev/null"
    check 'are numbered' test -s "$work/page-1.html" -a -s "$work/page-2.html" -a ! -e "$work/page.html"
    echo keep >"$work/mine-2.html"
    expect 1 'mine-2.html is a file that is not a page' analyze --text a --text b --html "$work/mine.html"
    check 'before any work' test ! -e "$work/mine-1.html"
fi
printf 'one\ntwo\n' >"$work/two.txt"
bad() { # bad PATTERN FORMAT: a file of these prompts is refused, before any work
    # shellcheck disable=SC2059 # a format
    printf "$2" >"$work/bad"
    expect 1 "$1" analyze --prompts "$work/bad" --out "$work/never"
    check "nothing is made of $2" test ! -e "$work/never"
}
bad 'bad, line 2: has a 0 byte' 'a\nb\0c\n'
bad 'bad, line 3: is not a JSON object' '{"text":"a"}\n\nb\n'
bad 'bad, line 2: is not a JSON object' '{"text":"a"}\n["b"]\n'
bad 'bad, line 1: has no "text"' '{"txt":"a"}\n'
bad 'bad, line 1: "text" is not a text' '{"text":5}\n'
bad 'bad, line 1: "target" is neither' '{"text":"a","target":[5]}\n'
bad 'bad, line 2: target .zzqzz. is [0-9]* tokens' '{"text":"a"}\n{"text":"b","target":"zzqzz"}\n'
bad 'bad, line 1: "text" has a 0 byte' '{"text":"a\\u0000b"}\n'
bad 'bad, line 1: "target" has a 0 byte' '{"text":"a","target":["\\u0000"]}\n'
bad 'bad, line 1: has half of a surrogate pair' '{"text":"\\ud800"}\n'
bad 'bad, line 2: is not UTF-8' '{"text":"a"}\n{"text":"\377"}\n'
# What JSON does not have, as other programs write it into other fields.
printf '{"text":"Once upon a time","score":NaN,"other":[-Infinity,1e999,123456789012345678901234567890,"\\u0000"]}\n' \
    >"$work/odd.jsonl"
check 'numbers of other programs' alone odd --prompts "$work/odd.jsonl"
check 'change nothing' cmp "$work/one/results.json" "$work/odd/1/results.json"
bad 'bad has no prompts' '\n \r\n'
head -c 3000 /dev/zero | tr '\0' 'x' | sed 's/x/ sea/g' >"$work/bad"
expect 1 'bad, line 1: the prompt has at least [0-9]* tokens, more than' analyze --prompts "$work/bad"
expect 1 'text 2: the text is empty' analyze --text a --text ''
expect 1 'not a regular file' analyze --prompts /dev/zero
expect 2 'mutually exclusive' analyze --text a --prompts "$work/two.txt"
expect 1 'is not empty' analyze --prompts "$work/two.txt" --out "$work/both"
expect 2 'several checkpoints take one prompt' analyze --text a --text b --model books-0.5m@step0,step128 --target ' the'

check 'which prompt lacks a row' sh -c "'$program' analyze --text 'a b c d' --text a --plugin ln --capture hook_embed:rows=3 \\
    --json 2>&1 >/dev/null | grep -q 'text 2: capture hook_embed: row 3 does not exist'"
expect 1 'two.txt, line 1: capture hook_embed: row 3 does not exist' analyze --prompts "$work/two.txt" --plugin ln \
    --capture 'hook_embed:rows=3' --json

# --- captures ------------------------------------------------------------------------------------
"$program" analyze --text 'The sun rose' --plugin ln --capture 'all:rows=-1,blocks.*pattern:rows=1+2' --out "$work/captured" \
    >/dev/null
check 'captures of every point' test "$(jq '.captures | length' "$work/captured/results.json")" -eq 80
check 'one row' test "$(jq -c '.captures.hook_embed.shape' "$work/captured/results.json")" = '[1,256]'
check 'two rows of a pattern' test "$(jq -c '.captures["blocks.0.attn.hook_pattern"].shape' "$work/captured/results.json")" = '[8,2,3]'
check 'small captures are whole' test "$(jq -c '.captures["ln_final.hook_scale"].values | length' "$work/captured/results.json")" = 1
check 'the memory is announced' sh -c "'$program' analyze --text '$text' --plugin ln --capture all --out '$work/all' 2>&1 >/dev/null |
    grep -q 'note: --capture keeps 80 tensors of [0-9.]* MiB in memory'"
"$program" analyze --tokens 1,2,3,4 --plugin ln --metric log_prob:rows=all --target next --json \
    --capture 'hook_embed_grad,blocks.*pattern_grad:rows=-1' >"$work/gradient.json" 2>/dev/null
check 'the value of the metric' test "$(jq '.plugins.metric.value < 0' "$work/gradient.json")" = true
check 'a gradient' test "$(jq -c '.captures.hook_embed_grad.shape' "$work/gradient.json")" = '[4,256]'
check 'gradients of patterns' test "$(jq -c '.captures["blocks.1.attn.hook_pattern_grad"].shape' "$work/gradient.json")" = '[8,1,4]'
"$program" analyze --tokens 1,2,3,4 --plugin ln --json \
    --capture 'hook_embed:rows=1,*embed:rows=-1,hook_embed:rows=0+1' >"$work/joined.json" 2>/dev/null
check 'the rows of several requests' test "$(jq -c '.captures.hook_embed.shape' "$work/joined.json")" = '[3,256]'
for option in --json "--out $work/kept" "--html $work/kept.html"; do
    # shellcheck disable=SC2086 # an option and its value
    "$program" analyze --text a --plugin ln --capture hook_embed $option >/dev/null 2>"$work/kept.said"
    check "captures with $option" sh -c "! grep -q 'no effect' '$work/kept.said'"
done
check 'captures without' sh -c "'$program' analyze --text a --plugin ln --capture hook_embed 2>&1 >/dev/null |
    grep -q 'note: --capture has no effect without --out, --json or --html'"
expect 1 'row 9 does not exist; the text has rows 0 to 0' analyze --text a --capture 'hook_embed:rows=9' --out "$work/never"

# --- generate ------------------------------------------------------------------------------------
grow() { # grow FILE OPTIONS...
    file=$1
    shift
    "$program" generate --text 'Once upon a time' --n 5 "$@" >"$work/$file"
}
check 'the text alone' grow plain
check 'objects' grow objects.jsonl --json --out "$work/grown"
tail -n 1 "$work/objects.jsonl" >"$work/last.json"
check 'the whole text' test "Once upon a time$(cat "$work/plain")" = "$(jq -r .generation.text "$work/last.json")"
check 'five tokens' test "$(jq '.generation.tokens | length' "$work/last.json")" -eq 5
check 'greedy tokens are the likeliest' jq -e '[.generation.tokens[] | .rank == 1 and .p > 0 and .p < 1] | all' "$work/last.json" >/dev/null
check 'their texts' test "$(jq -r '[.generation.tokens[].text] | add' "$work/last.json")" = "$(cat "$work/plain")"
check 'the folder has the same' test "$(jq -cS .generation "$work/grown/results.json")" = "$(jq -cS .generation "$work/last.json")"
check 'it is read again' sh -c "'$program' view '$work/grown' --json | cmp - '$work/grown/results.json'"
check 'the settings' sh -c "'$program' generate --text a --n 3 --top-k 5 --seed 9 --json | tail -n 1 |
    jq -e '.generation | .top_k == 5 and .seed == 9 and .temperature == 1 and .limit == 3 and .end == \"limit\"' >/dev/null"
"$program" analyze --text 'Once upon a time' --target ',' --plugin logits:level=layer --json >"$work/asked.json"
check 'the probability that analyze gives' test "$(jq '.targets[0].p' "$work/asked.json")" = \
    "$(jq '.generation.tokens[0].p' "$work/last.json")"
# An edit acts in every step, on rows that are in the cache and on new ones: what is drawn is what a
# run over the whole text draws.
check 'an edited text' grow edited.jsonl --ablate L1H2 --ablate 'L3H*' --json
grown=$(tail -n 1 "$work/edited.jsonl" | jq -r '.generation.text')
check 'it differs' test "$grown" != "$(jq -r .generation.text "$work/last.json")"
tail -n 1 "$work/edited.jsonl" | jq -c '[.generation.tokens[] | [.id, .rank, .p]]' >"$work/drawn"
"$program" analyze --text "$grown" --ablate L1H2 --ablate 'L3H*' --plugin logits:rows=all,level=layer --target next --json |
    jq -c '[.targets[-5:][] | [.id, .rank, .p]]' >"$work/whole"
check 'each token is that of a whole run' cmp "$work/drawn" "$work/whole"
# The last object says why the text ended, and has all tokens, also one beyond the context.
ends() { # ends OPTIONS...: the end of the first object and the last one's, its number of tokens
    "$program" generate "$@" --json --out "$work/ended" >"$work/ends.jsonl" 2>/dev/null
    tail -n 1 "$work/ends.jsonl" | jq -cS .generation >"$work/end"
    jq -cS .generation "$work/ended/results.json" | cmp - "$work/end" && rm -r "$work/ended"
    jq -c '[.generation | .end, (.tokens | length)]' "$work/ends.jsonl" | sed -n '1p;1!{$p;}' | tr -d '\n'
}
long=$(seq -s, 1 510)
check 'no end before the end' test "$(ends --text a --n 2)" = '[null,0]["limit",2]'
check 'the end of no tokens' test "$(ends --text a --n 0)" = '["limit",0]'
check 'the end of the context' test "$(ends --tokens "$long" --n 10)" = '[null,0]["context",3]'
check 'a limit at the end of the context' test "$(ends --tokens "$long" --n 3)" = '[null,0]["limit",3]'
cp -r "$(dirname "$0")/../../models/books-5m" "$work/ending"
rm -f "$work/ending/generation_config.json"
with_eos() { # with_eos ID
    jq ".eos_token_id = $1" "$(dirname "$0")/../../models/books-5m/config.json" >"$work/ending/config.json"
}
with_eos "$(jq '.generation.tokens[2].id' "$work/last.json")"
check 'an end-of-text token' test "$(ends --model "$work/ending" --text 'Once upon a time' --n 5)" = '[null,0]["token",2]'
with_eos "$(jq '.generation.tokens[0].id' "$work/last.json")"
check 'it is drawn first' test "$(ends --model "$work/ending" --text 'Once upon a time' --n 5)" = '["token",0]'
conclude
