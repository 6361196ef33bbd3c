#!/bin/sh
# What a system may limit or a stranger may name: a stack of 256 kB, no threads, file names with control
# characters and bytes that are not UTF-8.
# usage: limits.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
source=$2
cd "$work" || exit 1
corpus=$source/docs/hooks.md

# --- a small stack ------------------------------------------------------------------------------

# Every verb that computes, with one thread and with some; the results do not change.
"$program" analyze --text 'a book on the' --json >usual 2>/dev/null
small() {
    (
        ulimit -s 256
        "$program" "$@"
    ) >stdout 2>stderr
}
for threads in 1 3; do
    check "$threads: analyze" small analyze --text 'a book on the' --threads $threads --json
    cut='s/"threads": [0-9]*/"threads"/; s/"command": .*//'
    check 'the same results' sh -c "sed '$cut' usual >a; sed '$cut' stdout >b; cmp a b"
    for plugin in effects graph spans frozen edges 'logits:level=neuron,targets=all'; do
        small analyze --text 'a book on the' --threads $threads --plugin $plugin
        check "$threads: $plugin" test $? -le 1
    done
    check "$threads: a page" small analyze --text a --threads $threads --out out$threads --html page$threads.html
    check "$threads: corpus" small corpus "$corpus" --limit-tokens 500 --plugin ln --plugin mlp --batch 4 \
        --threads $threads --state state$threads
    check "$threads: resumed" small corpus "$corpus" --limit-tokens 900 --plugin ln --plugin mlp --batch 4 \
        --threads $threads --state state$threads --json
    check "$threads: generate" small generate --text a --n 3 --threads $threads
    check "$threads: sweep" small sweep --text 'a book on the' --threads $threads
    check "$threads: weights" small weights --threads $threads
    check "$threads: words" small words "$corpus" --threads $threads
    check "$threads: view" small view out$threads
    check "$threads: merge" small merge state$threads
done

# --- no threads ---------------------------------------------------------------------------------

# As a user who may start no other process; root is not limited.
if [ "$(id -u)" -eq 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$program" 2>/dev/null; then
    for arguments in 'analyze --text abc' 'generate --text abc --n 3' 'weights' 'sweep --text abc'; do
        setpriv --reuid=65534 --regid=65534 --clear-groups \
            sh -c "ulimit -p 1 2>/dev/null || ulimit -u 1; exec '$program' $arguments --threads 4" >alone 2>stderr
        check "without threads: $arguments" test $? -eq 0
        check 'in silence' test ! -s stderr
        # shellcheck disable=SC2086 # a list of arguments
        "$program" $arguments --threads 4 >usual 2>/dev/null
        check 'the same results' cmp alone usual
    done
fi

# --- names --------------------------------------------------------------------------------------

# No control character, reordering character or broken byte of a name reaches the terminal or a page. JSON has
# the characters that are UTF-8, those below a space escaped.
raw() { # raw FILE...: those that have one
    LC_ALL=C grep -l "$(printf '[\001-\010\013-\037\177]\\|\302\233\\|\342\200\256\\|\377\\|\376')" "$@"
}
printf '\033' >proof
check 'the search finds one' test -n "$(raw proof)"
name=$(printf 'o\033[31m\377\342\200\256\302\233\nx')
if mkdir docs && head -c 2000 "$corpus" >"docs/$name.txt" 2>/dev/null; then
    printf 'not UTF-8: \377' >"docs/$name.bad.txt"
    mkdir "docs/$name.dir"
    printf '{"text": "hello there"}\nnot JSON\n' >"docs/$name.dir/$name.jsonl"
    cp -r "$source/models/books-5m" "$name.model"
    check 'a corpus of such names' "$program" corpus docs --model "$name.model" --plugin ln --plugin words \
        --out "$name" --html "$name.html" --state "$name.state" >stdout 2>stderr
    check 'notes, summary and page are clean' test -z "$(raw stdout stderr "$name.html")"
    check 'JSON is UTF-8' iconv -f UTF-8 -t UTF-16 -o /dev/null "$name/results.json"
    check 'without control characters' sh -c \
        "! LC_ALL=C grep -q \"$(printf '[\001-\010\013-\037\177]')\" '$name/results.json'"
    check 'one line each' test "$(grep -vc '^pythiascope: ' stderr)" -eq 0
    check 'the name is escaped' grep -qF 'o\x1b[31m\xff\u{202e}\u{9b}\nx.bad.txt is not UTF-8' stderr
    check 'also on stdout' grep -qF 'wrote o\x1b[31m\xff' stdout
    for arguments in "info" "view" "merge" "corpus" "treebank" "analyze --text a --plugin" "analyze --text a --out" \
        "analyze --model" "cache" "words" "plugins" "analyze --file" "generate --steer" "" "corpus docs --strict --html"; do
        # shellcheck disable=SC2086 # a list of arguments
        "$program" $arguments "$name" >stdout 2>stderr </dev/null
        check "'$arguments NAME' is clean" test -z "$(raw stdout stderr)"
        check 'one line each' test "$(grep -vc '^pythiascope: ' stderr)" -eq 0
    done
fi
conclude
