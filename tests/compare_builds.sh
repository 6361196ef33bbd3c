#!/bin/sh
# Compares two builds of the program by runs that cover every plugin: both must write the same files,
# byte for byte. Only the version may differ, and in the plugins' JSON the way a number is written (0,
# 0.0).
# Every run uses one thread; test_bits_product covers other settings.
# usage: compare_builds.sh PROGRAM_BEFORE PROGRAM_AFTER SOURCE_DIR
set -eu
if [ $# -ne 3 ]; then
    echo "usage: $0 PROGRAM_BEFORE PROGRAM_AFTER SOURCE_DIR" >&2
    exit 2
fi
before=$1
after=$2
golden=$3/tests/golden
embedded=$3/models/books-5m
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-compare-XXXXXX")
trap 'rm -rf "$work"' EXIT
differing=0
text='There was once a giant named Grumbold. Nobody in the village had seen Grumb'

# A plugin's JSON with every number as Python writes a float; the order of keys stays.
plain() { # plain FILE
    python3 -c 'import json, sys
def pairs(all): return {"keys": [k for k, v in all], "values": [v for k, v in all]}
with open(sys.argv[1]) as file: tree = json.load(file, parse_int=float, object_pairs_hook=pairs)
with open(sys.argv[1], "w") as file: json.dump(tree, file, indent=1)' "$1"
}

# Input folders must be the same for both builds, so that the paths in the results agree.
both() { # both NAME VERB OPTIONS...
    name=$1
    shift
    for side in before after; do
        program=$before
        if [ $side = after ]; then program=$after; fi
        mkdir -p "$work/$side"
        if ! "$program" "$@" --threads 1 --out "$work/$side/$name" >"$work/log" 2>&1; then
            cat "$work/log" >&2
            echo "compare_builds: $name fails in build $side" >&2
            exit 1
        fi
        if [ -d "$work/shards" ]; then mv "$work/shards" "$work/$side/$name"; fi
        # The program's version and the built-ins'.
        find "$work/$side/$name" -type f | while read -r file; do
            case $file in
            */results.json | *.safetensors) ;;
            *.json) plain "$file" || exit 1 ;;
            esac
            LC_ALL=C sed -i.was 's/"version": "[0-9.]*"/"version": ""/
                s/"pythiascope":"[0-9.]*"/"pythiascope":""/' "$file"
            rm "$file.was"
        done
    done
    if diff -r "$work/before/$name" "$work/after/$name" >"$work/log"; then
        echo "same: $name ($(find "$work/after/$name" -type f | wc -l | tr -d ' ') files)"
    else
        head -5 "$work/log"
        echo "differs: $name"
        differing=$((differing + 1))
    fi
}

both explain analyze --model "$embedded" --text "$text" --target next --target top:2 \
    --contrast ' he' ' she' --plugin logits:level=layer+head+source+neuron,rows=all \
    --plugin ln:rows=all,target_rows=all --plugin mlp:rows=all,target_rows=all,arrays=all \
    --capture 'hook_embed,blocks.*.attn.hook_pattern,blocks.*.mlp.hook_post,hook_logits'
both distribution analyze --model "$embedded" --text "$text" --plugin lens:rows=all \
    --plugin sampling:rows=all --plugin loss --plugin partition:rows=all,level=layer+head
both readers analyze --model "$embedded" --text "$text" --target '#300' \
    --plugin attention:reader=L1H0,key=3 --plugin edges:rows=all,carry=yes --plugin roles \
    --plugin gradient:baseline=mean --plugin attribution:over=heads_by_pos
both spanned analyze --model "$embedded" --text "$text" --bos --plugin spans:prefixes=yes,closure=yes
both words analyze --model "$embedded" --text "$text" --bos --plugin words
own=$golden/structure/own.conllu
awk -v RS= -v ORS='\n\n' 'NR > 4' "$own" >"$work/test.conllu"
awk -v RS= -v ORS='\n\n' 'NR <= 4' "$own" >"$work/train.conllu"
printf '%s\t%s\t%s\n' giant giant NN giants giant NNS king king NN kings king NNS walk walk VB \
    walked walk VBD talk talk VB talked talk VBD >"$work/forms.tsv"
both labelled treebank --model "$embedded" "$own" --draws 20 --revision --heads --links --windows \
    --comparisons
both reread words --model "$embedded" --treebank "$own"
both probed probe --model "$embedded" "$work/train.conllu" --test "$work/test.conllu"
printf 'the sun rose\nthe moon\na red star\n' >"$work/plus.txt"
printf 'a boat on the sea\nthe ship\nan old sail\n' >"$work/minus.txt"
both fitted directions --model "$embedded" --plus "$work/plus.txt" --minus "$work/minus.txt" \
    --at 'blocks.*.hook_resid_post' --held-out 0 --rows all
both formed forms --model "$embedded" "$work/forms.tsv"
both network analyze --model "$embedded" --text "$text" --plugin graph:level=neuron \
    --plugin frozen:map=upto,layer=2 --plugin neurons
both changed analyze --model "$embedded" --text 'the sun rose over the sea' \
    --source 'the sun fell over the sea' --source 'a storm' \
    --ablate L1H2:by=mean --scale 0_mlp_out:alpha=0.5,rows=2-4 \
    --steer blocks.2.hook_resid_pre:alpha=0.5,minus=2 --knockout 'L3H*:keys=1-2,rows=last' \
    --patch L2H1+1_mlp_out --direction embed:along=L0N3.in+L1H2.O,do=swap \
    --plugin effects:rows=all --plugin logits:level=layer+head+neuron \
    --plugin ln --plugin mlp --plugin lens
both swept sweep --model "$embedded" --text 'the Emerald City of' --over heads_by_pos --metric kl
both circuit analyze --model "$embedded" --text 'the sun rose over the sea' \
    --source 'the sun fell over the sea' --target ' and' --plugin circuit:edges=20,order=greedy
both surveyed weights --model "$embedded" --what all --token ' king'
mkdir "$work/documents"
for i in 1 2 3 4 5 6; do
    printf 'Document %d says: %s, and %d times nothing.\n' $i "$text" $((i * i)) >"$work/documents/$i.txt"
done
both documents corpus --model "$embedded" "$work/documents" --window 24 --bos --plugin logits \
    --plugin ln --plugin mlp --plugin lens --plugin attention --plugin neurons:contexts=3 \
    --plugin spans
both heads corpus --model "$embedded" "$work/documents" --window 24 \
    --plugin attention:headvis=own,window=24,contexts=3
both statistics corpus --model "$embedded" "$work/documents" --window 24 --plugin partition \
    --plugin means --plugin sampling --plugin loss:early=3,late=20
both rows corpus --model "$embedded" "$work/documents" --window 24 \
    --plugin "activations:out=$work/shards,rows=50"
both latents analyze --model "$golden/parity/parallel_f32" --tokens 1,2,3,4,5,6,7,8,9 \
    --plugin "sae:path=$golden/sae/standard" --plugin "sae:path=$golden/sae/sparsify_skip/layers.1.mlp" \
    --plugin "sae:path=$golden/sae/gated,shares=yes" --plugin "graph:sae=$golden/sae/transcoder"
both edited analyze --model "$golden/parity/parallel_f32" --tokens 1,2,3,4,5,6,7,8,9 \
    --ablate "L0F3+L0F7:sae=$golden/sae/transcoder" --scale "L1F5:sae=$golden/sae/jumprelu,alpha=3" \
    --steer "L0F2:sae=$golden/sae/constant_norm,alpha=2"
both patterns analyze --model "$embedded" --text "$text" --plugin attention:patterns=yes
both sequential analyze --model "$golden/parity/sequential_f32" --tokens 1,2,3,4,5,6,7,8,9 \
    --target '#3' --target top:1 --plugin logits:level=head+neuron,rows=all --plugin ln \
    --plugin mlp --plugin lens --plugin edges:carry=yes --plugin graph --plugin attention --plugin roles

[ $differing -eq 0 ] || { echo "compare_builds: $differing runs differ"; exit 1; }
echo "compare_builds: all runs write the same files"
