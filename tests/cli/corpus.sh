#!/bin/sh
# corpus and merge from outside: the same bits for any batches, threads and shards, and after a kill
# at any time; skipped documents; refused state files.
# usage: corpus.sh PROGRAM SOURCE_DIR EDIT_STATE PLUGIN_DIR
. "$(dirname "$0")/checks.sh"
program=$1
source=$2
edit_state=$3
front=$4/front.so # needs <|endoftext|> in front of each window

# A small corpus: text files in two folders, a JSONL file, and files that are not read. With sanitizers, which take
# ten times as long, it is smaller.
bytes=3000
[ -z "${PSC_SANITIZED:-}" ] || bytes=600
docs=$work/docs
mkdir -p "$docs/b" "$docs/a"
head -c $bytes "$source/docs/architecture.md" | iconv -c -t ASCII >"$docs/b/one.txt"
head -c $((bytes - 200)) "$source/docs/hooks.md" | iconv -c -t ASCII >"$docs/a/two.md"
: >"$docs/a/empty.txt"
awk 'NR > 10 && NR < 40 {gsub(/[\\"]/, ""); gsub(/\t/, " ");
    printf "{\"id\": %d, \"text\": \"%s \\u00e9t\\u00e9\"}\n", NR, $0}' \
    "$source/docs/numerics.md" | iconv -c -t ASCII >"$docs/c.jsonl"
echo '' >>"$docs/c.jsonl"
echo 'not read' >"$docs/notes.org"
echo 'not read' >"$docs/.hidden.txt"
plugins="--plugin ln --plugin mlp --plugin logits:level=layer"

run() { # run NAME ARGUMENTS...: writes to $work/NAME
    name=$1
    shift
    # shellcheck disable=SC2086 # a list of arguments
    "$program" corpus "$docs" $plugins --window 64 --out "$work/$name" "$@" \
        >"$work/$name.stdout" 2>"$work/$name.stderr"
}
same() { # same A B: two runs have the same results, except the number of threads and the command
    cmp -s "$work/$1/tensors.safetensors" "$work/$2/tensors.safetensors" || return 1
    for one in "$1" "$2"; do grep -vE '"(threads|chunk|command)"' "$work/$one/results.json" >"$work/$one.json"; done
    cmp -s "$work/$1.json" "$work/$2.json"
}

check 'a run over a corpus' run whole --batch 3 --threads 2
check 'unread files are not counted' grep -q '"documents": 32' "$work/whole/results.json"
check 'nothing on stderr' test ! -s "$work/whole.stderr"
check 'windows one by one' run single --batch 1 --threads 1 --chunk 7
check 'batches, threads and chunks do not matter' same whole single

# The limit ends a run; without a limit the same state continues.
check 'a limit' run limited --state "$work/limit.state" --limit-tokens 300
check 'the limit ends the run' grep -q '"tokens": 3[0-9][0-9],' \
    "$work/limited/results.json"
check 'past the limit' run unlimited --state "$work/limit.state" --batch 5
check 'an earlier limit does not change the results' same whole unlimited
check 'a finished state' run finished --state "$work/limit.state"
check 'a finished state is reported again' same whole finished
check 'a finished state says so' grep -q 'nothing was left to read' "$work/finished.stderr"

# Short and long windows beside each other: passes have them by their tokens, in any number.
mixed=$work/mixed.jsonl
awk 'BEGIN {for (i = 0; i < 90; i++) {n = i % 30 == 7 ? 150 : i * i % 23 + 1; printf "{\"text\": \"the"
    for (k = 1; k < n; k++) printf " %s", k % 3 ? "old man" : "sea"; print "\"}"}}' >"$mixed"
mix() { # mix NAME ARGUMENTS...: writes to $work/NAME
    name=$1
    shift
    "$program" corpus "$mixed" --window 40 --plugin logits --plugin ln --plugin mlp --plugin neurons:contexts=2 \
        --out "$work/$name" "$@" >"$work/$name.stdout" 2>"$work/$name.stderr"
}
check 'mixed lengths' mix mixed
i=0
for how in '--batch 1' '--batch 2 --chunk 7' '--batch 64 --threads 3' '--batch 4096 --threads 1' '--chunk 100'; do
    i=$((i + 1))
    # shellcheck disable=SC2086 # a list of arguments
    check "mixed lengths $how" mix mixed$i $how
    check "the same: $how" same mixed mixed$i
done
check 'mixed lengths up to a limit' mix mixed_part --state "$work/mixed.state" --limit-tokens 500 --batch 3
check 'mixed lengths from there' mix mixed_rest --state "$work/mixed.state" --batch 2
check 'the same from there' same mixed mixed_rest
for part in 1 2; do mix mixed_$part --shard $part/2 --state "$work/mixed$part.state" --batch $part; done
check 'parts of them' "$program" merge "$work/mixed1.state" "$work/mixed2.state" --out "$work/mixed_both" >"$work/stdout"
check 'are the same' same mixed mixed_both
check 'no more memory than a GiB of keys and values' "$program" corpus "$mixed" --plugin ln --batch 4096 \
    >"$work/stdout" 2>"$work/stderr"
check 'said in a note' grep -q 'note: a pass has [0-9]* of --batch 4096 windows: their keys and values take 1[0-9]* MB' \
    "$work/stderr"

# Windows that overlap: any batches, a limit and a resumption, parts by document and by size.
loss() { # loss NAME ARGUMENTS...
    name=$1
    shift
    "$program" corpus "$docs" --plugin loss:early=2,late=20 --window 32 --stride 10 --out "$work/$name" "$@" \
        >"$work/$name.stdout" 2>"$work/$name.stderr"
}
check 'windows that overlap' loss overlap --batch 3
check 'they say so' grep -q 'of up to 32, each 10 after the one' "$work/overlap.stdout"
check 'the results say so' grep -q '"stride": 10' "$work/overlap/results.json"
check 'every token but the first of a document is scored' python3 -c "
import json
r = json.load(open('$work/overlap/results.json'))
assert r['plugins']['loss']['tokens_scored'] == r['corpus']['tokens'] - 31, r['corpus']" # 31: not empty
check 'overlapping, one by one' loss overlap_single --batch 1 --threads 1 --chunk 7
check 'the same bits' same overlap overlap_single
check 'overlapping, up to a limit' loss overlap_limit --limit-tokens 300 --state "$work/overlap.state"
check 'overlapping, resumed' loss overlap_resumed --state "$work/overlap.state"
check 'the same bits when resumed' same overlap overlap_resumed
for i in 1 2 3; do check "part $i" loss "overlap_$i" --shard $i/3 --shard-by size --state "$work/overlap.$i"; done
check 'overlapping parts' "$program" merge "$work"/overlap.[231] --out "$work/overlap_merged"
check 'the same bits when merged' same overlap overlap_merged
check 'with an intervention' loss overlap_ablated --ablate L1H2 --batch 3
check 'its difference' grep -q 'The interventions change it by' "$work/overlap_ablated.stdout"
refused() { # refused PATTERN ARGUMENTS...
    pattern=$1
    shift
    check "$pattern" sh -c '! "$0" corpus "$@" >/dev/null 2>"'"$work/err"'"' "$program" "$docs" --window 32 "$@"
    check "it says $pattern" grep -q "$pattern" "$work/err"
    check "$pattern in one line" test "$(wc -l <"$work/err")" -le 2
}
refused 'stride' --plugin loss --stride 0
refused 'a stride of 32 is not possible; these windows need one of 1 to 31' --plugin loss --stride 32
refused 'a stride of 31 is not possible; these windows need one of 1 to 30' --plugin loss --stride 31 --bos
refused 'plugin ln does not work with windows that overlap' --plugin loss --plugin ln --stride 8
refused 'plugin logits does not work with windows that overlap' --stride 8
refused 'a stride of 10, not with windows that do not overlap' --plugin loss:early=2,late=20 \
    --state "$work/overlap.state"
refused 'a stride of 10, not with windows that overlap, with a stride of 9' --stride 9 \
    --plugin loss:early=2,late=20 --state "$work/overlap.state"

# The contexts that plugins keep name their documents, also resumed, in parts and compressed.
named() { # named NAME ARGUMENTS...
    name=$1
    shift
    "$program" corpus "$work/named" --window 64 --plugin neurons:contexts=3 --plugin attention:contexts=2 \
        --out "$work/$name" "$@" >"$work/$name.stdout" 2>"$work/$name.stderr"
}
mkdir "$work/named"
cp "$docs/a/two.md" "$work/named/a.md"
: >"$work/named/b.jsonl" # has no documents
gzip -c "$docs/c.jsonl" >"$work/named/c.jsonl.gz"
cp "$docs/b/one.txt" "$work/named/d.txt"
check 'named contexts' named names
check 'a text file' grep -qE "named/a.md(\",|\"\$)" "$work/names/results.json"
check 'a line of a file' grep -q 'named/c.jsonl.gz, document 7"' "$work/names/results.json"
check 'the file behind it' grep -qE 'named/d.txt(",|"$)' "$work/names/results.json"
check 'an empty file names nothing' sh -c "! grep -q 'b.jsonl' '$work/names/results.json'"
check 'and the summary' grep -qE 'L[0-9]+N[0-9]+ [0-9.]+ in .*named/.* at token [0-9]+:' "$work/names.stdout"
for part in 1 2; do
    check "part $part of them" named names_part$part --shard $part/2 --state "$work/names$part.state"
done
check 'named parts' "$program" merge "$work/names1.state" "$work/names2.state" --out "$work/names_merged" >"$work/stdout"
check 'have the same names' same names names_merged
check 'some of them' named names_some --state "$work/names.state" --limit-tokens 900
check 'resumed' named names_resumed --state "$work/names.state"
check 'with the same names' same names names_resumed
"$program" corpus - --plugin neurons:contexts=3 --window 64 <"$docs/c.jsonl" >"$work/stdout" 2>/dev/null
check 'a stream' grep -qE 'in standard input, document [0-9]+ at token' "$work/stdout"

# A plugin that needs <|endoftext|>: each window begins with it, in parts and after a stop, too.
front() { # front NAME ARGUMENTS...: writes to $work/NAME.json
    name=$1
    shift
    "$program" "$@" --json >"$work/$name.json" 2>"$work/$name.stderr"
}
check 'the token is added' front front corpus "$docs" --window 64 --plugin "$front"
check 'every window begins with it' sh -c "tr -d ' \n' <'$work/front.json' | grep -q '\"first\":\[0.0\]'"
check 'it is recorded' grep -q '"bos": true' "$work/front.json"
check 'one note' test "$(cat "$work/front.stderr")" = \
    'pythiascope: note: front needs <|endoftext|> in front of each window; it was added'
check 'with --bos' front given corpus "$docs" --window 64 --plugin "$front" --bos
check 'with --bos there is no note' test ! -s "$work/given.stderr"
without_command() { # without_command FILE: prints it
    sed '/^  "command": /d' "$1"
}
without_command "$work/front.json" >"$work/front.rest"
without_command "$work/given.json" >"$work/given.rest"
check 'with --bos nothing else changes' cmp "$work/front.rest" "$work/given.rest"
for part in 1 2; do
    check "part $part" front part corpus "$docs" --window 64 --plugin "$front" --shard $part/2 \
        --state "$work/front$part.state" --limit-tokens 100
    check "part $part resumed" front part corpus "$docs" --window 64 --plugin "$front" --shard $part/2 \
        --state "$work/front$part.state"
done
check 'the parts' front merged merge "$work/front1.state" "$work/front2.state" --plugin "$front"
check 'merged have the same first tokens' sh -c "tr -d ' \n' <'$work/merged.json' | grep -q '\"first\":\[0.0\]'"
check 'merged record it' grep -q '"bos": true' "$work/merged.json"

# Killed at random times, mostly during a save. The seed is printed; PSC_TEST_SEED repeats a
# failure.
seed=${PSC_TEST_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "kill -9 at random times: PSC_TEST_SEED=$seed"
turn=0
for save in 0 0 0.05 0 0 0.02; do
    turn=$((turn + 1))
    seconds=$(awk -v seed="$seed" -v turn=$turn \
        'BEGIN { srand(seed); for (i = 0; i < turn; i++) x = rand(); print 0.02 + 0.6 * x }')
    # shellcheck disable=SC2086 # a list of arguments
    "$program" corpus "$docs" $plugins --window 64 --batch 2 --state "$work/kill.state" \
        --save-seconds $save >/dev/null 2>&1 &
    pid=$!
    sleep $seconds
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
check 'resumes after a kill' run resumed --state "$work/kill.state" --batch 3
check 'a kill does not change the results' same whole resumed
check 'the lock that a kill left is gone' test ! -e "$work/kill.state.lock"

# One process at a time uses a state file. The first process is stopped while it holds the file.
# shellcheck disable=SC2086 # a list of arguments
check 'it begins' hold "$work/one.state" \
    "$program" corpus "$docs" $plugins --window 64 --batch 1 --state "$work/one.state"
check 'a state file in use is refused' test 1 -eq "$(run second --state "$work/one.state"; echo $?)"
check 'the process that uses it is named' grep -q "process $held is using the state file" \
    "$work/second.stderr"
kill -9 $held
wait $held 2>/dev/null
check 'a lock without a process does not block' run after_lock --state "$work/one.state"
check 'no result is lost' same whole after_lock
check 'the state file exists' test -s "$work/kill.state"

# Stopped by a signal: saves, and prints one sentence.
# shellcheck disable=SC2086 # a list of arguments
"$program" corpus "$docs" $plugins --window 64 --batch 1 --state "$work/term.state" \
    --save-seconds 1000 >/dev/null 2>"$work/stderr" &
pid=$!
check 'it begins' await "$work/term.state"
kill -TERM $pid 2>/dev/null
wait $pid
code=$?
check 'a signal ends the run with one sentence' test "$code" -eq 0 -o \
    "$(grep -c 'pythiascope: stopped after .* tokens; run the same command to resume' "$work/stderr")" -eq 1
check 'resumes after a signal' run signalled --state "$work/term.state"
check 'a signal does not change the results' same whole signalled

# Shards, merged in any order.
for i in 1 2 3; do
    check "shard $i" run "part$i" --shard $i/3 --state "$work/$i.state"
done
check 'merge' "$program" merge "$work/3.state" "$work/1.state" "$work/2.state" \
    --out "$work/merged" >"$work/stdout" 2>&1
check 'shards do not change the results' same whole merged

# A limit applies to each part: two merged parts equal two runs over their documents.
check 'a limited run' run first_100 --shard 1/2 --limit-tokens 100 --state "$work/a.state"
check 'its limit is in the results' grep -q '"limit_tokens": 100' "$work/first_100/results.json"
check 'another' run second_100 --shard 2/2 --limit-tokens 100 --batch 1 --state "$work/b.state"
check 'limited parts are merged' "$program" merge "$work/a.state" "$work/b.state" \
    --out "$work/both_100" >"$work/stdout" 2>&1
tokens() {
    sed -n '/"corpus"/,/}/s/.*"tokens": \([0-9]*\).*/\1/p' "$work/$1/results.json"
}
check 'each has its limit' test "$(tokens first_100)" -ge 100 -a "$(tokens first_100)" -lt 164
check 'the tokens add up' test "$(tokens both_100)" -eq $(($(tokens first_100) + $(tokens second_100)))
check 'a limited part continues' run first_all --shard 1/2 --state "$work/a.state"
check 'the other continues' run second_all --shard 2/2 --state "$work/b.state" --limit-tokens 1000000
cp "$work/b.state" "$work/b_limited.state"
check 'and continues again' run second_rest --shard 2/2 --state "$work/b.state"
check 'complete parts merge' "$program" merge "$work/a.state" "$work/b.state" --out "$work/both_all" \
    >"$work/stdout" 2>&1
check 'the limits do not change the results' same whole both_all
check 'a single state merges' "$program" merge "$work/kill.state" --out "$work/alone" >"$work/stdout"
check 'a single state gives the same results' same whole alone

# Skipped documents: one note each, and counted; with --strict an error.
mkdir "$work/bad"
printf "a good text" >"$work/bad/good.txt"
printf 'a good beginning \377 and more' >"$work/bad/latin.txt"
{
    echo '{"text": "a good line"}'
    printf '{"text": "caf\351"}\n'
    echo '{"text": 5}'
    echo '{"text": "cut'
    echo '["text"]'
    printf '{"text": "'
    head -c 17000000 /dev/zero | tr '\0' a
    echo '"}'
    echo '{"text": "the last"}'
} >"$work/bad/lines.jsonl"
"$program" corpus "$work/bad" --plugin ln --json >"$work/bad.json" 2>"$work/stderr"
check 'bad documents are not fatal' test $? -eq 0
check 'each is noted, and their number' test "$(wc -l <"$work/stderr")" -eq 7
check 'at the end' test "$(tail -1 "$work/stderr")" = \
    'pythiascope: note: 6 of 9 documents could not be read and were left out of the results'
check 'the file is named' grep -q 'latin.txt is not UTF-8 at byte 17; skipped' "$work/stderr"
check 'the line is named' grep -q 'lines.jsonl: line 2 is not UTF-8; skipped' "$work/stderr"
check 'the field is named' grep -q "line 3 has no string in the field 'text'; skipped" "$work/stderr"
check 'broken JSON' grep -q 'line 4 is not a JSON object' "$work/stderr"
check 'a line that is too long' grep -q 'line 6 is longer than 16 MiB' "$work/stderr"
check 'they are counted' grep -q '"documents_skipped": 6' "$work/bad.json"
check 'the good ones are counted' grep -q '"documents": 3' "$work/bad.json"
expect 1 'latin.txt is not UTF-8' corpus "$work/bad/latin.txt" --plugin ln --strict

# Nothing that could be read: a sentence, and not 0.
printf '["x"]\n{"text": 5}\n' >"$work/refused.jsonl"
: >"$work/nothing.txt"
: >"$work/nothing.jsonl"
"$program" corpus "$work/refused.jsonl" --plugin ln >"$work/stdout" 2>"$work/stderr"
check 'all documents refused' test $? -eq 1 -a ! -s "$work/stdout"
check 'it says so' grep -q '^pythiascope: no document could be read: 2 of 2 were skipped' "$work/stderr"
expect 1 'the corpus has no text: 1 document is empty' corpus "$work/nothing.txt" --plugin ln
expect 1 'the corpus has no documents' corpus "$work/nothing.jsonl" --plugin ln
check 'a part without documents is none' "$program" corpus "$work/nothing.txt" --plugin ln --shard 2/2 \
    --state "$work/none.state" >"$work/stdout" 2>&1
"$program" corpus "$work/nothing.txt" --plugin ln --shard 1/2 --state "$work/empty.state" >"$work/stdout" 2>&1
expect 1 'the parts have no text' merge "$work/none.state" "$work/empty.state"

# Compressed files, in folders too; what is cut off is counted.
mkdir "$work/packed"
gzip -c "$docs/c.jsonl" >"$work/packed/c.jsonl.gz"
gzip -c "$docs/b/one.txt" >"$work/packed/one.txt.gz"
head -c 300 "$work/packed/one.txt.gz" >"$work/packed/two.md.gz"
"$program" corpus "$work/packed" --plugin ln --json >"$work/packed.json" 2>"$work/stderr"
check 'compressed files are read' grep -q '"documents": 30' "$work/packed.json"
check 'one is cut off' grep -q '"documents_skipped": 1' "$work/packed.json"
check 'it is named' grep -q 'two.md.gz is cut off: its gzip data end too early; skipped' "$work/stderr"
expect 1 'two.md.gz is cut off' corpus "$work/packed/two.md.gz" --plugin ln --strict

# Standard input: the documents of a file with these bytes, in parts and resumed, too.
piped() { # piped NAME FILE ARGUMENTS...
    name=$1
    file=$2
    shift 2
    # shellcheck disable=SC2086 # a list of arguments
    "$program" corpus - $plugins --window 64 --out "$work/$name" "$@" <"$file" >"$work/$name.stdout" \
        2>"$work/$name.stderr"
}
# shellcheck disable=SC2086 # a list of arguments
"$program" corpus "$docs/c.jsonl" $plugins --window 64 --out "$work/lines" >"$work/stdout"
# shellcheck disable=SC2086 # a list of arguments
"$program" corpus "$docs/b/one.txt" $plugins --window 64 --out "$work/text" >"$work/stdout"
check 'lines from standard input' piped in_lines "$docs/c.jsonl"
check 'are those of the file' same lines in_lines
check 'compressed' piped in_packed "$work/packed/c.jsonl.gz" --batch 1
check 'are the same' same lines in_packed
check 'a text from standard input' piped in_text "$docs/b/one.txt"
check 'is that of the file' same text in_text
for part in 1 2; do
    check "part $part of standard input" piped in$part "$docs/c.jsonl" --shard $part/2 --state "$work/in$part.state"
done
check 'merged' "$program" merge "$work/in1.state" "$work/in2.state" --out "$work/in_merged" >"$work/stdout"
check 'merged are the same' same lines in_merged
check 'a part of it' piped in_begun "$docs/c.jsonl" --limit-tokens 100 --state "$work/in.state"
check 'resumed by reading it again' piped in_rest "$docs/c.jsonl" --state "$work/in.state"
check 'resumed is the same' same lines in_rest
check 'bad lines are named' piped in_bad "$work/bad/lines.jsonl"
check 'by their line' grep -q 'document 1 (line 2 of standard input) is not UTF-8; skipped' "$work/in_bad.stderr"
check 'plain text with --field is no JSONL' test "$(piped in_field "$docs/b/one.txt" --field text; echo $?)" -eq 1
expect 2 'standard input. is read once' corpus - "$docs"
expect 1 'a sample needs files' corpus - --sample 3
expect 1 'the corpus has no text' corpus -

# A sample: the same documents for any parts, batches and resumptions; a larger one contains it.
sample="--sample 7 --seed 3"
# shellcheck disable=SC2086 # lists of arguments
{
    check 'a sample' run sample7 $sample
    check 'its size' grep -q '"documents": 7' "$work/sample7/results.json"
    check 'what it was drawn from' grep -q '"documents_in_corpus": 32' "$work/sample7/results.json"
    check 'it is shown' grep -q "^a sample of 7 of the corpus's 32 documents, seed 3$" "$work/sample7.stdout"
    for part in 1 2; do
        check "part $part of a sample" run sample_part$part $sample --shard $part/2 --state "$work/sample$part.state"
    done
    check 'parts of a sample' "$program" merge "$work/sample1.state" "$work/sample2.state" \
        --out "$work/sample_merged" >"$work/stdout"
    check 'are the sample' same sample7 sample_merged
    check 'a limited sample' run sample_begun $sample --limit-tokens 100 --state "$work/sample.state"
    check 'a resumed sample' run sample_resumed $sample --state "$work/sample.state" --batch 1
    check 'is the sample' same sample7 sample_resumed
    check 'another seed' run sample_other --sample 7 --seed 4
    check 'has other documents' sh -c "! cmp -s '$work/sample7/tensors.safetensors' '$work/sample_other/tensors.safetensors'"
    check 'more than there are' run sample_all --sample 1000
    check 'are all' cmp "$work/whole/tensors.safetensors" "$work/sample_all/tensors.safetensors"
    expect 1 'a sample of 7 documents with seed 3, not from all documents' corpus "$docs" $plugins \
        --window 64 --state "$work/sample.state"
    expect 1 'from a sample of 7 documents with seed 3, not from a sample of 7 documents with seed 4' \
        corpus "$docs" $plugins --window 64 --state "$work/sample.state" --sample 7 --seed 4
    run other_part --sample 7 --seed 4 --shard 2/2 --state "$work/other2.state"
    expect 1 'seed 4, not from a sample of 7 documents with seed 3' merge "$work/sample1.state" "$work/other2.state"
}
expect 2 'seed needs --sample' corpus "$docs" --seed 3
expect 2 '--sample needs an integer' corpus "$docs" --sample 0

# Interventions: recorded, merged, and said.
edits="--ablate L0H3 --scale 0_mlp_out:alpha=0.5,rows=1-9"
# shellcheck disable=SC2086 # lists of arguments
{
    check 'interventions' run edited $edits
    check 'they are said' grep -q 'sets L0H3 to zero (rows: all)' "$work/edited.stdout"
    check 'they change the results' sh -c "! cmp -s '$work/whole/tensors.safetensors' '$work/edited/tensors.safetensors'"
    for part in 1 2; do
        check "part $part" run edited_part$part $edits --shard $part/2 --state "$work/edit$part.state"
    done
    check 'edited parts' "$program" merge "$work/edit1.state" "$work/edit2.state" --out "$work/edited_merged" >"$work/stdout"
    check 'are the edited corpus' same edited edited_merged
    run plain_part --shard 2/2 --state "$work/plain2.state"
    expect 1 'different targets, plugins or interventions' merge "$work/edit1.state" "$work/plain2.state"
    expect 1 'made with the plugins ln, mlp, logits, ablate, scale, not ln, mlp, logits' corpus "$docs" $plugins \
        --window 64 --shard 1/2 --state "$work/edit1.state"
}
expect 2 'patch takes values from a source prompt' corpus "$docs" --patch L0H3
expect 1 'by=mean over a corpus needs file=' corpus "$docs" --ablate 0_mlp_out:by=mean
expect 1 'by=resample takes rows of a source prompt' corpus "$docs" --ablate 0_mlp_out:by=resample
expect 1 'the vector must come from file=' corpus "$docs" --steer 0_mlp_out

# Without a state file a signal still delivers what was done, and says that it is not all.
# The signal comes while the program reads a stream that goes on: a pipe holds only the end of what is written.
mkfifo "$work/feed"
# shellcheck disable=SC2086 # a list of arguments
"$program" corpus - $plugins --window 64 --batch 1 --threads 1 --out "$work/stopped" \
    <"$work/feed" >"$work/stopped.stdout" 2>"$work/stderr" &
pid=$!
exec 9>"$work/feed"
for i in 1 2 3; do cat "$source/docs/architecture.md" "$source/docs/hooks.md"; done | iconv -c -t ASCII |
    awk '{gsub(/[\\"]/, ""); gsub(/\t/, " "); text = text " " $0}
        length(text) > 500 {printf "{\"text\": \"%s\"}\n", text; text = ""}' >&9
kill -TERM $pid # a shell's background job ignores SIGINT
exec 9>&-
wait $pid
check 'a stopped run fails' test $? -eq 1
check 'it prints its totals' grep -q '^stopped before the end of the corpus$' "$work/stopped.stdout"
check 'and all sections' test "$(grep -cE '^(ln|mlp|logits) ' "$work/stopped.stdout")" = 3
check 'and writes them' grep -q '"stopped": true' "$work/stopped/results.json"
check 'then one sentence' grep -qE '^pythiascope: stopped after [0-9]+ tokens, which the results cover; with --state' \
    "$work/stderr"

# words shows its excerpts as the tokens are: characters beyond ASCII, a line's end as \n.
printf 'Zo\303\253 met Zo\303\253 there.\nZo\303\253 went home. The caf\303\251 of Zo\303\253 was closed.\n%.0s' 1 2 3 \
    >"$work/accents.txt"
"$program" corpus "$work/accents.txt" --plugin words:top=20 >"$work/accents" 2>/dev/null
check 'no ? in the place of a character' sh -c "! grep -q '?' '$work/accents'"
check 'a character of two tokens' grep -q "$(printf 'Zo\303\253')" "$work/accents"
check 'a line is shown as it is written' grep -q '\\n' "$work/accents"

# Usage and the corpus.
mkfifo "$work/pipe.state"
expect 1 'not a regular file' corpus "$docs" --state "$work/pipe.state"
ln -s loop.state "$work/loop.state"
expect 1 'loop.state' corpus "$docs" --state "$work/loop.state"
check 'what cannot be opened is not replaced' test -L "$work/loop.state"
expect 1 'single text' corpus "$docs" --plugin sweep
expect 1 'plugin effects does not work over a corpus; it needs a single text' corpus "$docs" --plugin effects
for name in graph frozen edges roles patch gradient attribution circuit; do
    expect 1 "plugin $name does not work over a corpus" corpus "$docs" --plugin $name
done
expect 1 'plugin weights reads no documents' corpus "$docs" --plugin weights
# Every plugin that works over a corpus has something to say below its headline.
for name in logits ln mlp lens sampling means neurons attention spans partition words; do
    "$program" corpus "$docs" --window 64 --limit-tokens 300 --plugin $name >"$work/said" 2>/dev/null
    check "$name says something" test "$(sed -n "/^$name /,\$p" "$work/said" | grep -c '^  ')" -ge 1
done
expect 2 'no corpus' corpus
expect 2 '--shard needs' corpus "$docs" --shard 0/2
expect 2 '--shard needs' corpus "$docs" --shard 3/2
expect 2 '--shard needs' corpus "$docs" --shard 1
expect 2 '--batch needs' corpus "$docs" --batch 0
expect 2 'no state files' merge
expect 1 'missing: No such file' corpus "$work/missing"
mkdir "$work/none"
expect 1 'none contains no' corpus "$work/none"
expect 1 'window of 100000 tokens.*context' corpus "$docs" --window 100000
expect 1 'no/such/file.state' corpus "$docs" --plugin ln --state "$work/no/such/file.state"
expect 1 'nonsense' corpus "$docs" --plugin nonsense

# State files.
printf 'something else' >"$work/text.state"
expect 1 'text.state is not a pythiascope state file' corpus "$docs" --plugin ln --state "$work/text.state"
good=$work/kill.state
head -c 1000 "$good" >"$work/cut.state"
expect 1 'cut.state is damaged' merge "$work/cut.state"
head -c 20 "$good" >"$work/cut.state"
expect 1 'cut.state is damaged' merge "$work/cut.state"
for at in 9 300 5000; do
    cp "$good" "$work/hit.state"
    printf '\252' | dd of="$work/hit.state" bs=1 seek=$at conv=notrunc 2>/dev/null
    expect 1 'hit.state is damaged: its checksum' merge "$work/hit.state"
done
same="--window 64 --state $good"
mkdir "$work/other"
cp "$source/models/books-5m"/* "$work/other/"
sed 's/"layer_norm_eps": [^,]*/"layer_norm_eps": 0.25/' "$source/models/books-5m/config.json" \
    >"$work/other/config.json"
# shellcheck disable=SC2086 # a list of arguments
{
    expect 1 'made with the plugins ln, mlp, logits, not ln' corpus "$docs" --plugin ln $same
    expect 1 'with bins=32 for plugin mlp, not bins=16' corpus "$docs" --plugin ln \
        --plugin mlp:bins=16 --plugin logits:level=layer $same
    expect 1 'targets next, not top:1' corpus "$docs" $plugins $same --target top:1
    expect 1 'windows of 64 tokens without <.endoftext.>, not 64 tokens with it' corpus "$docs" \
        $plugins $same --bos
    expect 1 'windows of 64' corpus "$docs" $plugins --window 32 --state "$good"
    expect 1 'other paths or sizes' corpus "$docs/a" $plugins $same
    expect 1 'for the whole corpus, not part 1/2 of the corpus' corpus "$docs" $plugins $same --shard 1/2
    expect 1 "made with model .*, but this is model" corpus "$docs" $plugins $same --model "$work/other"
}
expect 1 'part 3/3 is missing' merge "$work/1.state" "$work/2.state"
expect 1 'part 1/3 is given twice' merge "$work/1.state" "$work/1.state"
expect 1 'one of 1 part.s., but the first is one of 3' merge "$work/1.state" "$good"
expect 1 'limit of 1000000 tokens .0: none., but the first part with 0' merge "$work/a.state" \
    "$work/b_limited.state"
# shellcheck disable=SC2086 # a list of arguments
expect 1 'already has [0-9]* tokens, but the limit is 50' corpus "$docs" $plugins --window 64 \
    --shard 1/2 --state "$work/a.state" --limit-tokens 50
expect 1 'missing.state' merge "$work/missing.state"

latin=$(printf '\377.so')
expect 1 'plugin \\xff.so is not UTF-8, which --state needs; leave --state out' corpus "$docs" \
    --plugin "$latin" --state "$work/latin.state"
check 'nothing is written for it' test ! -e "$work/latin.state"
expect 1 'no plugin is named|cannot load' corpus "$docs" --plugin "$latin"

# A state file of another version, and one whose checksum fits a damaged content: refused with one
# sentence, and left as it was.
refuse() { # refuse PATTERN STATE: by corpus and by merge
    cp "$2" "$work/kept.state"
    # shellcheck disable=SC2086 # a list of arguments
    expect 1 "$1" corpus "$docs" $plugins --window 64 --state "$2"
    expect 1 "$1" merge "$2"
    check "kept: $1" cmp -s "$2" "$work/kept.state"
}
cp "$source/tests/golden/corpus/version_0_1_0.state" "$work/old.state"
refuse 'old.state was made by version 0.1.0 .format 2., but version [0-9.]* reads format 3; start with a new file$' \
    "$work/old.state"
cp "$good" "$work/later.state"
"$edit_state" "$work/later.state" format 4
refuse 'later.state was made by a later version .format 4.' "$work/later.state"

damage() { # damage PATTERN CLIENT: printf's format of what stands beside the totals
    cp "$good" "$work/hit.state"
    # shellcheck disable=SC2059 # a format
    printf "$2" | "$edit_state" "$work/hit.state" client
    refuse "the state file $work/hit.state: $1" "$work/hit.state"
}
client=$(strings -n 20 "$good" | sed -n 's/.*\({"place":.*}}\).*/\1/p' | head -1)
check 'place and setup are JSON' test "$(echo "$client" | grep -c '"plugins": *\["ln","mlp"')" -eq 1
damage 'its position and setup are not valid JSON' ''
damage 'its position and setup are not valid JSON' 'corpus=0123456789abcdef window=64\n'
damage 'its position and setup are not valid JSON' '{"place":{},"setup":'
damage 'its position and setup are not valid JSON' "$client\\000"
damage 'its position and setup are not valid JSON' '{"place":{"corpus":"a\\u0000b"},"setup":{}}'
damage 'its position and setup are not valid JSON' '{"place":{},"place":{},"setup":{}}'
damage 'its position and setup are not valid JSON' '{"place":{"corpus":"\377"},"setup":{}}'
damage 'its position and setup are not valid JSON' '{"place":{"tokens":99999999999999999999},"setup":{}}'
damage 'its position and setup are not valid JSON' '{"place":{"tokens":1e999},"setup":{}}'
damage 'its position and setup are not valid JSON' "$(head -c 100000 /dev/zero | tr '\0' '[')"
damage 'it has no position in a corpus or no setup' '[]'
damage 'it has no position in a corpus or no setup' '{"place":[],"setup":{}}'
damage 'it has no position in a corpus or no setup' '{"place":{}}'
damage 'the recorded position in the corpus is invalid: corpus must be 32' '{"place":{},"setup":{}}'
for change in 's/"window":64,//=window must be an integer' 's/"window":64/"window":0/=window is out of range' \
    's/"window":64/"window":"64"/=window must be an integer' 's/"bos":0/"bos":false/=bos must be an integer' \
    's/"shard":0/"shard":5/=shard is out of range' 's/"tokens":[0-9]*/"tokens":1e3/=tokens must be an integer' \
    's/"tokens":[0-9]*/"tokens":9223372036854775807/=tokens is out of range' \
    's/"document":-1/"document":-2/=document is out of range'; do
    damage "the recorded position in the corpus is invalid: ${change##*=}" \
        "$(echo "$client" | sed "${change%=*}")"
done
header=$(strings -n 20 "$good" | sed -n 's/.*\({"model":.*}\){"place":.*/\1/p' | head -1)
damage() { # damage PATTERN SED: what the totals belong to
    cp "$good" "$work/hit.state"
    echo "$header" | sed "$2" | "$edit_state" "$work/hit.state" header
    refuse "the state file $work/hit.state $1" "$work/hit.state"
}
damage 'is damaged: its header is not a JSON object' 's/.*/[1]/'
damage 'is damaged: its header is not a JSON object' 's/.$//'
damage 'is damaged: its header is not a JSON object' 's/"tokens":/"windows":1,&/'
damage 'was made with model [0-9a-f]*, but this is model' 's/"model":"./"model":"x/;s/x/f0/'
damage 'was made with model , but' 's/"model":"/"model":7,"was":"/'
damage 'was made with the plugins none, not' 's/"plugins":/"plugins":{},"were":/'
damage 'has different accumulators for plugin ln' 's/"accumulators":/"accumulators":5,"were":/'
damage 'is damaged: its counts are missing or out of range' 's/"tokens":/"tokens":-/'
damage 'is damaged: its counts are missing or out of range' 's/"tokens":[0-9]*/"tokens":1e3/'
damage 'is damaged: its counts are missing or out of range' 's/"windows":[0-9]*/"windows":9000000000000000000/'
damage 'is damaged: its counts are missing or out of range' 's/"windows":/"were":/'
damage() { # the setup matters to merge alone
    cp "$good" "$work/hit.state"
    printf '%s' "$2" | "$edit_state" "$work/hit.state" client
    expect 1 "the state file $work/hit.state: $1" merge "$work/hit.state"
}
for change in 's/"targets":.*$/"plugins":["ln"]}}/=the recorded targets or plugins are not a JSON array' \
    's/"targets":[^]]*]/"targets":"next"/=the recorded targets or plugins are not' \
    's/"targets":[^]]*]/"targets":[["next"]]/=a recorded target is neither' \
    's/"targets":[^]]*]/"targets":[["a","b","c"]]/=a recorded target is neither' \
    's/"targets":[^]]*]/"targets":[7]/=a recorded target is neither' \
    's/"plugins":.*$/"plugins":[{}]}}/=a recorded plugin is not a string' \
    's/"plugins":.*$/"plugins":["nonsense"]}}/=.*nonsense'; do
    damage "${change##*=}" "$(echo "$client" | sed "${change%=*}")"
done

conclude
