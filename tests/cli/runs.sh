#!/bin/sh
# Good runs from outside: results do not depend on threads, chunks and instruction set; generation
# is repeatable and its stream is UTF-8; a folder without a tokenizer works with ids.
# usage: runs.sh PROGRAM SOURCE_DIR PLUGIN_DIR
. "$(dirname "$0")/checks.sh"
program=$1
model=$2/models/books-5m
front=$3/front.so # needs <|endoftext|> in front of a text

text='"Elementary, my dear Watson," said Mr. Sherlock'
analyze() { # analyze NAME OPTIONS...: writes to $work/NAME
    name=$1
    shift
    "$program" analyze --text "$text" --target next --target ' Holmes' --contrast ' he' ' she' \
        --plugin logits:level=layer+head+neuron,rows=all --plugin ln --plugin mlp \
        --capture 'hook_logits,blocks.*.attn.hook_pattern,blocks.*.hook_resid_post' \
        --out "$work/$name" "$@" >"$work/$name.summary"
}
check 'the first run' analyze first --threads 1
for options in '--threads 2' '--threads 3 --chunk 7' '--chunk 1' '--isa reference' '--json'; do
    name=$(echo "$options" | tr -d ' -')
    # shellcheck disable=SC2086 # a list of options
    check "a run with $options" analyze "$name" $options
    check "the same bits with $options" \
        cmp "$work/first/tensors.safetensors" "$work/$name/tensors.safetensors"
done
check '--json prints results.json' cmp "$work/json.summary" "$work/json/results.json"
check 'the summary shows the prediction' grep -q "' Holmes'" "$work/first.summary"
for part in logits ln mlp; do
    check "the summary has $part" grep -q "^$part " "$work/first.summary"
done
check 'no escape code without a terminal' sh -c "! grep -q '$(printf '\033')' '$work/first.summary'"

# Interventions: the same bits for every setting, and their output.
change() { # change NAME OPTIONS...: writes to $work/NAME
    name=$1
    shift
    "$program" analyze --text 'the sun rose over the sea' --source 'the sun fell over the sea' \
        --source 'a storm' --ablate L1H2:by=mean --scale 0_mlp_out:alpha=0.5,rows=2-4 \
        --steer blocks.2.hook_resid_pre:alpha=0.5,minus=2 --knockout 'L3H*:keys=1-2,rows=last' \
        --patch L2H1+1_mlp_out --direction "embed:along=W_U:' sea'-' sun'+L0N3.in,do=swap" \
        --direction blocks.3.hook_resid_pre:plus=1,minus=2,of=mean --plugin effects:rows=all --plugin logits --target next \
        --capture hook_logits --out "$work/$name" "$@" >"$work/$name.summary"
}
check 'interventions' change changed --threads 1
for options in '--threads 2' '--threads 3 --chunk 2' '--isa reference'; do
    # shellcheck disable=SC2086 # a list of options
    check "interventions with $options" change changed2 $options
    check "the same bits with $options" \
        cmp "$work/changed/tensors.safetensors" "$work/changed2/tensors.safetensors"
    rm -r "$work/changed2"
done
for part in ablate scale steer knockout patch direction effects logits; do
    check "its summary has $part" grep -q "^$part " "$work/changed.summary"
done
check 'effects loads itself' sh -c "'$program' analyze --text 'a b' --ablate L0H1 | grep -q 'frozen_ln'"
check 'a mean of captured rows' sh -c "'$program' analyze --text 'the moon' --out '$work/means' \
    --capture 'blocks.*.attn.hook_z' >/dev/null && '$program' analyze --text 'the sun rose' \
    --ablate 'L*H3:by=mean,file=$work/means/tensors.safetensors' | grep -q 'to the mean in'"

# directions: the order of prompts, batches and threads do not matter; --direction reads the file.
fit() { # fit NAME OPTIONS...: writes to $work/NAME and $work/NAME.safetensors
    name=$1
    shift
    "$program" directions --at 'blocks.*.hook_resid_post+L1H2' --rows all --of mean \
        --held-out 0.4 --out "$work/$name" --save "$work/$name.safetensors" "$@" \
        >"$work/$name.summary"
}
for i in 1 2 3 4 5 6 7 8; do
    echo "{\"text\": \"the sun and the moon $i\", \"label\": \"sky\"}"
    echo "{\"text\": \"a boat on the sea $i\", \"label\": \"sea\"}"
done >"$work/labelled.jsonl"
sort -r "$work/labelled.jsonl" >"$work/sorted.jsonl"
check 'directions' fit fitted "$work/labelled.jsonl" --threads 1
check 'directions in another order' fit fitted2 "$work/sorted.jsonl" --threads 3 --batch 3 --chunk 2
check 'the same bits' cmp "$work/fitted/tensors.safetensors" "$work/fitted2/tensors.safetensors"
check 'the same file' cmp "$work/fitted.safetensors" "$work/fitted2.safetensors"
check 'their accuracy' grep -Eq '^  L1H2 +[01]\.[0-9]{3} ' "$work/fitted.summary"
check 'directions from a file' sh -c "'$program' analyze --text 'the sun' \
    --direction 'blocks.*.hook_resid_post:file=$work/fitted.safetensors,do=set,value=mean' |
    grep -q 'sets the coordinates of blocks'"
check 'directions over a corpus' sh -c "echo 'the sun and the sea' | '$program' corpus - \
    --direction 'L1H2:file=$work/fitted.safetensors' --plugin loss | grep -q 'out of L1H2'"
check 'directions while generating' sh -c "'$program' generate --text 'the sun' --n 3 \
    --direction 'embed:along=W_U:#5,do=add,alpha=2' --plugin lens | grep -q 'adds 2 times W_U:#5'"

# spans: links stand in the notation alone; heads in one table.
check 'spans with heads and links' sh -c "'$program' analyze --bos --text 'The old man gave the little girl an apple.' \
    --plugin spans:units=words,heads=causal,links=causal >'$work/spans.summary'"
check 'links in the notation' grep -q '^  links    [a-z]* -> ' "$work/spans.summary"
check 'no second list of links' sh -c "! grep -q 'links: KL' '$work/spans.summary'"
check 'one table of heads' test "$(grep -c '^  level  *necessity sufficiency head$' "$work/spans.summary")" = 1
check 'its lines' grep -q "^  2 .*[0-9] ' gave' of \[4," "$work/spans.summary"

# probe: figures do not depend on threads and batches; spans from JSONL; a control beside.
labelled=$2/tests/golden/structure/own.conllu
awk -v RS= -v ORS='\n\n' 'NR > 4' "$labelled" >"$work/test.conllu"
awk -v RS= -v ORS='\n\n' 'NR <= 4' "$labelled" >"$work/train.conllu"
probe() { # probe NAME TRAIN TEST OPTIONS...
    name=$1
    train=$2
    test=$3
    shift 3
    "$program" probe "$train" --test "$test" --out "$work/$name" "$@" >"$work/$name.summary"
}
check 'probe' probe probed "$work/train.conllu" "$work/test.conllu" --threads 1
check 'probe in other batches' probe probed2 "$work/train.conllu" "$work/test.conllu" --threads 2 \
    --batch 1 --chunk 3
check 'the same bits' cmp "$work/probed/tensors.safetensors" "$work/probed2/tensors.safetensors"
check 'its summary' grep -Eq '^  task +units classes chance +x0 +x1 +x2 +x3 +x4$' "$work/probed.summary"
check 'a row per task' grep -Eq '^  upos +acc\. +[0-9]+ +[0-9]+( +[01]\.[0-9]{3}){6}$' "$work/probed.summary"
check 'probe beside a control' probe probed3 "$work/train.conllu" "$work/test.conllu" --window 2 \
    --control "$model"
check 'the control' grep -q '^control.probe ' "$work/probed3.summary"
check 'its figures beside' sh -c "sed -n '/^probe beside control.probe/,\$p' '$work/probed3.summary' |
    grep -A1 'accuracy, upos' | grep -q '^    control '"
echo '{"text": "Anna ran to Rome.", "spans": [{"start": 0, "end": 4, "label": "person"},
    {"start": 12, "end": 16, "label": "place"}, {"start": 5, "end": 8, "label": "go", "task": "act"}]}' |
    tr -d '\n' >"$work/train.jsonl"
echo '{"text": "Then Peter saw Paris.", "spans": [{"start": 5, "end": 10, "label": "person"},
    {"start": 15, "end": 20, "label": "place"}, {"start": 11, "end": 14, "label": "see", "task": "act"}]}' |
    tr -d '\n' >"$work/test.jsonl"
check 'probe of spans' probe spans "$work/train.jsonl" "$work/test.jsonl"
check 'its tasks' grep -Eq '^  label +AUROC +2 +2 +0\.500( +[01]\.[0-9]{3}){5}$' "$work/spans.summary"
check 'one other' grep -q 'trained on 1 sentence and tested on 1 other;' "$work/spans.summary"
check 'a task that cannot be learned' grep -q 'act: left out; it has 1 class in' "$work/spans.summary"

# A byte order mark at the start of a file is no part of it: prompts, spans, lists of forms.
mark() { # mark FILE: the same file with the mark, as FILE.mark
    printf '\357\273\277' | cat - "$1" >"$1.mark"
}
printf 'the sun rose over' >"$work/prompt"
printf 'walk\twalk\tbase\t9\nwalked\twalk\tpast\t5\nsee\tsee\tbase\t9\nsaw\tsee\tpast\t8\n' >"$work/list.tsv"
mark "$work/prompt"
mark "$work/train.jsonl"
mark "$work/list.tsv"
for one in "$work/prompt" "$work/prompt.mark"; do
    "$program" analyze --file "$one" --json | sed '/^  "command": /d' >"$one.json"
    "$program" analyze --file - --json <"$one" | sed '/^  "command": /d' >"$one.piped"
done
check 'a prompt with a mark' cmp "$work/prompt.json" "$work/prompt.mark.json"
check 'piped with a mark' cmp "$work/prompt.json" "$work/prompt.mark.piped"
mv "$work/train.jsonl.mark" "$work/mark.jsonl"
check 'spans with a mark' probe marked "$work/mark.jsonl" "$work/test.jsonl"
check 'the same probe' cmp "$work/spans/tensors.safetensors" "$work/marked/tensors.safetensors"
# Numbers that JSON does not have, in fields that are not read.
sed 's/^{/{"score": NaN, "other": 1e999, /' "$work/train.jsonl" >"$work/scored.jsonl"
check 'spans with NaN beside them' probe scored "$work/scored.jsonl" "$work/test.jsonl"
check 'the same probe as without' cmp "$work/spans/tensors.safetensors" "$work/scored/tensors.safetensors"
for one in "$work/list.tsv" "$work/list.tsv.mark"; do
    "$program" forms "$one" --json 2>&1 | sed 's/list.tsv.mark/list.tsv/' >"$one.json"
done
check 'forms with a mark' cmp "$work/list.tsv.json" "$work/list.tsv.mark.json"
check 'forms were read' grep -q '"walked"' "$work/list.tsv.json"

# generate TEXT-FILE OPTIONS...
generate() {
    file=$1
    shift
    "$program" generate "$@" >"$work/$file"
}
check 'greedy' generate greedy --text 'Once upon a time' --n 20
check 'greedy again' generate again --text 'Once upon a time' --n 20 --seed 5 --chunk 2
check 'an edit of future rows' generate edited --text 'Once upon a time' --n 20 \
    --ablate 0_mlp_out:rows=6-60
check 'it changes those rows' test "$(cat "$work/edited")" != "$(cat "$work/greedy")"
check 'greedy is repeatable' cmp "$work/greedy" "$work/again"
check 'drawn' generate drawn --text 'Once upon a time' --n 60 --temperature 2.5 --seed 11
check 'drawn again' generate again --text 'Once upon a time' --n 60 --temperature 2.5 --seed 11
check 'a seed repeats' cmp "$work/drawn" "$work/again"
check 'another seed' generate other --text 'Once upon a time' --n 60 --temperature 2.5 --seed 12
check 'another seed draws different tokens' sh -c "! cmp -s '$work/drawn' '$work/other'"
all='--temperature 1.2 --top-k 50 --top-p 0.9 --min-p 0.01 --seed 4'
# shellcheck disable=SC2086 # a list of options
check 'drawn from a subset' generate part --text 'Once upon a time' --n 40 $all --threads 2
# shellcheck disable=SC2086
check 'drawn from a subset again' generate again --text 'Once upon a time' --n 40 $all --threads 1 \
    --isa reference
check 'other threads and kernels draw the same' cmp "$work/part" "$work/again"
check 'a subset of one token' generate again --text 'Once upon a time' --n 20 --top-k 1 --seed 9
check 'is greedy' cmp "$work/greedy" "$work/again"
if command -v iconv >/dev/null 2>&1; then
    check 'the stream is UTF-8' iconv -f UTF-8 -t UTF-8 -o /dev/null "$work/drawn"
fi
check 'edits while generating' generate edited --text 'Once upon a time' --n 20 --ablate 2_mlp_out
check 'the edits change the text' sh -c "! cmp -s '$work/greedy' '$work/edited'"
check 'an edit by 1 changes nothing' generate kept --text 'Once upon a time' --n 20 \
    --scale 'L*H*+2_mlp_out:alpha=1'
check 'an edit by 1 keeps the text' cmp "$work/greedy" "$work/kept"
check 'zero tokens' generate none --text 'Once' --n 0
check 'a prompt that fills the context leaves room for one' generate full --n 5 \
    --tokens "$(printf '%0511d' 0 | sed 's/0/5,/g')5"
printf '%s' 'Once upon a time' >"$work/prompt"
check 'a file' generate file --file "$work/prompt" --n 20
check 'a file gives the same tokens as the text' cmp "$work/greedy" "$work/file"
"$program" generate --file - --n 20 <"$work/prompt" >"$work/stdin"
check 'so does the standard input' cmp "$work/greedy" "$work/stdin"

# Plugins in generate: a block after the prompt and after each token, or one JSON object per line.
steps() { # steps NAME OPTIONS...: writes to $work/NAME; 5 tokens
    name=$1
    shift
    "$program" generate --text 'Once upon a time' --n 5 "$@" >"$work/$name" 2>"$work/stderr"
}
check 'the text' steps five
check 'steps' steps blocks --plugin ln --plugin lens --target ' the'
check 'the prompt and each token have a block' test "$(grep -c '^ln ' "$work/blocks")" -eq 6
check 'of each plugin' test "$(grep -c '^lens ' "$work/blocks")" -eq 6
check 'about the target' test "$(grep -c "change of ' the' when" "$work/blocks")" -eq 6
check 'tokens are named' grep -q "^@5 ','\$" "$work/blocks"
check 'there is no head' sh -c "! grep -q 'books-5m' '$work/blocks'"
check 'lines' steps lines --plugin ln --json --out "$work/step"
check 'an object per step' test "$(wc -l <"$work/lines")" -eq 6
check 'each whole' test "$(grep -c '^{"pythiascope".*}}}$' "$work/lines")" -eq 6
sed -n '2,$s/.*"tokens": \[{"id": [0-9]*, "text": "\([^"]*\)".*/\1/p' "$work/lines" | tr -d '\n' >"$work/tokens"
echo >>"$work/tokens"
check 'the tokens are those of the text' sh -c "cmp '$work/tokens' '$work/five'"
tail -n 1 "$work/lines" | tr -d ' \n' >"$work/last"
tr -d ' \n' <"$work/step/results.json" >"$work/written"
check 'the folder has the last step' cmp "$work/last" "$work/written"
check 'without plugins, too' steps bare_lines --json
check 'an object per step without plugins' test "$(grep -c '"plugins": {}}$' "$work/bare_lines")" -eq 6
check 'edits in steps' steps edited_lines --plugin ln --json --ablate L1H2:rows=5-9
check 'rows before the edits are the same' test "$(head -n 1 "$work/edited_lines" | sed 's/.*"ln"//')" = \
    "$(head -n 1 "$work/lines" | sed 's/.*"ln"//')"
check 'edited rows differ' test "$(sed -n '2s/.*"ln"//p' "$work/edited_lines")" != \
    "$(sed -n '2s/.*"ln"//p' "$work/lines")"
check 'one step' sh -c "'$program' generate --text 'Once upon a time' --n 1 --plugin lens --plugin logits \
    --out '$work/one-step' >/dev/null"
check 'the whole text' sh -c "'$program' analyze --text 'Once upon a time,' --plugin lens --plugin logits \
    --out '$work/whole' >/dev/null"
check 'a step has the bits of the whole text' \
    cmp "$work/one-step/tensors.safetensors" "$work/whole/tensors.safetensors"
check 'only the prompt' sh -c "'$program' generate --text Once --n 0 --plugin ln | grep -c '^ln ' | grep -qx 1"
check 'a token beyond the context' sh -c "'$program' generate --plugin ln --n 5 \
    --tokens \"\$(printf '%0511d' 0 | sed 's/0/5,/g')5\" | tail -n 1 | grep -q \"beyond the model's context\""
"$program" generate --text a --n 100 --plugin ln 2>"$work/stderr" | head -c 1 >/dev/null
check 'a closed pipe is not an error' test ! -s "$work/stderr"

mkdir "$work/bare"
cp "$model/config.json" "$model/model.safetensors" "$work/bare/"
check 'ids without a tokenizer' sh -c "'$program' analyze --model '$work/bare' --tokens 5,6,7 >/dev/null"
check 'ids as output' sh -c "'$program' generate --model '$work/bare' --tokens 5,6,7 --n 3 | grep -q '^#'"
check 'info without a tokenizer' sh -c "'$program' info '$work/bare' | grep -q 'tokenizer *none'"
check 'info names the same model' test "$("$program" info --load "$work/bare" | grep hash)" = \
    "$("$program" info --load "$model" | grep hash)"
"$program" analyze --text b --bos --out "$work/bos" >/dev/null
check 'bos is recorded' grep -q '"bos": true' "$work/bos/results.json"
check 'the absence of bos is recorded' grep -q '"bos": false' "$work/first/results.json"

# Notes on what is rarely meant, each once and on stderr.
noted() { # noted COUNT PATTERN VERB ARGUMENTS...: COUNT notes with the pattern, and nothing else on stderr
    count=$1
    pattern=$2
    shift 2
    "$program" "$@" --json >"$work/stdout" 2>"$work/stderr" || return 1
    [ "$(wc -l <"$work/stderr")" -eq "$count" ] || return 1
    [ "$(grep -c "note: .*$pattern" "$work/stderr")" -eq "$count" ] || return 1
    head -c 1 "$work/stdout" | grep -q '{'
}
check 'a space at the end' noted 1 'ends with a space' analyze --text 'the sun ' --plugin ln
check 'a line break at the end' noted 1 'ends with a line break' analyze --text 'the sun
' --plugin ln
check 'no space at the end' noted 0 '' analyze --text 'the sun' --plugin ln
check 'two beginning tokens' noted 1 'another one in front' analyze --text '<|endoftext|>a' --bos --plugin ln
check 'one beginning token' noted 0 '' analyze --text '<|endoftext|>a' --plugin ln
check 'a target with another token' noted 1 "' the' with a space" analyze --text 'a b' --target the --plugin logits
check 'of a contrast, too' noted 1 "' and' with a space" analyze --text 'a b' --contrast ' a' and --plugin logits
check 'a target with its space' noted 0 '' analyze --text 'a b' --target ' the' --plugin logits
check 'targets that are no texts' noted 0 '' analyze --text 'a b' --target '#7' --target top:2 --plugin logits
mkdir "$work/template"
cp "$model/config.json" "$model/model.safetensors" "$work/template/"
sed 's/"post_processor": {"type": "ByteLevel"/"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}]/' \
    "$model/tokenizer.json" >"$work/template/tokenizer.json"
check 'a tokenizer that puts a token in front' noted 1 'pass --bos' analyze --model "$work/template" --text a --plugin ln
check 'and --bos' noted 0 '' analyze --model "$work/template" --text a --plugin ln --bos

# A plugin that needs <|endoftext|>: the verbs put it in front, once, and say so in one line.
needs_front() { # needs_front NOTES VERB ARGUMENTS...: NOTES lines on stderr; `first` is the token 0
    notes=$1
    shift
    "$program" "$@" --plugin "$front" --json >"$work/front.json" 2>"$work/stderr" || return 1
    [ "$(wc -l <"$work/stderr")" -eq "$notes" ] || return 1
    [ "$notes" -eq 0 ] || grep -q 'note: front needs <|endoftext|> in front of the text; it was added' \
        "$work/stderr" || return 1
    tr -d ' \n' <"$work/front.json" | grep -q '"first":\[0.0\]'
}
check 'the token is added' needs_front 1 analyze --text 'the sun rose'
check 'it is recorded' grep -q '"bos": true' "$work/front.json"
n=$(grep -c '"id":' "$work/front.json")
check 'it is not added to --bos' needs_front 0 analyze --text 'the sun rose' --bos
check 'once' test "$(grep -c '"id":' "$work/front.json")" -eq "$n"
check 'nor to a text that begins with it' needs_front 0 analyze --text '<|endoftext|>the sun rose'
check 'once again' test "$(grep -c '"id":' "$work/front.json")" -eq "$n"
check 'ids with --bos' needs_front 0 analyze --tokens 5,6 --bos
check 'ids that begin with it' needs_front 0 analyze --tokens 0,5,6
check 'ids that begin with it without a tokenizer' needs_front 0 analyze --tokens 0,5,6 --model "$work/bare"
check 'it is added to source prompts' needs_front 1 analyze --text 'the sun rose' --source 'the sun fell' \
    --patch L1H1
check 'it is added in generate' needs_front 1 generate --text 'the sun rose' --n 2
check 'ids in generate' needs_front 0 generate --tokens 0,5,6 --n 2
check 'no note for other plugins' sh -c "'$program' analyze --text a --plugin ln 2>&1 >/dev/null | cmp -s - /dev/null"

# Word forms: a list, CoNLL-U files, a control; the same bits for every setting.
printf 'give\tgive\tVB\t10\r\ngave\tgive\tVBD\n# a comment\n\nwalk\twalk\tVB\t9\nwalked\twalk\tVBD\nwalked\twalk\tVBN\t2\n' >"$work/list.tsv"
forms() { # forms NAME ARGUMENTS...: writes to $work/NAME
    name=$1
    shift
    "$program" forms "$@" --out "$work/$name" >"$work/$name.summary"
}
check 'a list of forms' forms forms "$work/list.tsv" --threads 1
check 'a form that occurs twice counts once' grep -q '4 forms of 2 groups with 3 tags' "$work/forms.summary"
for options in '--threads 3 --batch 1' '--chunk 2' '--isa reference --batch 3'; do
    # shellcheck disable=SC2086 # a list of options
    check "forms with $options" forms forms2 "$work/list.tsv" $options
    check "the same bits with $options" \
        cmp "$work/forms/tensors.safetensors" "$work/forms2/tensors.safetensors"
    rm -r "$work/forms2"
done
check 'chance of 1/rank' sh -c "'$program' forms | grep -Eq '^  chance +0.500 +0.500 +0.092 +0.092$'"
check 'the English list' sh -c "'$program' forms | grep -q '492 forms of 160 groups'"
check 'a control' forms control "$work/list.tsv" --control "$model"
check 'its section' grep -q '^control.forms ' "$work/control.summary"
check 'its figures beside' sh -c "sed -n '/^forms beside control.forms/,\$p' '$work/control.summary' |
    grep -A1 '1/rank, all' | grep -q '^    control '"
printf '# text = He Walked dogs.\n1\tHe\the\tPRON\tPRP\t_\t2\tnsubj\t_\t_\n2\tWalked\twalk\tVERB\tVBD\t_\t0\troot\t_\t_\n3\tdogs\tdog\tNOUN\tNNS\t_\t2\tobj\t_\tSpaceAfter=No\n4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_\n\n' >"$work/own.conllu"
check 'forms of CoNLL-U' sh -c "'$program' forms --treebank '$work/own.conllu' --json | tr -d ' \n' |
    grep -q '\"forms\":.\"walked\",\"dogs\".'"

# Words: a text, CoNLL-U, a corpus; alone and beside a control.
# score: the page of --html has the groups.
check 'a page of scores' "$program" score "$2/tests/golden/score/examples.jsonl" --html "$work/score.html" >"$work/score"
check 'it has accuracies' grep -q 'group_accuracy' "$work/score.html"

words() { # words NAME ARGUMENTS...: writes to $work/NAME
    name=$1
    shift
    "$program" words "$@" --out "$work/$name" >"$work/$name.summary" 2>"$work/stderr"
}
check 'words of a text' words words --text 'Nobody had seen Grumbold before' --threads 1
for options in '--threads 3' '--chunk 2' '--isa reference'; do
    # shellcheck disable=SC2086 # a list of options
    check "words with $options" words words2 --text 'Nobody had seen Grumbold before' $options
    check "the same bits with $options" \
        cmp "$work/words/tensors.safetensors" "$work/words2/tensors.safetensors"
    rm -r "$work/words2"
done
check 'one sequence' grep -q '^  1 sequence, ' "$work/words.summary"
check 'levels as rows' grep -Eq '^  level 3 +[01]\.[0-9]{3} .* [01]\.[0-9]{3}$' "$work/words.summary"
check 'the prior' grep -q 'prior: under uniform attention, these trees are right-branching' "$work/words.summary"
check 'words alone' grep -q '^alone.words ' "$work/words.summary"
long=$(printf 'the %.0s' $(seq 600) | sed 's/ $//')
i=0
for word in $long; do
    i=$((i + 1))
    printf '%d\t%s\t_\tDET\tX\t_\t%d\tdep\t_\t_\n' $i "$word" $((i - 1))
done >"$work/long.conllu"
echo >>"$work/long.conllu"
check 'a cut sentence and a control' words long --treebank "$work/long.conllu" --levels 0 --control "$model"
check 'one note for the texts, one for the words alone' test "$(grep -c 'note: .*cut 1 of 1 sequence[ ]' "$work/stderr")" -eq 2
check 'words of CoNLL-U' words own --treebank "$work/own.conllu" --control "$model"
check 'their control, alone' grep -q '^control-alone.words ' "$work/own.summary"
check 'its figures beside' sh -c "sed -n '/^alone.words beside control-alone.words/,\$p' '$work/own.summary' |
    grep -A1 'words of several tokens' | grep -q '^    control '"
# Words of letters: alone, the others are left out; a sentence's words are counted in its text.
alone() { sed -n '/^alone.words /,$p' "$1" | grep -vF "$work"; }
check 'words of letters' words letters --words letters \
    --text "I don't know 12 Grumbolds, said M2 Nobodyson: 3.50"
check 'only these' words only --text "I don know Grumbolds said M Nobodyson"
alone "$work/letters.summary" >"$work/letters.alone"
alone "$work/only.summary" >"$work/only.alone"
check 'alone, words of letters' cmp "$work/letters.alone" "$work/only.alone"
sed 's/dogs/12/' "$work/own.conllu" >"$work/number.conllu"
check 'three words, two of letters' \
    words number --words letters --units 3-3 --treebank "$work/number.conllu"
mkdir "$work/texts"
for i in 1 2 3 4 5; do
    printf 'Grumbold the giant number %d lived in a tremendous castle, and nobody knew.\n' $i >"$work/texts/$i.txt"
done
check 'words of a corpus' words books "$work/texts" --batch 2 --window 12
check 'words of a corpus in other batches' words books2 "$work/texts" --batch 3 --window 12 --threads 1
check 'the same bits' cmp "$work/books/tensors.safetensors" "$work/books2/tensors.safetensors"

# Sentences write counts with commas, and control characters as in the line of tokens.
"$program" analyze --text "$(printf 'A\n\t\033 the')" --plugin logits --plugin mlp >"$work/written"
tr '\n' ' ' <"$work/written" >"$work/written.line"
check 'counts with commas' grep -q 'of 4,096 neurons fire' "$work/written.line"
check 'the text as its tokens' grep -qF 'after "A\n\t\x1b the" (' "$work/written.line"
check 'the width without a terminal is 80' env COLUMNS=40 sh -c "'$program' analyze --text a | grep -q '^logits ─\{73\}\$'"

# bench: the three parts and their limits; tests/python/test_bench.py checks the figures.
"$program" bench --rows 16 --threads 1 >"$work/bench"
for part in 'prefill of 16 tokens .*of the peak' "decode at 16 keys .*of the memory" \
    'decomposition of 16 .*times the plain pass'; do
    check "bench shows $part" grep -q "^$part" "$work/bench"
done
check 'bench says what a share is' grep -q 'share can differ from the quotient' "$work/bench"
hash=$("$program" bench --rows 16 --threads 1 --json | sed 's/.*"hash": "\([0-9a-f]\{16\}\).*/\1/')
check 'bench shows as much of the hash as others' grep -q "^[^ ]*  $hash  " "$work/bench"
check 'bench shows it as analyze does' grep -q "^[^ ]*  $hash  " "$work/written"

# docs/page.md: which verbs write a page.
for verb in analyze sweep weights corpus merge treebank words forms probe view; do
    check "$verb has --html" sh -c "'$program' $verb --help | grep -q -e --html"
done
check 'generate has no --html' sh -c "! '$program' generate --help | grep -q -e --html"
check 'the page says so' grep -q 'takes .--html., except .generate.' "$2/docs/page.md"

conclude
