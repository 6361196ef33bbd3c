#!/bin/sh
# Models from files of PyTorch, what is no model, and weights that are not finite, for every verb that
# opens one.
# usage: models.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
golden=$2/tests/golden
embedded=$2/models/books-5m

# PyTorch's files give the same results to the byte as safetensors.
mkdir "$work/model"
cp "$golden/loader/plain/config.json" "$golden/loader/plain/model.safetensors" "$work/model/"
"$program" analyze --model "$work/model" --tokens 1,2,3 --out "$work/safetensors" >/dev/null
check 'safetensors are analyzed' test -s "$work/safetensors/tensors.safetensors"
for name in plain sharded; do
    "$program" analyze --model "$golden/torch/$name" --tokens 1,2,3 --out "$work/$name" >/dev/null
    check "the same tensors from $name" cmp -s "$work/$name/tensors.safetensors" \
        "$work/safetensors/tensors.safetensors"
    check "the same hash from $name" test "$(grep '"hash"' "$work/$name/results.json")" = \
        "$(grep '"hash"' "$work/safetensors/results.json")"
done
rm "$work/model/model.safetensors"
cp "$golden/torch/files/calls_system.bin" "$work/model/pytorch_model.bin"
for verb in info 'analyze --tokens 1 --model' 'weights --model'; do
    # shellcheck disable=SC2086 # a verb and its options
    expect 1 'calls posix.system, which no state dict needs; the file is not read' $verb "$work/model"
done
rm "$work/model/pytorch_model.bin"

# A beginning token outside the vocabulary is not replaced by another.
cp -r "$embedded" "$work/outside"
sed 's/"bos_token_id": *[0-9]*/"bos_token_id": 99999/' "$embedded/config.json" >"$work/outside/config.json"
grep -q bos_token "$work/outside/tokenizer_config.json" 2>/dev/null && rm "$work/outside/tokenizer_config.json"
for given in '--text a' '--tokens 1'; do
    # shellcheck disable=SC2086
    expect 1 'bos_token_id 99999 of config.json is outside the vocabulary of' analyze --model "$work/outside" --bos $given
done
check 'without --bos it is not needed' sh -c "'$program' analyze --model '$work/outside' --text a --plugin ln >/dev/null 2>&1"
printf 'One line.\n' >"$work/outside.txt"
expect 1 'bos_token_id 99999' corpus "$work/outside.txt" --model "$work/outside" --bos --plugin ln

# What is no model.
printf 'GGUF\003\000\000\000' >"$work/model.gguf"
for verb in info 'analyze --tokens 1 --model' 'generate --tokens 1 --model' 'weights --model' \
    'sweep --tokens 1 --model'; do
    # shellcheck disable=SC2086
    expect 1 'model.gguf is a GGUF file' $verb "$work/model.gguf"
    # shellcheck disable=SC2086
    expect 1 'is a file of weights; pass the folder' $verb "$embedded/model.safetensors"
    # shellcheck disable=SC2086
    expect 1 'has no weights: neither model.safetensors nor pytorch_model.bin' $verb "$work/model"
done
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n' >"$work/model/model.safetensors"
expect 1 'model.safetensors is a git-lfs pointer.*git lfs pull' analyze --tokens 1 --model "$work/model"
rm "$work/model/model.safetensors"
ln -s gone "$work/model/model.safetensors"
expect 1 'model.safetensors is a link to gone, which does not exist' info "$work/model"
rm "$work/model/model.safetensors"
expect 1 'its folder plain has; pass' info "$golden/loader"

# The last weights of the embedded model as NaN: refused by every verb, with and without a cache.
mkdir "$work/spoiled"
cp "$embedded/config.json" "$embedded/tokenizer.json" "$embedded/model.safetensors" "$work/spoiled/"
size=$(wc -c <"$work/spoiled/model.safetensors")
printf '\377\377\377\377' | dd of="$work/spoiled/model.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
echo 'The sun rose.' >"$work/text"
printf '%s\n' "1	a	a	DET	_	_	0	root	_	_" "" >"$work/bank.conllu"
set -- 'analyze --text a --model' 'generate --text a --n 1 --model' 'sweep --text a --model' \
    'weights --model' 'words --text a --model' 'forms --model' 'info --load'
for verb; do
    # shellcheck disable=SC2086
    expect 1 'tensor ".*" is NaN at \[.*\], but weights must be finite' $verb "$work/spoiled"
    # shellcheck disable=SC2086
    expect 1 'tensor ".*" is NaN at' $verb "$work/spoiled" --no-cache
done
expect 1 'is NaN at' corpus "$work/text" --plugin ln --model "$work/spoiled"
expect 1 'is NaN at' treebank "$work/bank.conllu" --model "$work/spoiled"
expect 1 'is NaN at' probe "$work/bank.conllu" --test "$work/text" --model "$work/spoiled"

conclude
