#!/bin/sh
# The cache of packed weights from outside: written at the first start and mapped at the next,
# shown, verified, rebuilt after damage, limited, cleared.
# usage: cache.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1
# A model of a little more than 64 MiB, the least size that is cached. The weights are a hole:
# zeros.
model=$work/zeros
mkdir "$model"
cat >"$model/config.json" <<'EOF'
{"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu",
"hidden_size": 64, "intermediate_size": 64, "layer_norm_eps": 1e-05, "max_position_embeddings": 32,
"num_attention_heads": 1, "num_hidden_layers": 1, "rotary_emb_base": 10000, "rotary_pct": 0.25,
"tie_word_embeddings": false, "torch_dtype": "float32", "use_parallel_residual": true,
"vocab_size": 131072}
EOF
header='{'
bytes=0
add() { # add NAME ROWS [COLUMNS]
    end=$((bytes + 4 * $2 * ${3:-1}))
    [ "$header" = '{' ] || header="$header,"
    header="$header\"$1\":{\"dtype\":\"F32\",\"shape\":[$2${3:+,$3}],\"data_offsets\":[$bytes,$end]}"
    bytes=$end
}
add gpt_neox.embed_in.weight 131072 64
layer=gpt_neox.layers.0
for norm in $layer.input_layernorm $layer.post_attention_layernorm gpt_neox.final_layer_norm; do
    add $norm.weight 64
    add $norm.bias 64
done
add $layer.attention.query_key_value.weight 192 64
add $layer.attention.query_key_value.bias 192
for matrix in attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h; do
    add $layer.$matrix.weight 64 64
    add $layer.$matrix.bias 64
done
add embed_out.weight 131072 64
header="$header}"
n=${#header}
{
    # shellcheck disable=SC2059 # the length as eight bytes, little-endian
    printf "\\$(printf %o $((n % 256)))\\$(printf %o $((n / 256)))\\0\\0\\0\\0\\0\\0"
    printf '%s' "$header"
} >"$model/model.safetensors"
dd if=/dev/null of="$model/model.safetensors" bs=1 seek=$((8 + n + bytes)) 2>/dev/null
touch -t 202001010000 "$model/model.safetensors"
sleep 2.1 # files that just changed are not remembered

unset PSC_CACHE_LIMIT XDG_CACHE_HOME
PSC_CACHE_DIR=$work/kept
export PSC_CACHE_DIR
weights() { # weights OPTIONS...: the line of info on the weights, after opening them
    "$program" info --load "$model" "$@" >"$work/info" 2>&1
    sed -n 's/^ *weights *//p' "$work/info"
}
"$program" info "$model" >"$work/info"
check 'info reads no weights' grep -q '^  weights  *model.safetensors, 64.. MiB, not read$' "$work/info"
check 'info does not know the hash yet' grep -q '^  hash  *not known .*--load reads' "$work/info"
check 'info writes nothing' test ! -e "$work/kept"
said=$(weights)
case $said in *'the disk of'*)
    echo "skipped: $said"
    exit 0
    ;;
esac
check "the first start caches them: $said" test "$said" = "packed, cached in $work/kept"
said=$(weights)
check "the second start maps them: $said" test "$said" = "mapped from $work/kept"
check 'the hash is remembered' test "$(find "$work/kept" -name '*.source' | wc -l)" -eq 1
said=$(weights --no-cache)
check "not with --no-cache: $said" test "$said" = 'packed, not cached'
said=$(weights --cache-dir "$work/small" --cache-limit 1M)
check "not above the limit: $said" test -n "$(echo "$said" | grep 'not cached: .*limit is 1 MiB')"
said=$(env -u PSC_CACHE_DIR HOME="$work/home" "$program" info --load "$model" | sed -n 's/^ *weights *//p')
check "in the home folder: $said" test -n "$(echo "$said" | grep "cached in $work/home/.*pythiascope")"
rm -r "$work/home"

# A folder that others may write to is not used, in one sentence, and the run goes on.
mkdir "$work/open"
chmod 777 "$work/open"
said=$(weights --cache-dir "$work/open")
check "not in an open folder: $said" test -n "$(echo "$said" | grep 'not cached: .*group or others may write')"
check 'nothing is written there' test -z "$(ls "$work/open")"
"$program" analyze --model "$model" --tokens 1,2 --plugin ln --target '#5' --cache-dir "$work/open" >/dev/null 2>"$work/stderr"
check 'the run goes on' test $? -eq 0
check 'and says so once' test "$(grep -c 'note: the cache is not used: .*run chmod go-w on it' "$work/stderr")" -eq 1
"$program" cache --cache-dir "$work/open" >"$work/stdout" 2>"$work/stderr"
check 'the verb refuses it' test $? -eq 1 -a ! -s "$work/stdout"
check 'in one sentence' test "$(grep -c 'group or others may write' "$work/stderr")" -eq 1 -a "$(wc -l <"$work/stderr")" -eq 1

# Variables that are empty or relative count as unset.
mkdir "$work/here" "$work/home"
for value in '' relative ./relative; do
    said=$(cd "$work/here" && env -u PSC_CACHE_DIR XDG_CACHE_HOME="$value" HOME="$work/home" "$program" info --load "$model" |
        sed -n 's/^ *weights *//p')
    check "XDG_CACHE_HOME='$value': $said" test -n "$(echo "$said" | grep "$work/home/")"
done
said=$(cd "$work/here" && env -u PSC_CACHE_DIR HOME=relative "$program" info --load "$model" | sed -n 's/^ *weights *//p')
check "a relative HOME: $said" test "$said" = 'packed, not cached'
check 'nothing is made beside it' test -z "$(ls "$work/here")"
rm -r "$work/home"
if [ "$(id -u)" -eq 0 ]; then # the HOME of another user, as sudo may leave it
    mkdir "$work/home"
    chown 12345 "$work/home"
    env -u PSC_CACHE_DIR HOME="$work/home" "$program" info --load "$model" >"$work/info" 2>"$work/stderr"
    check "another user's HOME" grep -q 'not cached: .*owned by another user' "$work/info"
    check 'stays as it was' test -z "$(ls -A "$work/home")"
    rm -r "$work/home"
fi

# Shown and verified.
file=$(find "$work/kept" -name '*.packed')
hash=$(basename "$file" | cut -c 1-32)
"$program" info "$model" >"$work/info"
check 'info knows what is cached' grep -q "^  weights  *model.safetensors, .*packed in $work/kept$" "$work/info"
check 'info knows the hash' grep -q "^  hash  *$hash " "$work/info"
"$program" cache >"$work/list"
check 'the folder is shown' grep -qxF "$work/kept" "$work/list"
check 'the model is shown' grep -q "^  $hash  *64\.. MiB  used .*zeros$" "$work/list"
check 'the sum is shown' grep -q '1 model,  *64\.. MiB, limit  *32\.0 GiB' "$work/list"
check 'the file is intact' test "$("$program" cache verify)" = "$hash is intact"
chmod u+w "$file"
printf '\001' | dd of="$file" bs=1 seek=5000000 conv=notrunc 2>/dev/null
chmod u-w "$file"
"$program" cache verify "$(echo "$hash" | cut -c 1-6)" >"$work/stdout" 2>"$work/stderr"
check 'a damaged file is reported' test $? -eq 1 -a ! -s "$work/stdout"
check 'the file is named' grep -q "$hash.*do not match their hash" "$work/stderr"
said=$(weights)
check "it is rebuilt: $said" test "$said" = "packed, cached in $work/kept"
check 'it is intact again' test "$("$program" cache verify "$hash")" = "$hash is intact"

# Cleared.
check 'the cache is cleared' test -n "$("$program" cache clear | grep 'removed 1 model,  *64\.. MiB')"
check 'no file is left' test -z "$(find "$work/kept" -type f)"
check 'no model is shown' test -n "$("$program" cache | grep '0 models')"

# Of several checkpoints none is kept, unless --cache-dir says so.
cp -r "$model" "$work/twin"
PSC_CACHE_DIR=$work/steps
several() {
    "$program" analyze --model "$work@zeros,twin" --tokens 1,2 --plugin ln --target '#5' "$@" >/dev/null 2>&1
}
check 'several checkpoints' several
check 'no packed weights of theirs' test ! -e "$work/steps"
check 'with a folder' several --cache-dir "$work/steps"
check 'packed weights' sh -c "ls '$work/steps' | grep -q ."
conclude
