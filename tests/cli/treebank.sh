#!/bin/sh
# The verb treebank from outside: tables of sentences of our own, the same for batches, threads,
# chunks and ISA; notes; bad treebanks.
# usage: treebank.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
own=$2/tests/golden/structure/own.conllu
sentences=$(grep -c '^1[[:space:]]' "$own")

table() { # table NAME OPTIONS...: writes to $work/NAME
    name=$1
    shift
    "$program" treebank "$own" --draws 50 --out "$work/$name" "$@" >"$work/$name.summary" \
        2>"$work/$name.notes"
}
check 'a treebank' table first --threads 1 --revision --heads --links
for options in '--threads 2' '--threads 3 --chunk 7' '--batch 1' '--batch 3 --isa reference'; do
    # shellcheck disable=SC2086 # a list of options
    check "a treebank with $options" table again --revision --heads --links $options
    check "the same bits with $options" \
        cmp "$work/first/tensors.safetensors" "$work/again/tensors.safetensors"
    rm -r "$work/again"
done
check 'nothing was skipped' test ! -s "$work/first.notes"
check 'the head counts sequences' grep -q "^[0-9]* tokens in $sentences sequences\$" \
    "$work/first.summary"
for row in 'punctuation + right' 'level 2, power 1' 'level 3, plain A' 'heads of' 'links of' \
    'closed brackets' 'the best of these very sentences'; do
    check "the summary has $row" grep -q "$row" "$work/first.summary"
done

check 'short rows' table short --rows 12
check 'long sentences are counted' grep -q \
    "note: .*own.conllu: skipped [1-9][0-9]* of $sentences sentences, which have more than 12 rows" \
    "$work/short.notes"
check 'one note' test "$(wc -l <"$work/short.notes")" -eq 1
check 'a limit' table limited --limit 2
check 'its sentences' grep -q '2 sentences of 3 to 40 content units' "$work/limited.summary"
check 'one sentence' table one --limit 1
check 'it has no interval' sh -c "! grep -q '[0-9][.][.]' '$work/one.summary'"
check 'and no other' sh -c "grep -q 'other -;' '$work/one.summary' &&
    grep -q '\"other\" leaves out 1 sentence: no other one' '$work/one.summary'"
check 'the prior' grep -q 'prior: under uniform attention, trees of power 1/2 are right-branching' \
    "$work/one.summary"
check 'a level' table chosen --level 1
check 'the choice is shown' grep -q 'level 1 (chosen on other sentences)' "$work/chosen.summary"
check 'sums of levels' table sums --levels 1+2,L3H0
check 'their rows' grep -q 'level 1+2' "$work/sums.summary"

sed 's/^# sent_id.*/& again/' "$own" >"$work/dev.conllu"
check 'a choice, windows and a control' table beside --dev "$work/dev.conllu" --control "$2/models/books-5m" --windows
check 'the choice' grep -q 'level . (chosen on other sentences)' "$work/beside.summary"
for section in treebank dev.treebank windows.treebank control.treebank control-windows.treebank; do
    check "the summary has $section" grep -q "^$section " "$work/beside.summary"
done
check 'windows' grep -q '2 windows: brackets that cross' "$work/beside.summary"
check 'words as a table' grep -Eq '^  level 2 +[01]\.[0-9]{3} +[01]\.[0-9]{3} +[01]\.[0-9]{3}$' \
    "$work/beside.summary"
check 'a model beside itself has the same table' sh -c "
    sed '/^dev.treebank /,/^windows.treebank /d' '$work/beside.summary' |
        grep '^  level.*[0-9][.][.]' | sort | uniq -c | awk '\$1 < 2 { exit 1 }'"
# A control's figures stand beside the model's; of a model beside itself they are the same.
check 'the control beside' sh -c "sed -n '/^treebank beside control.treebank/,\$p' '$work/beside.summary' |
    awk '/words of several tokens/ { own = \$NF; n = NR } n && NR == n + 1 { exit !(\$1 == \"control\" && \$NF == own) }'"
check 'levels as a table' sh -c "grep -A1 '^  levels  *0  *1  *2  *3\$' '$work/beside.summary' | grep -q 'words of several'"
check 'F1 beside' grep -Eq '^    level 2  +([0-9]+\.[0-9]{2})  +\1$' "$work/beside.summary"
check 'windows beside' grep -q '^windows.treebank beside control-windows.treebank$' "$work/beside.summary"
check 'no table beside with --json' sh -c "! '$program' treebank '$own' --draws 2 --json \
    --control '$2/models/books-5m' 2>&1 | grep -q ' beside '"
check 'notes about a file come once' table noted --rows 12 --control "$2/models/books-5m"
check 'one note of both models' test "$(wc -l <"$work/noted.notes")" -eq 1
check 'comparisons' table compared --comparisons --heads --batch 3
check 'their rows' grep -q 'attn Hellinger 2' "$work/compared.summary"
check 'heads by similarity' grep -q "residual 3 as head" "$work/compared.summary"

# Bad input.
expect 2 'no treebank; pass a CoNLL-U file' treebank
expect 2 'unexpected argument' treebank "$own" "$own"
expect 2 '--dev chooses the level' treebank "$own" --dev "$own" --level 1
cp "$own" "$work/copy.conllu"
ln -s "$own" "$work/link.conllu"
for file in "$own" "$work/copy.conllu" "$work/link.conllu"; do
    expect 1 'is the same as the treebank; choose the level on other sentences' \
        treebank "$own" --dev "$file"
done
expect 2 '--rows needs' treebank "$own" --rows 1
expect 2 '--batch needs' treebank "$own" --batch 0
expect 1 'missing.*No such file' treebank "$work/missing"
expect 1 'own.conllu: none of its [0-9]+ sentences has at most 3 rows; raise --rows' \
    treebank "$own" --rows 3
expect 1 'level=9 is not one of' treebank "$own" --level 9
expect 1 'levels.*9' treebank "$own" --levels 9
expect 1 'missing' treebank "$own" --dev "$work/missing"
expect 1 'missing' treebank "$own" --control "$work/missing"
word() { # word ID FORM HEAD
    printf '%s\t%s\t_\tX\t_\t_\t%s\tdep\t_\t_\n' "$@"
}
{ echo '# text = The cat'; word 1 The 2; word 2 dog 0; echo; } >"$work/misaligned"
expect 1 'misaligned:3: .*dog' treebank "$work/misaligned"
{ word 1 a 0; word 2 b 3; word 3 c 2; echo; } >"$work/cyclic"
expect 1 'cyclic:[0-9]+: .*cycle' treebank "$work/cyclic"
{ word 1 a 4; word 2 b 0; echo; } >"$work/range"
expect 1 'range:1: .*head' treebank "$work/range"
for i in 1 2 3 4; do word 1 a 2; word 2 b 0; word 3 c 2; echo; done >"$work/four"
expect 1 'none of its 1 windows of 4 sentences has at most 9 rows; raise --rows' \
    treebank "$work/four" --windows --rows 9
{ word 1 a 2; word 2 b 0; echo; } >"$work/small"
expect 1 'none of 1 sentences has 3 to 40 content units' treebank "$work/small"
check 'no folder of a failed run' test -z "$("$program" treebank "$work/small" --out "$work/no" 2>/dev/null;
    ls -d "$work/no" 2>/dev/null)"

conclude
