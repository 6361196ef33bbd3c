#!/bin/sh
# Shards of a corpus's rows: resumed after KILL to the byte, parts and their merge, folders that are refused.
# usage: activations.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1

docs=$work/docs
mkdir "$docs"
for i in 1 2 3 4 5 6; do
    for j in 1 2 3 4 5 6 7 8 9; do
        echo "Chapter $i.$j tells of a road of yellow brick, of a café, and of $i towers."
    done >"$docs/$i.txt"
done
cd "$work" || exit 1
write() { # write FOLDER ARGUMENTS...: the rows to FOLDER/rows
    mkdir -p "$1"
    place=$1
    shift
    (cd "$place" && "$program" corpus ../docs --window 32 --threads 1 --save-seconds 0 \
        --plugin activations:out=rows,rows=100 "$@" >stdout 2>stderr)
}

check 'a run to compare with' write whole --state one.state --batch 4
check 'no other files' test -z "$(find whole/rows -name '.*' -type f)"
check 'another batch' write single --batch 1
check 'gives the same bytes' diff -r whole/rows single/rows

# Killed again and again, at other places. The last round ends by itself.
mkdir killed
round=0
while [ $round -lt 40 ]; do
    round=$((round + 1))
    (cd killed && exec "$program" corpus ../docs --window 32 --threads 1 --save-seconds 0 --batch 1 \
        --plugin activations:out=rows,rows=100 --state one.state >stdout 2>stderr) &
    running=$!
    if [ $round -lt 40 ]; then
        sleep "0.0$((2 + round % 7))"
        kill -9 $running 2>/dev/null
    fi
    wait $running 2>/dev/null
done
check 'a run that was killed ends' grep -q activations killed/stdout
check 'with the same bytes' diff -r whole/rows killed/rows
check 'a complete run' write killed --state one.state
check 'stays as it is' diff -r whole/rows killed/rows

# A limit ends within a shard; a larger one continues there.
check 'a limited run' write limited --state one.state --limit-tokens 150
check 'has a short shard' test -f limited/rows/activations-00001.safetensors -a ! -f limited/rows/activations-00002.safetensors
check 'and continues' write limited --state one.state
check 'to the same bytes' diff -r whole/rows limited/rows

# Windows that overlap: each token once.
check 'overlapping windows' write strided --stride 8
check 'have each token once' test "$(grep '^ "rows":' strided/rows/index.json)" = "$(grep '^ "rows":' whole/rows/index.json)"

# Parts: the same rows, in other files.
for n in 2 3; do
    mkdir "parts$n"
    i=0
    while [ $i -lt $n ]; do
        i=$((i + 1))
        check "part $i of $n" write "parts$n" --shard $i/$n --state $i.state
    done
    check "merge of $n" sh -c "cd parts$n && '$program' merge *.state >merged 2>merge.stderr"
    check 'the index has all rows' test "$(grep '^ "rows":' "parts$n/rows/index.json")" = "$(grep '^ "rows":' whole/rows/index.json)"
    check 'and all shards' test "$(grep -c '"file":' "parts$n/rows/index.json")" = "$(find "parts$n/rows" -name '*.safetensors' | wc -l | tr -d ' ')"
done
rm parts3/rows/index-2-of-3.json
cd parts3 || exit 1
expect 1 'index-2-of-3.json' merge 1.state 2.state 3.state
cd ..

# What is refused.
refuse() { # refuse PATTERN OPTIONS [ARGUMENTS...]
    pattern=$1
    options=$2
    shift 2
    expect 1 "$pattern" corpus docs --window 32 --plugin "activations:$options" "$@"
}
refuse 'made with rows=100 for plugin activations, not rows=50' 'out=rows,rows=50' --state whole/one.state
refuse 'has other files, such as .*; name a new one' 'out=docs'
refuse 'cannot write missing/rows' 'out=missing/rows'
refuse 'out= is missing' 'rows=5'
refuse 'names no hook point' 'out=new,points=hook_foo'
refuse 'number of keys' 'out=new,points=blocks.0.attn.hook_pattern'
refuse 'take .* GB, and the limit is' 'out=new,limit=0.0001'
check 'nothing was written' test ! -e new
"$program" corpus docs --window 32 --plugin activations:out=whole/rows >stdout 2>stderr
check 'rows that no state counts are kept' grep -q 'has the rows of an earlier run' stderr
check 'as they were' diff -r whole/rows single/rows
expect 1 'is already that of plugin activations' corpus docs --plugin activations:out=new --plugin activations:out=new
rm killed/rows/activations-00001.safetensors
(cd killed && "$program" corpus ../docs --window 32 --plugin activations:out=rows,rows=100 --state one.state >stdout 2>stderr)
check 'a shard that the state counts must be there' grep -q 'activations-00001.safetensors is missing' killed/stderr
expect 1 'needs a corpus' analyze --text a --plugin activations:out=new
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod a-w locked
    refuse 'cannot write locked/rows' 'out=locked/rows'
fi

# A disk that fills up: files of at most 200 KB. Later the same command goes on.
mkdir full
write full --state one.state --limit-tokens 50
(
    trap '' XFSZ
    ulimit -f 400
    write full --state one.state
)
check 'a write that fails is said' grep -q 'cannot write .*rows.*File too large' full/stderr
check 'on one line' test "$(grep -c '^pythiascope: [^n]' full/stderr)" -eq 1
check 'and when there is room' write full --state one.state
check 'the bytes are the same' diff -r whole/rows full/rows

conclude
