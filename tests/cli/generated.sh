#!/bin/sh
# The man page and the completions of --generate: checked by the programs that read them, and run in each shell that is
# installed. Usage: generated.sh PROGRAM SOURCES
program=$1
sources=$2
# shellcheck source=tests/cli/checks.sh
. "$sources/tests/cli/checks.sh"

for kind in man bash zsh fish; do
    "$program" --generate $kind >"$work/$kind" 2>"$work/stderr"
    check "$kind is made" test $? -eq 0 -a -s "$work/$kind" -a ! -s "$work/stderr"
done
expect 2 'needs man, bash, zsh or fish' --generate
expect 2 "needs man, bash, zsh or fish, not 'csh'" --generate csh
expect 2 'unexpected argument x' --generate man x

skipped() {
    echo "skipped: $1 is not installed"
}

if command -v mandoc >/dev/null; then
    mandoc -Tlint "$work/man" >"$work/lint" 2>&1
    check 'mandoc has no remark' test ! -s "$work/lint"
else
    skipped mandoc
fi
if command -v groff >/dev/null; then
    groff -man -ww -z "$work/man" 2>"$work/lint"
    check 'groff has no remark' test ! -s "$work/lint"
    groff -man -Tascii -P-cbou "$work/man" >"$work/page" 2>/dev/null
    for word in analyze --capture neurons 'EXIT STATUS' 'level='; do
        check "the page has $word" grep -q -- "$word" "$work/page"
    done
else
    skipped groff
fi

# Every verb, option and plugin of the program is in each file.
"$program" --help | sed -n '/^verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p' >"$work/verbs"
check 'the program has verbs' test "$(wc -l <"$work/verbs")" -gt 10
while read -r verb; do
    for kind in man bash zsh fish; do
        check "$kind has $verb" grep -qw "$verb" "$work/$kind"
    done
    "$program" "$verb" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p' | grep -v '^help$' >"$work/options"
    while read -r option; do
        check "bash has --$option" grep -q "    $verb) echo .*--$option\b" "$work/bash"
        check "zsh has --$option" grep -q -- "--$option[=[]" "$work/zsh"
        check "fish has --$option" grep -q "from $verb' -l $option " "$work/fish"
    done <"$work/options"
done <"$work/verbs"

# in_bash LINE: what bash offers at the end of the line.
in_bash() {
    bash -c '. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _pythiascope; printf "%s\n" "${COMPREPLY[@]}"' - "$work/bash" "$1"
}
offers() { # offers SHELL WANT LINE
    "in_$1" "$3" 2>&1 | grep -qx -- "$2"
}
touch "$work/one.txt"
mkdir "$work/folder"
if command -v bash >/dev/null; then
    check 'bash: a verb' offers bash analyze 'pythiascope an'
    check 'bash: an option' offers bash --target 'pythiascope analyze --ta'
    check 'bash: a plugin' offers bash logits 'pythiascope analyze --plugin lo'
    check 'bash: an option of a plugin' offers bash level= 'pythiascope analyze --plugin logits:le'
    check 'bash: its second option' offers bash rows= 'pythiascope analyze --plugin logits:ro'
    check 'bash: a file' offers bash "$work/one.txt" "pythiascope analyze --file $work/o"
    check 'bash: a file after =' offers bash "$work/one.txt" "pythiascope analyze --file=$work/o"
    check 'bash: a folder' offers bash "$work/folder" "pythiascope analyze --model $work/f"
    check 'bash: an instruction set' offers bash avx2 'pythiascope analyze --isa av'
    check 'bash: nothing after a number' test -z "$(in_bash 'pythiascope analyze --threads ')"
    check 'bash: plugins of the verb plugins' offers bash lens 'pythiascope plugins le'
else
    skipped bash
fi

in_fish() {
    fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$work/fish" "$1" | cut -f 1
}
if command -v fish >/dev/null; then
    check 'fish: a verb' offers fish analyze 'pythiascope an'
    check 'fish: an option' offers fish --target 'pythiascope analyze --ta'
    check 'fish: a plugin' offers fish logits 'pythiascope analyze --plugin lo'
    check 'fish: an option of a plugin' offers fish logits:level= 'pythiascope analyze --plugin logits:le'
    check 'fish: a file' offers fish "$work/one.txt" "pythiascope analyze --file $work/o"
    check 'fish: a folder' offers fish "$work/folder/" "pythiascope analyze --model $work/f"
else
    skipped fish
fi

# in_zsh LINE WANTED: a terminal of zsh's own types the line and a tab, and reads until it shows what is wanted, at
# most a minute.
in_zsh() {
    zsh -f -c '
        zmodload zsh/zpty
        zpty -b shell "TERM=dumb zsh -f -i"
        zpty -w shell "PS1= PROMPT_EOL_MARK= ; fpath=($1 \$fpath); autoload -U compinit; compinit -u -d $1/dump; compdef _pythiascope pythiascope; LISTMAX=1000; print ready-now"
        for i in {1..600}; do zpty -r -t shell part 2>/dev/null && all+=$part; [[ $all == *$'"'\n'"'ready-now* ]] && break; sleep 0.1; done
        zpty -w -n shell "$2"$'"'\t'"'
        all=
        for i in {1..600}; do zpty -r -t shell part 2>/dev/null && all+=$part; [[ ${all//[$'"'\r\a'"']/} == *$3* ]] && break; sleep 0.1; done
        print -r -- $all' - "$work/zsh-functions" "$1" "$2" | tr -d '\r\007' | grep -qF -- "$2"
}
if command -v zsh >/dev/null; then
    mkdir "$work/zsh-functions"
    cp "$work/zsh" "$work/zsh-functions/_pythiascope"
    check 'zsh: a verb' in_zsh 'pythiascope an' 'pythiascope analyze'
    check 'zsh: an option' in_zsh 'pythiascope analyze --targ' '--target'
    check 'zsh: a plugin' in_zsh 'pythiascope analyze --plugin sampl' 'sampling'
else
    skipped zsh
fi
conclude
