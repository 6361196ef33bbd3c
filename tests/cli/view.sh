#!/bin/sh
# view: a folder of results is shown as when it was written, as text, JSON and a page; --open starts the
# system's program for files; bad folders get one sentence.
# usage: view.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1
text='the sun rose over the sea'
"$program" analyze --text "$text" --plugin logits --plugin lens:rows=all --out "$work/one" \
    --capture hook_embed | head -n -2 >"$work/one.summary"
"$program" analyze --text "$text" --plugin logits --plugin lens:rows=all --ablate L0H1 --out "$work/two" \
    >/dev/null

view() { # view OPTIONS...: what it prints, in $work/shown
    "$program" view "$@" >"$work/shown" 2>"$work/stderr" && [ ! -s "$work/stderr" ]
}
check 'the summary' view "$work/one"
check 'as it was printed' cmp "$work/shown" "$work/one.summary"
check 'a name that ends with /' view "$work/one/"
check 'JSON' view "$work/one" --json
check 'the same bytes' cmp "$work/shown" "$work/one/results.json"
check 'a width' view "$work/one" --width 50
check 'no longer line' sh -c "! grep -qE '^.{151}' '$work/shown'"
check 'its rule' sh -c "grep -a '^logits ' '$work/shown' | grep -qv '─\{44\}'"

check 'a page' view "$work/one" --html "$work/page.html"
check 'it is named' grep -qx "wrote $work/page.html: open it in a browser" "$work/shown"
check 'its sections' grep -q '{"name":"lens","version"' "$work/page.html"
check 'one run' sh -c "[ \$(grep -o '\"sections\":' '$work/page.html' | wc -l) -eq 1 ]"
check 'two folders' view "$work/two" "$work/one" --html "$work/page.html"
check 'two runs' sh -c "[ \$(grep -o '\"sections\":' '$work/page.html' | wc -l) -eq 2 ]"
check 'their names' sh -c "grep -q '\"label\":\"$work/two\"' '$work/page.html' &&
    grep -q '\"label\":\"$work/one\"' '$work/page.html'"

# An older version's folder.
mkdir "$work/old"
cp "$work/one/tensors.safetensors" "$work/old"
sed '/^      "summary": \[/,/^      \],/d' "$work/one/results.json" >"$work/old/results.json"
check 'an older folder' sh -c "'$program' view '$work/old' >'$work/shown' 2>'$work/stderr'"
check 'its note' grep -q 'note: .*/old has no summary' "$work/stderr"
check 'a page of it' sh -c "'$program' view '$work/old' --html '$work/page.html' >/dev/null 2>&1"

# --open: a stand-in for the system's program notes the file.
mkdir "$work/bin"
for opener in open xdg-open; do
    printf '#!/bin/sh\necho "$@" >%s/opened\n' "$work" >"$work/bin/$opener"
    chmod +x "$work/bin/$opener"
done
opened() {
    (cd "$work" && PATH="$work/bin:$PATH" "$program" view one --html ./-page.html --open) >/dev/null &&
        [ "$(cat "$work/opened")" = "$(cd "$work" && pwd -P)/-page.html" ]
}
check 'a page that is opened' opened
printf '#!/bin/sh\nexit 3\n' | tee "$work/bin/open" >"$work/bin/xdg-open"
check 'an opener that fails' sh -c "PATH='$work/bin:$PATH' '$program' view '$work/one' \
    --html '$work/page.html' --open >/dev/null 2>'$work/stderr'; [ \$? -eq 1 ]"
check 'its sentence' grep -q '^pythiascope: .*open failed; open .*/page.html in a browser; .*/page.html is whole and stays$' "$work/stderr"

# Refused.
expect 2 'no folder' view
expect 2 'unexpected argument c' view a b c
expect 2 'add --html FILE' view a b
expect 2 '--open opens a page; add --html' view a --open
expect 2 '--width needs an integer from 40' view a --width 39
expect 1 'cannot open .*/none/results.json: No such file' view "$work/none"
expect 1 'cannot open .*/one/tensors.safetensors/results.json' view "$work/one/tensors.safetensors"
expect 1 'cannot write .*/no/page.html' view "$work/one" --html "$work/no/page.html"
cp -r "$work/one" "$work/bad"
printf '{' >"$work/bad/results.json"
expect 1 'bad/results.json is not valid JSON' view "$work/bad"
expect 1 'bad/results.json is not valid JSON' view "$work/one" "$work/bad" --html "$work/never.html"
check 'no page of a bad folder' test ! -e "$work/never.html"
printf '{}' >"$work/bad/results.json"
expect 1 'is not a results.json of pythiascope' view "$work/bad"
cp "$work/one/results.json" "$work/bad"
head -c 5000 "$work/one/tensors.safetensors" >"$work/bad/tensors.safetensors"
expect 1 'bad/tensors.safetensors: ' view "$work/bad" --json

conclude
