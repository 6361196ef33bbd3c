#!/bin/sh
# A verb over several checkpoints: equal to single runs, resumed when stopped or killed, clear about what is
# wrong. usage: checkpoints.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
source=$2

# Three steps, of which two have the same weights.
family=$work/family
mkdir "$family"
cp -r "$source/models/books-0.5m/step0" "$family/step0"
cp -r "$source/models/books-0.5m/step512" "$family/step8"
cp -r "$source/models/books-0.5m/step512" "$family/step64"
text='the sun rose over the sea'

run() { # run ARGUMENTS...: prints nothing but the summary, notes in $work/stderr
    "$program" "$@" >"$work/stdout" 2>"$work/stderr"
}
says() { grep -qE -- "$1" "$work/stdout"; }
notes() { grep -qE -- "$1" "$work/stderr"; }
slices() { # slices STACK LABELS...: every array of the stack is those of DIR.LABEL, one behind the other
    python3 - "$@" <<'PYTHON'
import json, struct, sys

def read(folder):
    blob = open(folder + "/tensors.safetensors", "rb").read()
    size, = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8:8 + size])
    header.pop("__metadata__", None)
    return {n: (e["shape"], blob[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]])
            for n, e in header.items()}

stack, ones = read(sys.argv[1]), [read(sys.argv[1] + "." + label) for label in sys.argv[2:]]
same = len(ones[0]) > 10
for name, (shape, data) in ones[0].items():
    same &= stack[name] == ([len(ones)] + shape, b"".join(one[name][1] for one in ones))
sys.exit(0 if same else 1)
PYTHON
}

# --- every verb that takes several --------------------------------------------------------------
for step in step0 step8 step64; do
    run analyze --model "$family@$step" --text "$text" --target "," --capture hook_embed --out "$work/all.$step"
done
check 'analyze' run analyze --model "$family@all-steps" --text "$text" --target "," --capture hook_embed --out "$work/all"
check 'all steps in order' says '3 checkpoints: step0 to step64'
check 'a line for each' sh -c "[ \$(grep -c '^  step' '$work/stdout') -ge 9 ]"
check 'equal weights are said' notes 'warning: The same weights \(equal hash\): step8, step64'
check 'slices are the single runs' slices "$work/all" step0 step8 step64
check 'nothing of the steps stays' test ! -e "$work/all.steps"
head -n -2 "$work/stdout" >"$work/summary"
check 'view shows the same' sh -c "'$program' view '$work/all' | cmp - '$work/summary'"
check 'sweep' run sweep --model "$family@step0,step8" --text "$text" --target ","
check 'its table' says '^  step8 .*L[0-2]H[0-5]'
check 'weights' run weights --model "$family@step0,step8"
check 'its table' says 'copying'
check 'corpus' run corpus --model "$family@step0,step8" "$source/tests/golden/structure/sentences.txt" --plugin logits
check 'its table' says 'share_mean'
check 'loss in windows that overlap' run corpus --model "$family@step0,step8" --window 32 --stride 8 --plugin loss \
    "$source/tests/golden/structure/sentences.txt"
check 'its table' says '^  checkpoint .*loss'
check 'the target is of the last' run analyze --model "$family@step0,step8" --text "$text" --plugin logits
check 'it is said' notes "note: the target is '.*', which step8 expects"
check 'JSON' run analyze --model "$family@step8,step0" --text "$text" --target "," --json
check 'in the given order' sh -c "python3 -c \"import json,sys; r=json.load(open('$work/stdout')); \
    assert r['plugins']['checkpoints']['checkpoints']==['step8','step0'], r\""

# --- stopped and resumed ------------------------------------------------------------------------
mv "$family/step64/model.safetensors" "$work/away"
check 'one checkpoint fails' sh -c "! '$program' analyze --model '$family@all-steps' --text '$text' --target , \
    --out '$work/again' >'$work/stdout' 2>'$work/stderr'"
check 'by name' notes '^pythiascope: step64: '
check 'finished ones are kept' notes 'note: 2 of 3 checkpoints are finished and kept in'
check 'nothing is half' test ! -e "$work/again"
mv "$work/away" "$family/step64/model.safetensors"
check 'other options are refused' expect 1 'holds checkpoints of another command' \
    analyze --model "$family@all-steps" --text "$text." --target , --out "$work/again"
check 'resumed' run analyze --model "$family@all-steps" --text "$text" --target , --out "$work/again"
check 'it says so' notes 'note: 2 of 3 checkpoints are taken from'
run analyze --model "$family@all-steps" --text "$text" --target , --out "$work/once"
check 'the same tensors' cmp "$work/again/tensors.safetensors" "$work/once/tensors.safetensors"
check 'the same results' cmp "$work/again/results.json" "$work/once/results.json"

# killed while it works: what is whole is taken up
"$program" analyze --model "$family@all-steps" --text "$text" --target , --out "$work/killed" >/dev/null 2>&1 &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e "$work/killed.steps/step0" ] && break
    sleep 0.05
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
rm -rf "$work/killed" # it may have ended before
check 'after a kill' run analyze --model "$family@all-steps" --text "$text" --target , --out "$work/killed"
check 'the same results' cmp "$work/killed/results.json" "$work/once/results.json"

# A corpus that is stopped in a checkpoint leaves nothing half, and its state goes on.
i=0
while [ $i -lt 400 ]; do
    cat "$source/tests/golden/structure/sentences.txt"
    i=$((i + 1))
done >"$work/long.txt"
survey() { # in the place of the shell, which a signal would otherwise end alone
    exec "$program" corpus "$work/long.txt" --model "$family@step0,step8" --plugin ln --limit-tokens 400000 --batch 1 \
        --threads 1 --save-seconds 1000 --state "$work/survey.state" --out "$work/survey"
}
survey >/dev/null 2>"$work/stderr" &
pid=$!
check 'it begins' await "$work/survey.state.step0"
kill -TERM $pid # a background job of a shell ignores SIGINT
wait $pid
check 'a stop is a failure' test $? -eq 1
check 'the stop names the checkpoint' notes '^pythiascope: step[08]: stopped after'
check 'no half results' test ! -e "$work/survey"
check 'nor half a checkpoint' sh -c "! grep -qs stopped '$work'/survey.steps/step*/results.json"

# Without --out and --state the finished checkpoints are delivered: some of 41, which together take seconds.
mkdir "$work/many"
for k in $(seq 40); do ln -s "$family/step8" "$work/many/step$k"; done
ln -s "$family/step0" "$work/many/step0"
for seconds in 0.5 1 2 4 8 12 30 60; do # a busy machine may not finish one in the first
    "$program" corpus "$work/long.txt" --model "$work/many@all-steps" --plugin ln --limit-tokens 20000 \
        --threads 1 >"$work/stdout" 2>"$work/stderr" &
    pid=$!
    sleep $seconds
    kill -TERM $pid
    wait $pid
    code=$?
    notes 'the results cover' && break
done
check 'a stop fails' test $code -eq 1
check 'with its sentence' notes '^pythiascope: step[0-9]*: stopped after'
check 'says what the results cover' notes 'note: the results cover [0-9]+ of 41 checkpoints, up to step'
check 'and shows them' says '^  step0 .*[0-9]'

# Results that would take more than 4 GB for all checkpoints.
many=step0
for k in $(seq 1 4095); do many=$many,x$k; done
expect 1 'step0: the results of 4096 checkpoints would take .* GB, more than 4 GB; .*the largest is mlp\.' \
    analyze --model "$family@$many" --tokens "1$(printf ',%d' $(seq 2 250))" --target '#5'
expect 2 'several checkpoints take one prompt' analyze --model "$family@all-steps" --text a --text b

# --- what is wrong ------------------------------------------------------------------------------
expect 2 'generate takes one checkpoint' generate --model "$family@all-steps" --text "$text"
for verb in info bench; do
    for steps in all-steps step0,step8; do
        expect 2 "$verb takes one checkpoint" $verb "$family@$steps"
        expect 2 "$verb takes one checkpoint" $verb "books-0.5m@$steps"
        expect 2 "$verb takes one checkpoint" $verb "pythia-tiny@$steps"
    done
done
expect 2 'words takes one checkpoint' words --model "$family@all-steps" --text "$text"
expect 2 'control takes one checkpoint' words --model "$family@step0" --control "$family@all-steps" --text "$text"
expect 1 'all-steps already names every step' analyze --model "$family@all-steps,step0" --text "$text"
expect 1 'all-steps already names every step' analyze --model "$family@step0,all-steps" --text "$text"
expect 2 'standard input can be read' analyze --model "$family@all-steps" --file -
expect 1 'names the checkpoint step0 twice' analyze --model "$family@step0,step0" --text "$text"
expect 1 'is empty' analyze --model "$family@step0,,step8" --text "$text"
expect 1 'is not the name of a checkpoint' analyze --model "$family@step0,../step8" --text "$text"
expect 1 'step9' analyze --model "$family@step0,step9" --text "$text" --target ,
mkdir "$work/empty"
expect 1 'no folders step0' analyze --model "$work/empty@all-steps" --text "$text"
mkdir "$work/a@b,c"
expect 1 'config.json' analyze --model "$work/a@b,c" --text "$text"
printf 'one\ntwo\n' >"$work/prompts"
expect 2 'several checkpoints take one prompt' analyze --model "$family@all-steps" --prompts "$work/prompts"
conclude
