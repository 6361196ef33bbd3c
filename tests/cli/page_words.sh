#!/bin/sh
# The words of the terminal's page: what stands first, names of rows and targets, empty lists, files.
# usage: page_words.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1
giant='There was once a giant named Grumbold. Nobody in the village had ever seen Grumb'
shows() { grep -qF -- "$1" "$work/shown"; }
lacks() { ! grep -qF -- "$1" "$work/shown"; }
shown() { "$program" "$@" >"$work/shown" 2>&1; }

# Without --plugin: heads and MLPs first, then neurons; the second largest of the text is an MLP.
check 'analyze' shown analyze --text "$giant"
check 'the likeliest tokens' shows "'old' 0.991, 'mer' 0.0003,"
check 'the rank' shows "'old' (top:1) at @22 'umb': rank 1, p = 0.991, logit 13.98"
check 'heads and MLPs' shows "Shares of 'old' (top:1) by head and MLP: the largest 12 of 41"
check 'the second largest' sh -c "grep -A3 'head and MLP' '$work/shown' | grep -qF '0_mlp_out  +2.455'"
check 'neurons below' sh -c "sed -n '/head and MLP/,\$p' '$work/shown' | grep -q 'by neuron: the largest 6 of 4,096'"
check 'both levels are checked' shows 'Complete: 2 sums checked'
check 'direct logit attribution' shows 'direct logit attribution'
check 'LayerNorm scale' shows "LayerNorm scale (sigma) at @22 'umb'"
check 'each section names its page' test "$(grep -c '^  See docs/plugins/\(logits\|ln\|mlp\).md$' "$work/shown")" -eq 3
check 'no line is too long' sh -c "test -z \"\$(awk 'length(\$0) > 80 && !/[^ -~]/' '$work/shown')\""

# One word for a row, and the token of a target, wherever they stand.
for plugin in lens edges graph frozen partition sampling roles; do
    check "$plugin" shown analyze --text "$giant" --plugin "$plugin"
    check "$plugin names a row" grep -qE "@[0-9]+ '" "$work/shown"
    check "$plugin has no other word for it" sh -c "! grep -qE 'at position|\(position|at row|^ *row [0-9]|x[0-9]+ ' '$work/shown'"
    check "$plugin does not show top:1 alone" sh -c "! grep -F 'top:1' '$work/shown' | grep -vqF \"'old' (top:1)\""
done
for over in heads heads_by_pos resid_pre edges; do
    check "sweep over $over" shown sweep --text "$giant" --over $over --layer 3
    check "$over: the token" shows "of 'old' (top:1), each in turn"
    check "$over: rows" sh -c "[ $over = heads ] || grep -qF \"@22 'umb'\" '$work/shown'"
done
check 'an intervention' shown analyze --text "$giant" --ablate L3H7
check 'its row and target' shows "'old' (top:1) at @22 'umb' (nats)"
check 'the page once' test "$(grep -c 'See docs/interventions.md' "$work/shown")" -eq 1

# Lists without entries.
check 'attention' shown analyze --text 'There is a man' --plugin attention
check 'no induction head' shows 'No head scores above 0 as an induction head'
check 'nothing with score 0' lacks ' 0.000'
check 'previous-token heads' shows 'previous-token heads (tl_detect)'
check 'edges' shown analyze --text "$giant" --plugin edges:threshold=99
check 'no edge' shows "No edge of 'old' (top:1) reaches the threshold 99"

# Every file that a plugin made is named.
check 'graph' shown analyze --text 'the Emerald City of' --plugin graph --out "$work/out"
check 'its files' shows "wrote $work/out/results.json, $work/out/tensors.safetensors, $work/out/graph.json, $work/out/graph.graphml, $work/out/graph.dot and $work/out/graph.txt"
check 'there are no others' test "$(ls "$work/out" | wc -l)" -eq 6

# A next token that does not exist.
expect 1 'the target next has no token: no row that was chosen has a row after it' sweep --text There --target next
check 'beside another target' shown sweep --text There --target next --target ' the'
check 'it says so' shows 'next: no row has a next token'
for plugin in logits edges mlp ln lens; do
    check "$plugin: next of one token" shown analyze --text There --target next --plugin "$plugin"
    check "$plugin: no number is missing" sh -c "! grep -qiE 'nan|n/a' '$work/shown'"
done

conclude
