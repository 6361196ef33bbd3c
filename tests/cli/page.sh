#!/bin/sh
# --html FILE: every verb that delivers results writes a page, whole or not at all, and refuses a file
# that it cannot write before the work.
# usage: page.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
source=$2
text='the sun rose over the sea'

# is_page FILE SECTION...: an HTML document whose data block has these sections
is_page() {
    file=$1
    shift
    [ "$(head -n 1 "$file")" = '<!doctype html>' ] || return 1
    [ "$(tail -n 1 "$file")" = '</html>' ] || return 1
    for section; do
        grep -q "{\"name\":\"$section\",\"version\"" "$file" || return 1
    done
}
page() { # page SECTIONS VERB OPTIONS...: a run with --html, whose summary names the file
    sections=$1
    shift
    rm -f "$work/page.html"
    "$program" "$@" --html "$work/page.html" >"$work/summary" 2>"$work/stderr" || return 1
    grep -q "^wrote $work/page.html: open it in a browser\$" "$work/summary" || return 1
    # shellcheck disable=SC2086 # a list of names
    is_page "$work/page.html" $sections
}

# The verbs.
own=$source/tests/golden/structure/own.conllu
awk -v RS= -v ORS='\n\n' 'NR > 4' "$own" >"$work/test.conllu"
awk -v RS= -v ORS='\n\n' 'NR <= 4' "$own" >"$work/train.conllu"
printf 'give\tgive\tVB\t10\ngave\tgive\tVBD\nwalk\twalk\tVB\t9\nwalked\twalk\tVBD\n' >"$work/list.tsv"
mkdir "$work/docs"
echo 'The sun rose over the sea, and the old man went down to his boat.' >"$work/docs/one.txt"
echo 'Nobody in the village had ever seen the giant.' >"$work/docs/two.txt"
check 'sweep' page sweep sweep --text "$text"
check 'weights' page weights weights --what spectra
check 'corpus' page 'logits ln mlp' corpus "$work/docs" --state "$work/all.state"
check 'a corpus has totals instead of tokens' grep -q '"corpus":{"documents":2,' "$work/page.html"
check 'merge' page 'logits ln mlp' merge "$work/all.state"
check 'treebank' page treebank treebank "$own" --draws 5
check 'words' page words words "$work/docs/one.txt"
check 'forms' page forms forms "$work/list.tsv"
check 'probe' page probe probe "$work/train.conllu" --test "$work/test.conllu"

# analyze adds two plugins to the page and takes all rows for the logits; it prints the default plugins.
"$program" analyze --text "$text" --plugin logits:rows=all --plugin ln --plugin mlp >"$work/without"
check 'analyze' page 'logits ln mlp lens attention' analyze --text "$text"
check 'the same summary' sh -c "head -n -2 '$work/summary' | cmp - '$work/without'"
check 'the logits of all rows' grep -q '"name":"logits","version":"[^"]*",\("docs":"[^"]*",\)\?"options":{[^}]*"rows":"all"' "$work/page.html"
check 'the patterns of the page' grep -q '"pattern":{"dtype":"F32"' "$work/page.html"
check 'chosen plugins only' page ln analyze --text "$text" --plugin ln
check 'no other plugin' sh -c "! grep -q '\"name\":\"lens\"' '$work/page.html'"

# An intervention has the clean run beside it, with the same plugins but for the editors and effects.
beside() { # beside SECTIONS: those of the second run of the page, in their order
    grep -oE '"label":"[^"]*"|"name":"[^"]*","version"' "$work/page.html" |
        sed 's/,"version"//' | tr '\n' ' ' >"$work/found"
    grep -qE "\"label\":\"without interventions\" $1\$" "$work/found"
}
sections_of() { # sections_of NAME...: as `beside` expects them
    printf '"name":"%s" ' "$@"
}
"$program" analyze --text "$text" --ablate L0H1 --scale embed:alpha=0.5 >"$work/without"
check 'an intervention' page 'ablate scale effects logits lens attention' analyze --text "$text" \
    --ablate L0H1 --scale embed:alpha=0.5
check 'the same summary' sh -c "head -n -2 '$work/summary' | cmp - '$work/without'"
check 'its label' grep -q '"label":"with --ablate L0H1 --scale embed:alpha=0.5"' "$work/page.html"
check 'the clean run beside it' beside "$(sections_of logits lens attention)"
check 'an intervention with plugins' page 'patch ablate effects ln' analyze --text "$text" \
    --patch L1H1 --source 'the sun fell over the sea' --plugin ln --plugin ablate:at=L0H0
check 'the same plugins without editors' beside "$(sections_of ln)"
check 'an intervention with its effects alone' page effects analyze --text "$text" \
    --knockout 'L0H*:keys=1-2,rows=last' --plugin effects:rows=all
check 'no clean run without plugins' sh -c "! grep -q 'without interventions' '$work/page.html'"
"$program" analyze --text "$text" --json --html "$work/page.html" >"$work/json"
check 'JSON alone on the standard output' sh -c "tail -n 1 '$work/json' | grep -qx '}'"

# The command at the foot, quoted for a shell.
check 'a command with quotes' page ln analyze --text "it's <b> \$HOME" --plugin ln
check 'its words in quotes' grep -qF \
    '"command":"pythiascope analyze --text '\''it'\''\\'\'''\''s \u003cb\u003e $HOME'\'' --plugin ln --html ' \
    "$work/page.html"
long=$(printf '%02500d' 0 | sed 's/0/a /g')
check 'a long command' page ln analyze --text "$(echo "$long" | cut -c 1-800)" --plugin ln --bos \
    --target "$(echo "$long" | cut -c 1-1)" --capture "$(printf 'hook_embed,%.0s' $(seq 150))hook_embed"
check 'it is cut' grep -qE '"command":"[^"]{1000,2100}\.\.\."' "$work/page.html"

# The viewer is compressed; its text has the second hash of the policy.
check 'the hash of the viewer' python3 - "$work/page.html" <<'END'
import base64, gzip, hashlib, re, sys
page = open(sys.argv[1], encoding="utf-8").read()
packed = re.search('<script type="text/plain" id="viewer">([^<]*)</script>', page).group(1)
text = gzip.decompress(base64.b64decode(packed, validate=True))
hashes = re.search("script-src ([^;]*);", page).group(1).split()
found = "'sha256-" + base64.b64encode(hashlib.sha256(text).digest()).decode() + "'"
sys.exit(hashes[1:] != [found])
END

# With --out: the page may lie in the new folder.
check 'a page in the folder of --out' "$program" analyze --text a --out "$work/new" \
    --html "$work/new/page.html" >"$work/summary"
check 'and the folder is whole' test -s "$work/new/results.json" -a -s "$work/new/page.html"
check 'both are named' grep -q '^wrote .*tensors.safetensors$' "$work/summary"
expect 1 'results.json is a file that --out writes' analyze --text a --out "$work/never" \
    --html "$work/never/results.json"

# A file that cannot be written is refused before the work: no model is opened.
expect 1 'cannot write .*/no/page.html.*: No such file' analyze --text a --model "$work/none" \
    --html "$work/no/page.html"
expect 1 'docs is not a regular file' weights --model "$work/none" --html "$work/docs"
expect 1 '/dev/null is not a regular file' sweep --text a --html /dev/null
expect 1 'the name of the file to write is empty' analyze --text a --model "$work/none" --html ''
expect 1 'never/ is the folder of --out' analyze --text a --model "$work/none" --out "$work/never" \
    --html "$work/never/"

# Only a page or an empty file is replaced: a text, a state and results stay.
cp "$work/docs/one.txt" "$work/before"
"$program" weights --what spectra --out "$work/results" >"$work/summary"
expect 1 'one.txt is a file that is not a page' analyze --file "$work/docs/one.txt" --html "$work/docs/one.txt"
expect 1 'one.txt is a file that is not a page' corpus "$work/docs" --html "$work/docs/one.txt"
expect 1 'all.state is a file that is not a page' merge "$work/all.state" --html "$work/all.state"
expect 1 'new.state is the file of --state' corpus "$work/docs" --state "$work/new.state" --html "$work/new.state"
expect 1 'results.json is a file that is not a page' view "$work/results" --html "$work/results/results.json"
check 'the text is whole' cmp "$work/docs/one.txt" "$work/before"
: >"$work/empty"
check 'an empty file' "$program" analyze --text a --plugin ln --html "$work/empty" >"$work/summary"
check 'a page again' "$program" analyze --text a --plugin ln --html "$work/empty" >"$work/summary"
expect 2 '--html needs FILE' analyze --text a --html
expect 2 '--html is given twice' analyze --text a --html b --html c
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$work/closed"
    chmod 500 "$work/closed"
    expect 1 'Permission denied' analyze --text a --html "$work/closed/page.html"
fi

# Whole or not at all: an older page stays when the disk is full.
echo '<!doctype html>older' >"$work/older.html"
(
    ulimit -f 100 # blocks of 512 bytes
    expect 1 'cannot write .*older.html.*: File too large' analyze --text a --html "$work/older.html"
    exit "$failed"
)
check 'the file size limit was handled wrongly' test $? -eq "$failed"
check 'an older page stays' grep -qx '<!doctype html>older' "$work/older.html"
check 'no partial files remain' test -z "$(find "$work" -name '*.psc-tmp*')"

conclude
