#!/bin/sh
# The verb score from outside: the sums of transformers, the same bits for every setting and order,
# where a continuation begins, and each bad line.
# usage: score.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
golden=$2/tests/golden/score/examples.jsonl

score() { # score NAME OPTIONS...: writes to $work/NAME
    name=$1
    shift
    "$program" score "$golden" --out "$work/$name" --examples "$work/$name.jsonl" "$@" \
        >"$work/$name.summary"
}
apart_from_the_run() { # apart_from_the_run NAME: results.json and summary without the run's settings
    sed '/^  "command"/d; /^  "run": {/,/}/d' "$work/$1/results.json" >"$work/$1.json"
    sed '1d; /^wrote/d' "$work/$1.summary" >"$work/$1.text"
}
check 'a score' score first --threads 1
apart_from_the_run first
for options in '--threads 2' '--threads 3 --chunk 7' '--batch 1' '--batch 3 --isa reference' '--batch 500'; do
    # shellcheck disable=SC2086 # a list of options
    check "a score with $options" score again $options
    check "the same lines with $options" cmp "$work/first.jsonl" "$work/again.jsonl"
    check "the same totals with $options" \
        cmp "$work/first/tensors.safetensors" "$work/again/tensors.safetensors"
    apart_from_the_run again
    check "the same results.json with $options" cmp "$work/first.json" "$work/again.json"
    check "the same summary with $options" cmp "$work/first.text" "$work/again.text"
    rm -r "$work/again" "$work/again.jsonl"
done

# A line per example: the sums of transformers in float64 within 1e-4, tokens and greedy ones.
# jansson and Python write lists alike: [1.5, 2] and [1.5,2].
list() { # list KEY FILE
    sed "s/.*\"$1\": *\[\([^]]*\)\].*/\1/; s/,/ /g; s/  */ /g" "$2"
}
for key in sums tokens greedy; do
    list $key "$golden" >"$work/theirs"
    list $key "$work/first.jsonl" >"$work/ours"
    check "$key of transformers" awk '
        NR == FNR { line[NR] = $0; next }
        { n = split(line[FNR], a, " "); if (n != NF) exit 1
          for (i = 1; i <= n; i++) if (a[i] - $i > 1e-4 || $i - a[i] > 1e-4) exit 1
          seen++ } END { exit seen != 32 }' "$work/theirs" "$work/ours"
done
check 'accuracy' grep -q '32 examples in 3 groups: accuracy 0.5938' "$work/first.summary"
check 'the tokens of the continuations' grep -q '^347 tokens from 32 documents in 68 windows' \
    "$work/first.summary"
check 'groups' grep -q 'pairs  *0.812' "$work/first.summary"
check 'ids' grep -q '"line":17,"id":"c0","group":"choices"' "$work/first.jsonl"

# Totals depend on the examples, not on their order, files or blocks.
mkdir "$work/folder"
sed '1!G;h;$!d' "$golden" | sed -n '1,20p' >"$work/folder/a.jsonl"
sed '1!G;h;$!d' "$golden" | sed -n '21,$p' >"$work/folder/b.jsonl"
echo '{' >"$work/folder/.hidden.jsonl"
echo '{' >"$work/folder/other.txt"
check 'a folder' "$program" score "$work/folder" --out "$work/apart" >"$work/apart.summary"
check 'the same totals from other files in another order' \
    cmp "$work/first/tensors.safetensors" "$work/apart/tensors.safetensors"
check 'a limit per file' sh -c "'$program' score '$work/folder' --limit 2 |
    grep -q '^  4 examples in'"
check 'a pipe' sh -c "cat '$golden' | '$program' score /dev/stdin | grep -q 'accuracy 0.5938'"

# Interventions act on every continuation, with the same bits for every batch.
check 'an ablation' score ablated --ablate L1H0 --batch 1
check 'its sentence' grep -q 'sets L1H0 to zero (rows: all)' "$work/ablated.summary"
check 'other sums' test "$(list sums "$work/ablated.jsonl")" != "$(list sums "$work/first.jsonl")"
check 'an ablation in batches' score together --ablate L1H0 --batch 30 --threads 2
check 'the same lines' cmp "$work/ablated.jsonl" "$work/together.jsonl"
expect 1 'ablate edits last rows only' score "$golden" --ablate L1H0:rows=last
expect 1 'the vector must come from file=' score "$golden" --steer embed:plus=1,minus=2

# one LINE [OPTIONS...]: the line of --examples
one() {
    printf '%s\n' "$1" >"$work/one.jsonl"
    shift
    rm -f "$work/one.out"
    "$program" score "$work/one.jsonl" --examples "$work/one.out" "$@" >/dev/null
    cat "$work/one.out"
}
tokens() {
    one "$@" | sed 's/.*"tokens":\[\([^]]*\)\].*/\1/'
}
sums() {
    one "$@" | sed 's/.*"sums":\[\([^]]*\)\].*/\1/'
}
# White space at a prefix's end belongs to the continuation, as does a token on both sides.
check 'a space at the end of the prefix' test \
    "$(sums '{"prefix": "the old ", "choices": ["man", "woman"], "answer": 0}')" = \
    "$(sums '{"prefix": "the old", "choices": [" man", " woman"], "answer": 0}')"
check 'a delimiter' test \
    "$(sums '{"prefix": "the old", "choices": ["man", "woman"], "answer": 0}' --delimiter ' ')" = \
    "$(sums '{"prefix": "the old", "choices": [" man", " woman"], "answer": 0}')"
check 'a token on both sides' test \
    "$(tokens '{"prefix": "a caf", "choices": ["e and", " of"], "answer": 0}')" = 2,1
# A continuation that nothing precedes has the beginning token before it, with and without --bos.
check 'pairs begin with the beginning token' test \
    "$(sums '{"good": "He is.", "bad": "He are."}')" = \
    "$(sums '{"good": "He is.", "bad": "He are."}' --bos)"
check '--bos changes the others' test \
    "$(sums '{"prefix": "the old", "choices": [" man", " woman"], "answer": 0}')" != \
    "$(sums '{"prefix": "the old", "choices": [" man", " woman"], "answer": 0}' --bos)"
check 'the last word of a text' test \
    "$(sums '{"text": "He looked at the ship"}' | sed 's/,.*//')" = \
    "$(sums '{"prefix": "He looked at the", "choices": [" ship", " x"], "answer": 0}' |
        sed 's/,.*//')"
check 'a large id beside NaN' test 1 = "$(one \
    '{"good": "a b", "bad": "a c", "id": 9223372036854775807, "x": NaN}' |
    grep -c '"id":9223372036854775807,')"
blimp='{"sentence_good": "A b.", "sentence_bad": "A b.", "UID": "u", "linguistics_term": "t", "pairID": "7"}'
check 'BLiMP has equal sentences' sh -c "printf '%s\n' '$blimp' '$blimp' >'$work/blimp.jsonl' &&
    '$program' score '$work/blimp.jsonl' --json | tr -d ' \n' >'$work/blimp.json' &&
    grep -q '\"ties\":2' '$work/blimp.json' && grep -q '\"phenomenon_accuracy\"' '$work/blimp.json'"
check 'a pair of equal texts is a tie' sh -c "printf '%s\n' '{\"good\": \"a b\", \"bad\": \"a b\"}' |
    '$program' score - | grep -q 'in 1 example two choices share the largest sum; the first is'"
check 'one example has no standard error' sh -c "printf '%s\n' '{\"good\": \"a b\", \"bad\": \"a c\"}' |
    '$program' score - >'$work/single' && grep -q '^  1 example in 1 group: accuracy [01].0000\$' '$work/single' &&
    grep -q 'tokens from 1 document in 2 windows' '$work/single' && ! grep -q nan '$work/single'"
check 'beginnings on request' test \
    "$(tokens '{"prefix": "a", "choices": [" b", " b c"], "answer": 0}' --allow-beginnings)" = 1,2
printf '\357\273\277{"good": "a b", "bad": "a c"}\r\n\r\n{"good": "a d", "bad": "a e"}' >"$work/mark.jsonl"
check 'a byte order mark, CRLF, empty lines, no end of line' sh -c \
    "'$program' score '$work/mark.jsonl' | grep -q '^  2 examples in 1 group'"

# Bad lines: one sentence with file and line, and no output.
bad() { # bad PATTERN LINE
    printf '%s\n%s\n' '{"good": "a b", "bad": "a c"}' "$2" >"$work/bad.jsonl"
    expect 1 "bad.jsonl, line 2: .*$1" score "$work/bad.jsonl" --examples "$work/none" --out "$work/nothing"
    check "nothing is left after $1" test ! -e "$work/none" -a ! -e "$work/none.partial" -a ! -e "$work/nothing"
}
bad 'has neither' '{"prefix": "a"}'
bad 'has no "bad"' '{"good": "a"}'
bad 'has no "sentence_good"' '{"sentence_bad": "a"}'
bad 'has no "answer"' '{"choices": ["a", "b"]}'
bad '"answer" is 2, but the choices are 0 to 1' '{"choices": ["a", "b"], "answer": 2}'
bad '"answer" is -1' '{"choices": ["a", "b"], "answer": -1}'
bad '"answer" is not a whole number' '{"choices": ["a", "b"], "answer": "a"}'
for number in NaN Infinity -Infinity 1e400 99999999999999999999 1.0; do
    bad '"answer" is not a whole number' "{\"choices\": [\"a\", \"b\"], \"answer\": $number}"
done
for number in NaN 18446744073709551615 -9223372036854775809; do
    bad '"id" is neither' "{\"good\": \"a\", \"bad\": \"b\", \"id\": $number}"
done
bad 'list of 2 to 256 texts' '{"choices": ["a"], "answer": 0}'
bad 'list of 2 to 256 texts' '{"choices": "a", "answer": 0}'
bad 'choice 1 is not a text' '{"choices": ["a", 3], "answer": 0}'
bad 'choice 1 is empty' '{"choices": ["a", ""], "answer": 0}'
bad 'choice 1 is the beginning of choice 0' '{"prefix": "x", "choices": [" ab", " a"], "answer": 0}'
bad 'choice 0 is the beginning of choice 1' '{"good": "ab", "bad": "abc"}'
bad 'choices 0 and 2 are equal' '{"choices": ["a", "b", "a"], "answer": 0}'
bad 'has both "good" and "text"' '{"good": "a", "bad": "b", "text": "a b"}'
bad 'has both "choices" and "sentence_bad"' '{"choices": ["a", "b"], "answer": 0, "sentence_bad": "b"}'
bad '"prefix" is not a text' '{"prefix": 3, "choices": ["a", "b"], "answer": 0}'
bad '"good" is not a text' '{"good": null, "bad": "b"}'
bad 'no last word' '{"text": "word"}'
bad 'no last word' '{"text": "a word "}'
bad '"group" is not a text' '{"good": "a", "bad": "b", "group": 3}'
bad '"group" is not a text' '{"good": "a", "bad": "b", "group": "x\u0000y"}'
bad '"id" is neither' '{"good": "a", "bad": "b", "id": []}'
bad 'not a JSON object' '[]'
bad '' '{"good": "a"'
bad 'UTF-8' "$(printf '{"good": "a", "bad": "\377"}')"
bad 'choice 1 has more than 513 tokens' \
    "{\"good\": \"a\", \"bad\": \"$(printf '%0600d' 0 | sed 's/0/ the/g')\"}"
: >"$work/empty.jsonl"
mkdir "$work/none-here"
printf '\037\213\010\000' >"$work/packed.jsonl.gz"
printf '\050\265\057\375\000' >"$work/packed.jsonl.zst"
expect 1 'packed.jsonl.gz, line 1: is gzip data.*gzip -dc FILE' score "$work/packed.jsonl.gz"
expect 1 'packed.jsonl.zst, line 1: is zstd data.*zstd -dc FILE' score "$work/packed.jsonl.zst"
expect 1 'has no examples' score "$work/empty.jsonl"
expect 1 'cannot open .*missing' score "$work/missing.jsonl"
expect 1 'no files whose name ends in .jsonl' score "$work/none-here"
expect 1 'is not a file of scores' score "$golden" --examples "$golden"
expect 1 'cannot create' score "$golden" --examples "$work/missing/x.jsonl"
expect 2 'no examples' score
expect 2 'for one checkpoint' score "$golden" --examples "$work/none" --model books-0.5m@step0,step4000
check 'training steps' sh -c "'$program' score '$golden' --model books-0.5m@step0,step4000 |
    grep -q '^  step4000'"
expect 2 '--batch needs' score "$golden" --batch 0
expect 2 '--limit needs' score "$golden" --limit 0
conclude
