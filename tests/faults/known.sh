#!/bin/sh
# Faults that were found once, each at its system call. faults.py finds such faults; here each has a name.
# usage: known.sh PROGRAM FAULTS_TRACE SOURCE_DIR [SHIM]      without the shim, no allocation fails
. "$3/tests/cli/checks.sh"
program=$1
trace=$2
source=$3
shim=${4:-}
"$trace" --calls close -- true || { echo "skipped: this machine does not allow tracing"; exit 77; }
unset PSC_CACHE_LIMIT XDG_CACHE_HOME
export HOME="$work" PSC_CACHE_DIR="$work/cache"

fault() { # fault CODE PATTERN OPTIONS -- ARGUMENTS...: the run ends with CODE after one sentence of PATTERN
    code=$1
    pattern=$2
    shift 2
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # shellcheck disable=SC2086 # a list of options
    "$trace" $options -- "$program" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    got=$?
    check "$options: $* ends with $code, not $got" test $got -eq "$code"
    [ -z "$pattern" ] || check "$options: $* says $pattern" grep -qE "^pythiascope: .*$pattern" "$work/stderr"
    [ "$code" -ne 1 ] || check "$options: $*: one sentence" test "$(wc -l <"$work/stderr")" -eq 1
}

# A cache folder that cannot be read is not an empty one.
mkdir -m 700 "$work/cache"
: >"$work/cache/0123456789abcdef0123456789abcdef-1.2.packed"
fault 1 'cannot read .*cache' --calls getdents64 --path /cache --fault EIO --at 1 -- cache
fault 1 'cannot read .*cache' --calls newfstatat --path .packed --fault EIO --at 1 -- cache
printf 'pythiascope source 2\nmodel /m\n\nhash 0123456789abcdef0123456789abcdef\n' \
    >"$work/cache/fedcba9876543210fedcba9876543210.source"
fault 1 'cannot read .*cache: Permission' --calls openat --path .source --fault EACCES --at 1 -- cache
fault 1 'cannot read .*cache: Input/output' --calls read --path .source --fault EIO --at 1 -- cache
"$program" cache >"$work/list"
check 'the list names the model' grep -q /m "$work/list"
n=0
while [ -n "$shim" ] && [ $n -lt 40 ]; do # each allocation of the list
    n=$((n + 1))
    LD_PRELOAD=$shim PSC_FAULT_CALL=alloc PSC_FAULT_AT=$n "$program" cache >"$work/stdout" 2>"$work/stderr"
    got=$?
    same=1
    cmp -s "$work/stdout" "$work/list" && same=0
    check "allocation $n of cache: exit $got, stdout $same" test $got -eq $same
done
if python3 -c 'import sys, pathlib; sys.path.insert(0, sys.argv[1]); import fault_models
fault_models.write_large_model(pathlib.Path(sys.argv[2]))' "$source/tests/faults" "$work/large"; then
    fault 0 '' --calls newfstatat --path .partial --fault EIO --at 1 -- \
        generate --model "$work/large" --tokens 5,6 --n 1 --cache-dir "$work/packed"
    check 'a file that could not be looked at is removed' test -z "$(ls "$work/packed" | grep partial)"
fi
fault 1 'cannot remove the files' --calls unlinkat --path .source --fault EACCES --at 1 -- cache clear
check 'the record is left' test -e "$work/cache/fedcba9876543210fedcba9876543210.source"
fault 1 'cannot remove the files' --calls unlinkat --on --fault EACCES --at 1 -- cache clear
"$program" cache clear >"$work/stdout"
check 'the next one removes it' test $? -eq 0
check 'so that no file is left' test -z "$(ls "$work/cache")"

# What a kill between the rename and the end of the lock leaves is swept by a start that is refused.
fault 137 '' --calls unlink --path .out.psc-tmp --fault KILL --at 2 -- analyze --text a --out "$work/out"
check 'the kill left the folder and the lock' test -e "$work/out/results.json" -a -e "$work/.out.psc-tmp"
fault 1 'is not empty' --calls close -- analyze --text a --out "$work/out"
check 'nothing is left of it' test ! -e "$work/.out.psc-tmp"

# Several prompts: a folder in which nothing arrived goes, results that arrived stay.
printf 'a\nb\n' >"$work/prompts"
set -- analyze --prompts "$work/prompts" --out "$work/several"
fault 1 'cannot write' --calls write --path /.1.psc-tmp.d/ --fault ENOSPC --at 1 -- "$@"
check 'no empty folder' test ! -e "$work/several"
fault 1 'cannot write' --calls write --path /.2.psc-tmp.d/ --fault ENOSPC --at 1 -- "$@"
check 'the first result' test -e "$work/several/1/results.json"
check 'no second' test ! -e "$work/several/2"

# A folder in a corpus whose facts or names cannot be read counts as a document that is left out.
mkdir -p "$work/docs/sub"
echo 'one text' >"$work/docs/a.txt"
echo 'two texts' >"$work/docs/sub/b.txt"
set -- corpus "$work/docs" --plugin ln
for at in 1 2; do # stat, lstat; then the folder's names, and their end
    fault 0 'docs/sub cannot be read .*skipped' --calls newfstatat --path docs/sub --fault EIO --at $at -- "$@"
    check 'the folder is counted' grep -q '1 of 2 documents could not be read' "$work/stderr"
    fault 0 'docs/sub cannot be read .*skipped' --calls getdents64 --path docs/sub --fault EIO --at $at -- "$@"
    check 'the folder is counted' grep -q '1 of 2 documents could not be read' "$work/stderr"
    fault 1 'cannot open .*docs: Input/output' --calls getdents64 --path /docs --fault EIO --at $at -- "$@"
done
fault 1 'docs/sub cannot be read' --calls newfstatat --path docs/sub --fault EACCES --at 1 -- "$@" --strict
# The third look at a file is at the open one: what cannot be looked at is not "no regular file".
fault 0 'cannot open .*a.txt: Input/output error; skipped' --calls newfstatat --path a.txt --fault EIO --at 3 -- "$@"

# A sample: what cannot be read is named in either pass, whether the sample has it or not.
mkdir "$work/lines"
printf '{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n' >"$work/lines/a.jsonl"
for name in b c d e f; do echo "text $name" >"$work/lines/$name.txt"; done
set -- corpus "$work/lines" --plugin ln --sample 5
for at in 1 2 3 4; do # the data and their end, twice
    fault 0 'cannot read .*a.jsonl: Input/output error.*skipped' --calls read --path a.jsonl --fault EIO --at $at -- "$@"
    fault 1 'cannot read .*a.jsonl: Input/output' --calls read --path a.jsonl --fault EIO --at $at -- "$@" --strict
done
fault 0 'cannot open .*a.jsonl: Input/output error.*skipped' --calls openat --path a.jsonl --fault EIO --at 1 -- "$@"
set -- corpus "$work/docs" --plugin ln

# A lock that fails is not a file system without locks.
set -- "$@" --state "$work/docs.state"
fault 1 'cannot lock the state file .*: Input/output error' --calls fcntl --path .state --fault EIO --at 1 -- "$@"
check 'no state was begun' test ! -e "$work/docs.state"
fault 0 'note: the file system has no locks' --calls fcntl --path .state --fault ENOLCK --at 1 -- "$@"
check 'nothing is left of the lock' test ! -e "$work/docs.state.lock"

# A list that cannot be read from its start again does not lack its first bytes.
fault 1 'cannot read .*prompts: Input/output' --calls lseek --path /prompts --fault EIO --at 1 -- \
    analyze --prompts "$work/prompts"

# Checkpoints: what cannot be removed at the end is named; a path that cannot be resolved has no other name.
mkdir "$work/steps"
for step in step0 step128; do cp -r "$source/models/books-0.5m/$step" "$work/steps"; done
set -- analyze --model "$work/steps@step0,step128" --text a
fault 0 'note: cannot remove .*series.steps' --calls unlink --path series.steps/step0/ --fault EACCES --at 1 -- \
    "$@" --out "$work/series"
check 'the results are there' test -e "$work/series/results.json"
set -- corpus "$work/docs" --model "$work/steps@step0,step128" --target a --plugin ln \
    --state "$work/series.state" --out "$work/second"
fault 137 '' --calls unlink --path step0.lock --fault KILL --at 1 -- "$@"
check 'the kill left a lock' test -e "$work/series.state.step0.lock"
check 'the next run ends' "$program" "$@" >"$work/stdout" 2>"$work/stderr"
check 'and the lock is gone' test ! -e "$work/series.state.step0.lock"
set -- analyze --model "$work/steps@step0,step128" --text a
fault 1 'cannot resolve the path' --calls readlink --path "$work/steps" --fault EIO --at 1 -- "$@"

# A state that cannot be read is not none; a full disk leaves the state of before.
printf 'one text here, and more of it than fits into a window' >"$work/doc.txt"
set -- corpus "$work/doc.txt" --plugin ln --window 4 --state "$work/run.state"
"$program" "$@" --limit-tokens 5 >"$work/stdout" 2>"$work/stderr"
cp "$work/run.state" "$work/kept"
for name in EACCES EMFILE EIO ELOOP ENOMEM; do
    fault 1 'run.state' --calls open,openat --path run.state --fault $name --on --at 1 -- "$@"
    check "the state is as it was after $name" cmp -s "$work/run.state" "$work/kept"
done
fault 1 'run.state' --calls write --path run.state --fault ENOSPC --at 1 -- "$@"
check 'the state is as it was after a full disk' cmp -s "$work/run.state" "$work/kept"
fault 137 '' --calls write --path run.state --fault TEAR --at 1 -- "$@"
check 'the state is as it was after a kill in its writing' cmp -s "$work/run.state" "$work/kept"
check 'the next run goes on' "$program" "$@" >"$work/stdout" 2>"$work/stderr"
check 'and leaves nothing' test ! -e "$work/.run.state.psc-tmp"
conclude
