#!/bin/sh
# A small file that claims much costs little memory: measured as the peak of each run (ru_maxrss).
# usage: small_files.sh PROGRAM SOURCE PEAK_MEMORY
. "$(dirname "$0")/checks.sh"
program=$1
source=$2
peak=$3
embedded=$source/models/books-0.5m/step4000
PSC_CACHE_DIR=$work/kept
export PSC_CACHE_DIR

# within MIB CODE ARGUMENTS...: the run ends with CODE and takes at most MIB MiB.
within() {
    most=$1
    code=$2
    shift 2
    "$peak" "$program" "$@" >"$work/stdout" 2>"$work/stderr" 3>"$work/peak" </dev/null
    got=$?
    check "exit code $got, not $code: $*" test $got -eq "$code"
    check "$(cat "$work/peak") MiB, more than $most: $*" test "$(cat "$work/peak")" -le "$most"
    [ "$code" -eq 0 ] || check "one sentence: $*" test "$(wc -l <"$work/stderr")" -eq 1
}

# The sanitizers' own memory is not what is measured.
"$peak" "$program" --version >/dev/null 3>"$work/peak"
base=$(cat "$work/peak")
if [ "$base" -gt 30 ]; then
    echo "skipped: the program takes $base MiB for nothing"
    exit 0
fi

# A context of 2^24 positions.
cp -r "$embedded" "$work/long"
chmod -R u+w "$work/long"
sed 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 16777216/' "$embedded/config.json" >"$work/long/config.json"
check 'the context is long' grep -q 16777216 "$work/long/config.json"
within 40 0 info "$work/long"
within 40 0 info --load "$work/long"
within 60 0 analyze --model "$work/long" --text 'The old man'
within 60 0 generate --model "$work/long" --text 'The old man' --n 3
within 60 0 sweep --model "$work/long" --text 'The old man' --target ' man'
within 60 0 weights --model "$work/long"
echo 'The old man went home. The sea was calm.' >"$work/text"
within 60 0 corpus --model "$work/long" --plugin ln "$work/text"
within 60 0 words --model "$work/long" "$work/text"
# The tables beyond those that all sessions share have the same bits.
"$program" analyze --model "$embedded" --text 'The old man' --json >"$work/short.json"
"$program" analyze --model "$work/long" --text 'The old man' --json >"$work/long.json"
values() { tr ',' '\n' <"$1" | grep -v -e hash -e path -e name -e model -e n_ctx -e folder; }
values "$work/short.json" >"$work/short"
values "$work/long.json" >"$work/long.values"
check 'there are results' test "$(wc -l <"$work/short")" -gt 100
check 'they stay' cmp "$work/short" "$work/long.values"

# A text far beyond the context is read and refused, not tokenized.
fill() { # fill TEXT: 16 MB of it
    head -c 16000000 /dev/zero | tr '\0' 'x' | sed "s/xxxxxxxxxx/$1/g" >"$work/big"
}
for text in 'old sea ab' 'aaaaaaaaaa' '          ' '<|endoftext|>' '1234567890'; do
    fill "$text"
    size=$(wc -c <"$work/big")
    [ "$size" -le 16777216 ] || head -c 16777216 "$work/big" >"$work/big.cut"
    [ "$size" -le 16777216 ] || mv "$work/big.cut" "$work/big"
    within 80 1 analyze --file "$work/big"
    check 'it is too long' grep -q 'at least 513 tokens, more than the model.s context of 512' "$work/stderr"
done
within 80 1 generate --file "$work/big"
within 80 1 sweep --file "$work/big" --target ' man'
conclude
