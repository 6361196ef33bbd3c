#!/bin/sh
# Bad input on the command line: the exit code, one sentence on stderr, nothing on stdout, no
# partial output.
# usage: bad_input.sh PROGRAM SOURCE_DIR PLUGIN_DIR
. "$(dirname "$0")/checks.sh"
program=$1
model=$2/models/books-5m
front=$3/front.so # needs <|endoftext|> in front of a text

# Usage errors: exit code 2 and a pointer to the help.
expect 2 'unknown verb nonsense' nonsense
expect 2 'unknown option --nonsense' --nonsense
expect 2 'unknown option --colour.*analyze --help' analyze --colour
expect 2 'unknown option -x' analyze -x
expect 2 'no prompt' analyze
expect 2 'mutually exclusive' analyze --text a --tokens 1
expect 2 'mutually exclusive' generate --text a --file b
expect 2 '--text needs S' analyze --text
expect 2 '--text needs S' analyze --text --json
expect 2 '--contrast needs A B' analyze --text a --contrast b
expect 2 '--contrast needs A B' analyze --text a --contrast b --json
expect 2 '--json takes no value' analyze --text a --json=yes
expect 2 '--file is given twice' analyze --file a --file b
expect 2 '--tokens is given twice' generate --tokens 1 --tokens 2
expect 2 'unexpected argument b' analyze --text a b
expect 2 'unexpected argument b' analyze --text a -- b
expect 2 'unexpected argument b' info "$model" b
expect 2 '--rows needs' bench --rows 0
expect 2 'unexpected argument' bench a b
expect 1 'context of 512 tokens is too short for 505' bench --rows 505
expect 2 '--top-k needs' generate --text a --top-k 0
expect 2 '--top-k needs' generate --text a --top-k -3
expect 2 '--top-p needs' generate --text a --top-p 0
expect 2 '--top-p needs' generate --text a --top-p 1.5
expect 2 '--top-p needs' generate --text a --top-p nan
expect 2 '--min-p needs' generate --text a --min-p 1.5
expect 2 '--min-p needs' generate --text a --min-p -0.1
expect 2 '--threads needs' analyze --text a --threads x
expect 2 '--threads needs' analyze --text a --threads 0
expect 2 '--threads needs' analyze --text a --threads 99999999999999999999
expect 2 '--chunk needs' analyze --text a --chunk -1
expect 2 '--isa needs' analyze --text a --isa sse9
expect 2 'no training sentences' probe --test b.conllu
expect 2 '--test is missing' probe a.conllu
expect 2 '--window needs' probe a.conllu --test b.conllu --window 0
case $(uname -m) in x86_64 | amd64) foreign=neon ;; *) foreign=avx2 ;; esac
expect 1 "'$foreign' is not available here.* have reference" generate --text a --isa $foreign
expect 1 "'$foreign' is not available here" weights --isa $foreign
expect 2 '--n needs' generate --text a --n 1.5
expect 2 '--temperature needs' generate --text a --temperature -1
expect 2 '--temperature needs' generate --text a --temperature nan
expect 2 '--seed needs' generate --text a --seed 0x

# The prompt.
expect 1 'empty' analyze --text ''
expect 1 'empty' generate --text ''
expect 1 'empty' analyze --file /dev/null
expect 1 'cannot open .*missing.*: No such file' analyze --file "$work/missing"
expect 1 'cannot read' analyze --file "$work"
printf 'abc\377def' >"$work/latin1"
expect 1 'UTF-8' analyze --file "$work/latin1"
expect 1 'UTF-8' analyze --text "$(printf 'a\355\240\200b')"
expect 1 'entry 2' analyze --tokens 1,,3
expect 1 'entry 1' analyze --tokens ''
expect 1 'entry 3' analyze --tokens 1,2,
expect 1 'entry 1' analyze --tokens=-1
expect 1 'entry 2' analyze --tokens 1,0x2
expect 1 'entry 1' analyze --tokens +1
expect 1 'entry 1.*1 2' analyze --tokens '1 2'
expect 1 'out of range' analyze --tokens 1,4096
expect 1 'out of range' analyze --tokens 4294967297
expect 1 'out of range' analyze --tokens 99999999999999999999999999
long=$(printf '%0512d' 0 | sed 's/0/5,/g')
expect 1 '513 tokens.*context of 512' analyze --tokens "${long}5"
expect 1 'context of 512' generate --tokens "${long}5"
yes 'word after word ' | head -c 17000000 >"$work/large"
expect 1 'larger than 16 MiB' analyze --file "$work/large"
rm "$work/large"

# The nearest known name, where one is near.
expect 2 'unknown verb analise; did you mean analyze.' analise
expect 2 'unknown verb help-me .see' help-me
expect 2 'unknown option --hlep; did you mean --help.' --hlep
expect 2 'unknown option --txt=a; did you mean --text.' analyze --txt=a
expect 2 'unknown option --zzzz .see' analyze --zzzz
expect 1 "built-in plugin 'logit'; did you mean logits." analyze --text a --plugin logit
expect 1 "built-in plugin 'mpl'; did you mean mlp." plugins mpl
expect 1 "no option 'levl'; did you mean level." analyze --text a --plugin logits:levl=head
expect 1 'at=l3h7 is not a component of this model; did you mean L3H7. it has' analyze --text a --ablate l3h7
expect 1 'level=haed is not one or more of .*; did you mean head.' analyze --text a --plugin logits:level=haed
expect 1 "did you mean blocks.1.attn.hook_pattern." analyze --text a --out "$work/never" \
    --capture blocks.1.attn.hook_patern
expect 1 'did you mean blocks.*.hook_resid_post.' analyze --text a --out "$work/never" \
    --capture hook_resid_post
expect 1 'heads L0H0 to L3H7' analyze --text a --ablate L3H9

# The model.
expect 1 'missing' analyze --model "$work/missing" --text a
expect 1 'config.json' info "$work"
mkdir "$work/no-weights"
cp "$model/config.json" "$work/no-weights/"
expect 1 'model.safetensors' analyze --model "$work/no-weights" --text a
cp "$model/model.safetensors" "$work/no-weights/"
expect 1 'tokenizer.json' analyze --model "$work/no-weights" --text a
expect 1 'tokenizer.json' analyze --model "$work/no-weights" --tokens 1 --bos
mkdir "$work/cut"
cp "$model/config.json" "$model/tokenizer.json" "$work/cut/"
head -c 100000 "$model/model.safetensors" >"$work/cut/model.safetensors"
expect 1 'model.safetensors' analyze --model "$work/cut" --text a

# The folder of packed weights: invalid arguments are refused, an unusable folder is not a failure.
expect 1 'do=foo is not one of' sweep --text a --do foo
expect 1 'over=rows is not one of' sweep --text a --over rows
expect 1 'do=patch needs a source prompt' sweep --text 'a b' --do patch
expect 1 'a patch needs prompts of equal length' sweep --text 'a b' --source 'a b c d' --do patch
expect 1 'layer=99' sweep --text a --over edges --layer 99
expect 1 'over=x,y is not one of' sweep --text a --over x,y
expect 1 'attribution: do=patch needs a source prompt' analyze --text 'a b' --plugin attribution:do=patch
expect 1 'edges have no mean; use do=zero or patch' analyze --text a --plugin attribution:over=edges,do=mean
expect 1 'attribution: gradients cannot be computed in an edited run' analyze --text a --ablate L0H1 --plugin attribution
expect 1 'ids are 0 to 4095' analyze --text a --plugin gradient:baseline=token,token=99999
# A pipe is read while a program writes to it, however slowly, and is not waited for otherwise.
mkfifo "$work/pipe.txt" "$work/pipe.so"
none='pipe.txt is a pipe that no program writes to'
expect 1 "$none" analyze --file "$work/pipe.txt"
expect 1 "$none" words --file "$work/pipe.txt"
expect 1 "$none" analyze --text 'a b' --source-file "$work/pipe.txt" --patch L0H0
expect 1 'Is a directory' analyze --file "$work"
"$program" analyze --text 'a b' >"$work/of_text"
{ sleep 3; printf 'a b'; } >"$work/pipe.txt" &
"$program" analyze --file "$work/pipe.txt" >"$work/of_pipe"
wait
check 'a pipe with a slow writer' cmp -s "$work/of_text" "$work/of_pipe"
printf 'a b' | "$program" analyze --file /dev/stdin >"$work/of_pipe"
check '/dev/stdin' cmp -s "$work/of_text" "$work/of_pipe"
expect 1 'text is empty' analyze --file /dev/null
expect 1 'pipe.so.*not a regular file' plugins "$work/pipe.so"
expect 1 'what=norms is not one or more of frames' weights --what norms
expect 1 'what= is not one or more of frames' weights --what ''
expect 1 'what=frames. is not one or more of' weights --what frames,
expect 1 'each once; frames repeats what an earlier word names$' weights --what all,frames
expect 1 'each once; all repeats what an earlier word names$' weights --what tokens+dual+all
expect 1 'each once; did you mean spectra.$' weights --what frames+spectr
expect 1 'what=tokens needs tokens' weights --what tokens
expect 1 '^pythiascope: --token . Emerald. is 3 tokens' weights --what tokens --token ' Emerald'
expect 1 '^pythiascope: --token #4096 is out of range; token ids' weights --token '#4096'
expect 1 '--token: the text is empty; pass' weights --token ''
expect 1 'offset=512 is not' weights --offset 512
expect 1 'triples=0 is not' weights --what heads --triples 0
expect 1 'top=many is not' weights --top many
expect 1 'top=1,what=all is not a whole number' weights --top 1,what=all
expect 2 '--threads needs' weights --threads 0
expect 2 'unexpected argument b' weights b
expect 2 "clear or verify, not 'nonsense'" cache nonsense
expect 2 'unexpected argument c' cache clear 012345 c
expect 2 "not 'xyz'" cache verify xyz
expect 2 "not '01234'" cache clear 01234 --cache-dir "$work/kept"
expect 1 'contains no model 012345' cache clear 012345 --cache-dir "$work/kept"
expect 1 'contains no model 012345' cache verify 012345 --cache-dir "$work/kept"
echo text >"$work/plain"
expect 1 'plain is not a directory' cache --cache-dir "$work/plain"
expect 2 '--cache-limit needs a size' cache --cache-limit 5X
expect 2 '--cache-limit needs a size' info --cache-limit 0
expect 2 '--cache-limit needs a size' analyze --text a --cache-limit 99999999T
expect 2 '--cache-limit needs a size' generate --text a --cache-limit -1G
expect 2 '--cache-dir needs a folder' generate --text a --cache-dir ''
expect 2 'mutually exclusive' generate --text a --cache-dir "$work" --no-cache
PSC_CACHE_LIMIT=much
export PSC_CACHE_LIMIT
expect 2 "PSC_CACHE_LIMIT needs a size like 500M or 20G, not 'much'" info
unset PSC_CACHE_LIMIT
check 'showing the cache created its folder' test ! -e "$work/kept"
"$program" generate --text a --n 1 --cache-dir /dev/null/x >/dev/null 2>"$work/stderr"
check 'a folder that cannot be created is not a failure' test $? -eq 0 -a ! -s "$work/stderr"
env -u HOME -u XDG_CACHE_HOME -u PSC_CACHE_DIR "$program" info >/dev/null 2>"$work/stderr"
check 'a missing HOME is not a failure' test $? -eq 0 -a ! -s "$work/stderr"

# Interventions.
expect 2 '--ablate needs AT' analyze --text a --ablate
expect 2 'source needs --ablate' analyze --text a --source b
expect 2 'source-tokens needs --ablate' generate --text a --source-tokens 1
expect 1 'no plugin of this command uses a source prompt; leave' analyze --text a --source b --plugin ln
expect 1 'no plugin of this command uses a source prompt; leave' generate --text a --source b --plugin ln
for unused in circuit:do=zero attribution:do=mean attribution:do=zero sweep:do=zero; do
    expect 1 'no plugin of this command uses a source prompt; leave' analyze --text a --source b --target next \
        --plugin $unused
done
expect 1 'no plugin of this command uses a source prompt; leave' analyze --tokens 1,2 --source-tokens 3,4 \
    --plugin circuit:do=zero
expect 1 'no plugin of this command uses a source prompt; leave' generate --text a --source b --ablate L0H0
expect 2 'a source prompt needs --do patch' sweep --text 'a b' --source 'a c'
expect 2 'a source prompt needs --do patch' sweep --text 'a b' --source-tokens 1,2 --do mean
expect 1 'L9H0 is not a component of this model.*L0H0 to L3H7' analyze --text a --ablate L9H0
expect 1 'L9H0 is not a component of this model' generate --text a --ablate L9H0
expect 1 'L0H9.* is not a component' analyze --text a --patch L0H9 --source b
expect 1 'at= is missing' analyze --text a --ablate ''
expect 1 'at=L1F3 names latents of a dictionary' analyze --text a --ablate L1F3
expect 1 'point= needs sae=' analyze --text a --scale L1H3:point=hook_embed
expect 1 'there is no nowhere; name the folder of a dictionary' analyze --text a --steer L1F3:sae=nowhere
expect 1 'source= needs by=resample' analyze --text a --ablate L0H1:source=2
expect 1 'tensor= needs file=' analyze --text a --ablate L0H1:tensor=x
expect 1 'plus=, minus= and of= are of source prompts' analyze --text a \
    --steer embed:file="$model/model.safetensors",minus=3
expect 1 'by=max is not one of zero, mean, resample' analyze --text a --ablate L0H1:by=max
expect 1 "has no option 'alpha'" analyze --text a --ablate L0H1:alpha=2
expect 1 'alpha=nan is not a finite number' analyze --text a --scale L0H1:alpha=nan
expect 1 'layers A-B of 0 to 3' analyze --text a --scale 'L*H1:layers=2-4'
expect 1 'source prompt 1 is missing' analyze --text a --patch embed
expect 1 'source prompt 2 is missing' analyze --text a --steer embed --source b
expect 1 'source prompt 1 has 3 tokens and this prompt has 2' analyze --tokens 1,2 \
    --patch L0H1 --source-tokens 1,2,3
expect 1 'source prompt 2: ' analyze --text a --steer embed --source b --source ''
expect 1 'missing.safetensors' analyze --text a --steer embed:file="$work/missing.safetensors"
expect 1 'has no tensor "embed"' analyze --text a \
    --steer embed:tensor=embed,file="$model/model.safetensors"
expect 1 'has 256 numbers; blocks.0.mlp.hook_post takes 1024' analyze --text a \
    --steer L0N1:tensor=gpt_neox.final_layer_norm.bias,file="$model/model.safetensors"
expect 1 'keys=' analyze --text a --knockout L0H1
expect 1 'row 0 would keep no key' analyze --text a --knockout L0H1:keys=0
expect 1 'a knockout acts on heads only' analyze --text a --knockout 0_mlp_out:keys=0

expect 1 'a direction has 256 numbers and blocks.0.mlp.hook_post takes 1024' analyze --text a \
    --direction blocks.0.mlp.hook_post:along=L0N3.in
expect 1 'L0N3 is one number' analyze --text a --direction L0N3:along=L0N3.in
expect 1 'no token of this model has exactly this text' analyze --text a \
    --direction "embed:along=W_U:' no such token'"
expect 1 'source prompt 1 is missing' analyze --text a --direction embed
expect 1 'source prompt 1 has 3 tokens' analyze --tokens 1,2 --source-tokens 1,2,3 \
    --direction embed:along=L0N3.in,do=swap
expect 1 'do=set needs value=' generate --text a --direction embed:along=L0N3.in,do=set
expect 1 'alpha= needs do=add' analyze --text a --direction embed:along=L0N3.in,alpha=2
expect 1 'source= needs do=swap' analyze --text a --direction embed:along=L0N3.in,source=2
expect 1 'plus=, minus= and of= are of source prompts' analyze --text a \
    --direction embed:along=L0N3.in,of=mean
printf 'a b\n' >"$work/prompts.txt"
printf 'the sun\nthe moon\n' >"$work/others.txt"
printf '{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n{"text": "c"}\n' >"$work/two.jsonl"
printf '{"text": "a", "label": true}\n' >"$work/single.jsonl"
printf '{"text": "a", "label": [1]}\n' >"$work/odd.jsonl"
printf '' >"$work/no-prompts.txt"
sets="--plus $work/others.txt --minus $work/prompts.txt"
expect 2 'no prompts; pass' directions --at embed
expect 2 'both --plus and --minus' directions --at embed --plus "$work/others.txt"
expect 2 '--at is missing' directions "$work/two.jsonl"
# shellcheck disable=SC2086 # a list of options
{
    expect 2 '--held-out must be below 1' directions --at embed $sets --held-out 1
    expect 2 '--seed needs' directions --at embed $sets --seed -1
    expect 1 'L0N3 is one number' directions --at L0N3 $sets
    expect 1 'memory=1 MiB' directions --at 'blocks.*.mlp.hook_post' $sets --memory 1
    expect 1 'cannot write .*/nowhere/d' directions --at embed $sets --save "$work/nowhere/d"
    expect 1 "class '(minus|plus)' has no training" directions --at embed $sets --held-out 0.999999
}
expect 1 'no-prompts.txt has no prompts' directions --at embed --plus "$work/no-prompts.txt" \
    --minus "$work/prompts.txt"
expect 1 'two.jsonl, line 3: has no "label"' directions --at embed "$work/two.jsonl"
expect 1 "has one label only, 'true'" directions --at embed "$work/single.jsonl"
expect 1 'odd.jsonl, line 1: "label" is neither' directions --at embed "$work/odd.jsonl"
expect 1 'others.txt, line 1: each line must be an object' directions --at embed "$work/others.txt"

# Targets, plugins, captures.
expect 1 'token' analyze --text a --target 'two whole words'
expect 1 '#4096' analyze --text a --target '#4096'
expect 1 'top' analyze --text a --target top:0
expect 1 'token' analyze --text a --contrast 'two whole words' ' he'
expect 1 'nonsense' analyze --text a --plugin nonsense
expect 1 'nonsense' analyze --text a --plugin nonsense:level=head
expect 1 'plugin sae: path is missing; path=FOLDER' analyze --text a --plugin sae
expect 1 'plugin sae: there is no .*/absent; name the folder' analyze --text a --plugin "sae:path=$work/absent"
expect 1 'missing.so' analyze --text a --plugin "$work/missing.so"
expect 1 'missing.so' plugins "$work/missing.so"
printf 'not a library' >"$work/text.so"
expect 1 'text.so' analyze --text a --plugin "$work/text.so:key=value"
expect 1 'colour' analyze --text a --plugin logits:colour=red
expect 1 'level' analyze --text a --plugin logits:level
expect 1 'level' analyze --text a --plugin logits:level=atom
expect 1 'nowhere' analyze --text a --out "$work/never" --capture nowhere
expect 1 'layer|blocks.9' analyze --text a --out "$work/never" --capture blocks.9.hook_mlp_out
expect 1 "'' is not a hook point" analyze --text a --out "$work/never" --capture hook_embed,
expect 1 'hook_embed_grad is of a gradient, but the run has no metric' analyze --text a --out "$work/never" --capture hook_embed_grad
expect 1 'nowhere' analyze --text a --metric logit --out "$work/never" --capture nowhere_grad
expect 1 'the metric must be logit or log_prob' analyze --text a --metric loss
expect 1 'retained_cap, --retain' analyze --tokens "$(printf '5,%.0s' $(seq 400))5" --retain 1 \
    --target '#5' --plugin gradient
expect 2 'retain' analyze --text a --retain 0
expect 1 'rows must be last, all or a row from 0 to 0' analyze --text a --metric logit:rows=1
expect 1 'rows must be last' analyze --text a --metric log_prob:rows=1x
expect 1 'one token has no next one' analyze --text a --target next --metric log_prob
check 'a failed run wrote a folder' test ! -e "$work/never"

# A plugin that needs <|endoftext|> in front of the text.
expect 1 'front needs the beginning-of-text token .* let them begin with 0' analyze --tokens 5,6 \
    --plugin "$front"
expect 1 'source prompt 1: front needs the beginning-of-text token' analyze --text a --source-tokens 5 --plugin "$front"
expect 1 '513 tokens with the <.endoftext.> that front needs.*context of 512' analyze --plugin "$front" \
    --text "$(printf '%0512d' 0 | sed 's/0/ the/g')"
sed 's/"bos_token_id": *[0-9]*/"bos_token_id": null/' "$model/config.json" >"$work/no-weights/config.json"
expect 1 'front needs a beginning-of-text token.*bos_token_id in its config.json is null' analyze \
    --tokens 5,6 --model "$work/no-weights" --plugin "$front"
expect 1 'a window of 1 token is not possible' corpus "$work/text.so" --window 1 --plugin "$front"

# Plugins in generate.
expect 1 'unknown built-in plugin .nonsense' generate --text a --plugin nonsense
expect 1 'target' generate --text a --plugin ln --target 'two whole words'
expect 1 'needs a corpus' generate --text a --plugin means
expect 1 'front needs the beginning-of-text token' generate --tokens 5 --plugin "$front"
expect 1 'missing.so' generate --text a --plugin "$work/missing.so"
for plugin in edges effects frozen graph:threshold=0.5 roles; do
    "$program" generate --text 'a b' --n 3 --plugin "$plugin" --out "$work/never" >"$work/stdout" 2>"$work/stderr"
    check "$plugin, which needs a whole text, fails" test $? -eq 1
    check 'it says why and what to do' grep -qx "pythiascope: plugin ${plugin%%:*}: it needs the whole text in one run, which generate does not have; leave it out, or use analyze" "$work/stderr"
    check 'before the first result' test ! -s "$work/stdout" -a ! -e "$work/never"
done
expect 1 'sweep: over=edges needs the whole text' generate --text 'a b' --n 3 --plugin sweep:over=edges
"$program" generate --tokens 1,2,3 --n 2 --plugin ln:rows=1-2 --out "$work/never" >/dev/null 2>"$work/stderr"
check 'a plugin that fails at a later token says which' grep -qx "pythiascope: plugin ln: rows=1-2 contains none of the text's positions 3-3 (token 1 after the prompt: generate runs it alone; analyze runs a whole text)" "$work/stderr"
check 'and nothing is written' test ! -e "$work/never"
for option in heads=causal heads=residual links=causal links=frozen; do
    expect 1 "plugin spans: $option needs the whole text in one run" generate --text 'a b' --n 3 \
        --plugin "spans:levels=1,$option,top=2"
done
expect 1 'spans: links=frozen needs' generate --text 'a b' --n 3 --plugin spans:links=frozen+causal
check 'heads by reads grow with the text' "$program" generate --text 'a b c' --n 2 \
    --plugin spans:heads=reads,levels=1 >/dev/null 2>&1
check 'without a token after the prompt nothing is refused' "$program" generate --text 'a b c' --n 0 \
    --plugin spans:heads=causal,levels=1 >/dev/null 2>&1
# Plugins by name, a comma inside a value, every file that --out writes, the short summaries of spans.
expect 1 "unknown built-in plugin 'span'" plugins span
expect 1 "option '2' must have the form key=value.*write / between levels" analyze --text 'a b' \
    --plugin spans:levels=1,2
"$program" plugins spans >"$work/one"
check 'one plugin by name' test "$(grep -c '^[a-z]' "$work/one")" -eq 1
check 'with its options' grep -q '^    closure' "$work/one"
check 'analyze --help says where the options are' sh -c '"$1" analyze --help | grep -q "pythiascope plugins"' sh "$program"
"$program" analyze --text 'The old man gave the girl an apple.' --out "$work/named" \
    --plugin "spans:levels=L0H1+L2H5/3,closure=yes,prefixes=yes,heads=causal,xml=$work/x.xml" >"$work/shown"
check 'every file is named' grep -qxF "wrote $work/named/results.json, $work/named/tensors.safetensors, $work/named/spans.txt and $work/named/spans.xml" "$work/shown"
check 'so is the file of xml=' grep -qF 'x.xml' "$work/shown"
check 'closure is shown' grep -q 'level 3: mean closure -0[.][0-9]*$' "$work/shown"
check 'the header is not cut' grep -q '^ *and with .* L0H1+L2H5 ' "$work/shown"
check 'heads stand beside a random model' grep -q 'agreements alone show little: a random' "$work/shown"
check 'prefixes stand beside a random model' grep -q 'how much a random' "$work/shown"
"$program" analyze --text 'a b' --plugin spans:range=1-2,heads=reads,levels=1 >"$work/shown"
check 'a text without heads' grep -q 'No span has a row after it' "$work/shown"
check 'a short text has no hint' test "$(grep -c 'takes fewer' "$work/shown")" -eq 0
"$program" analyze --text "$(printf 'The old man gave the girl an apple. %.0s' 1 2 3 4 5 6 7 8 9 10)" \
    --plugin spans:levels=1/2,heads=causal,links=causal >"$work/shown"
tr -s '\n ' ' ' <"$work/shown" >"$work/joined"
check 'many passes name the options that make fewer' grep -q 'passes over the run.s [0-9]* rows[.] after=N takes fewer[.] distance=D takes fewer[.]' "$work/joined"
# Word forms and words.
list=$work/list.tsv
bad_list() { # bad_list PATTERN LINES: the second line is the bad one
    printf "give\tgive\tVB\t10\n$2\n" >"$list"
    expect 1 "$1" forms "$list"
}
bad_list 'list.tsv:2: 2 columns; a line has form, group, tag' 'gives\tgive'
bad_list 'list.tsv:2: 1 columns' 'gives'
bad_list 'list.tsv:2: 5 columns' 'gives\tgive\tVBZ\t1\t2'
bad_list 'list.tsv:2: column 2 is empty' 'gives\t\tVBZ'
bad_list "list.tsv:2: the frequency '-1' is not a number" 'gives\tgive\tVBZ\t-1'
bad_list "list.tsv:2: the frequency 'nan' is not" 'gives\tgive\tVBZ\tnan'
bad_list "list.tsv:2: the frequency '5x' is not" 'gives\tgive\tVBZ\t5x'
bad_list "list.tsv:2: column 4 is empty" 'gives\tgive\tVBZ\t'
bad_list 'list.tsv:2: the line is not UTF-8' 'gi\377ves\tgive\tVBZ'
bad_list 'list.tsv:2: the line has a 0 byte' 'gi\000ves\tgive\tVBZ'
bad_list 'list.tsv:2: the line is longer than 4096 bytes' "$(printf '%04097d' 0)\\tgive\\tVBZ"
bad_list 'list.tsv:2: the form has at least [0-9]* tokens.*context of 512' "$(printf '%01200d' 0 | sed 's/0/x9/g')\\tx\\tNN"
printf '# nothing\n\n' >"$list"
expect 1 'list.tsv has no word forms' forms "$list"
expect 1 'cannot open .*missing.tsv' forms "$work/missing.tsv"
expect 1 'is not a regular file' forms "$work"
expect 1 'missing.conllu' forms --treebank "$work/missing.conllu"
expect 2 'mutually exclusive' forms "$list" --treebank "$list"
expect 2 '--batch needs' forms --batch 0
expect 1 'draws=0 is not' forms --draws 0
expect 1 '[0-9]* forms need [0-9]* MiB, more than memory=1' forms --memory 1
expect 1 'missing' forms --control "$work/missing"
expect 1 'needs a list of word forms as labels.*use the verb forms' analyze --text a --bos --plugin forms
expect 1 'boks-5m does not exist; did you mean books-5m?' info boks-5m
expect 1 'boks-0.5m does not exist; did you mean books-0.5m?' analyze --model boks-0.5m --text a
expect 1 'books-0.5m has no checkpoint step99; pass @step0, or another up to @step4000$' info books-0.5m@step99
expect 1 'books-5m has no checkpoint step99, nor any other; leave out @step99$' info books-5m@step99
# Scores: score.sh has each bad line.
expect 2 'no examples' score
expect 1 'cannot open .*missing' score "$work/missing.jsonl"
echo '{"good": "a"}' >"$work/pairs.jsonl"
expect 1 'pairs.jsonl, line 1: has no "bad"' score "$work/pairs.jsonl"
expect 2 'no text' words
expect 2 'mutually exclusive' words --text a --file b
expect 2 'mutually exclusive' words "$work/text.so" --text a
expect 2 '--rows needs A-B' words --treebank "$list" --rows 8
expect 2 '--rows needs A-B' words --treebank "$list" --rows 8-3
expect 2 'they need --treebank' words --text a --rows 2-3
expect 2 'they need --treebank' words --text a --limit 3
expect 2 'need a corpus' words --text a --window 8
expect 2 'need a corpus' words --treebank "$list" --limit-tokens 8
expect 1 'the text has no words' words --text ''
expect 1 'the text has no words' words --text ' '
expect 1 'context of 512' words --text "$(printf '%0512d' 0 | sed 's/0/ the/g')"
expect 1 'UTF-8' words --text "$(printf 'a\355\240\200b')"
expect 1 'levels' words --text 'a b' --levels 9
expect 1 'all, letters' words --text 'a b' --words some
expect 1 'no sentence has words of letters' words --text '12 .' --words letters
expect 2 'they need --treebank' words --text 'a b' --units 1-3
expect 2 '--units needs A-B' words --treebank "$list" --units 3-1
awk 'BEGIN { for (i = 1; i <= 600; i++)
    printf "%d\tab\t_\tX\t_\t_\t%d\tdep\t_\t_\n", i, i - 1; print "" }' >"$work/long.conllu"
"$program" words --treebank "$work/long.conllu" >"$work/stdout" 2>"$work/stderr"
check 'words cuts a long sentence and says so' test $? -eq 0 -a \
    "$(grep -c 'long.conllu: cut 1 of 1 sequence .*to the context, 512 rows' "$work/stderr")" -eq 2
expect 1 'missing.conllu' words --treebank "$work/missing.conllu"
printf '# text = He sat\n1\tHe\the\tPRON\t_\t_\t2\tnsubj\t_\t_\n2\tsat\tsit\tVERB\t_\t_\t0\troot\t_\t_\n\n' >"$work/own.conllu"
expect 1 'own.conllu: no sentence has 100 to 200 rows' words --treebank "$work/own.conllu" --rows 100-200
expect 1 'own.conllu: no sentence has' words --treebank "$work/own.conllu" --units 3-9
sed 's/sat.sit/sit\tsit/' "$work/own.conllu" >"$work/wrong.conllu"
expect 1 'wrong.conllu:3' words --treebank "$work/wrong.conllu"
expect 1 'cannot open|No such file' words "$work/missing.txt"

# The output folder: all files or none.
mkdir "$work/full"
echo mine >"$work/full/file"
expect 1 'full.*not empty' analyze --text a --out "$work/full"
check 'a refused folder was changed' test "$(cat "$work/full/file")" = mine
echo mine >"$work/file"
expect 1 'file' analyze --text a --out "$work/file"
expect 1 'full.*not empty' generate --text a --out "$work/full"
expect 1 'No such file' analyze --text a --out "$work/no/such/parent"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$work/closed"
    chmod 500 "$work/closed"
    expect 1 'Permission denied' analyze --text a --out "$work/closed/out"
fi
(
    ulimit -f 400 # blocks of 512 bytes
    expect 1 'tensors.safetensors: File too large' analyze --text 'a b c d e f g h' \
        --capture 'blocks.*.mlp.hook_pre' --out "$work/limited"
    exit $failed
)
check 'the file size limit was handled wrongly' test $? -eq "$failed"
check 'a full disk left files' test -z "$(ls -d "$work"/limited "$work"/.limited* 2>/dev/null)"
"$program" analyze --text a --out "$work/out" >/dev/null 2>&1
check 'a good run writes its folder' test -s "$work/out/results.json" -a \
    -s "$work/out/tensors.safetensors"
check 'no partial files remain' test -z "$(find "$work" -name '*.psc-tmp*')"
mkdir "$work/empty"
"$program" analyze --text a --out "$work/empty" >/dev/null 2>&1
check 'an empty folder is accepted' test -s "$work/empty/results.json"

if [ -w /dev/full ]; then # one sentence, which names what was written before
    for arguments in 'analyze --json' 'analyze' 'generate --n 4' 'generate --n 2 --plugin ln --json' sweep; do
        # shellcheck disable=SC2086 # a list of arguments
        "$program" $arguments --text a >/dev/full 2>"$work/stderr"
        check "a full standard output is an error for $arguments" test $? -eq 1 -a "$(wc -l <"$work/stderr")" -eq 1
        check 'with its reason' grep -q 'cannot write .*: No space left' "$work/stderr"
    done
    "$program" info >/dev/full 2>"$work/stderr"
    check 'a full standard output is an error for info' test $? -eq 1 -a "$(wc -l <"$work/stderr")" -eq 1
    "$program" analyze --text a --out "$work/stays2" >/dev/full 2>"$work/stderr"
    check 'the folder is named' grep -q "/stays2 is whole and stays$" "$work/stderr"
fi
# A reader that is gone is no failure, also where SIGPIPE is ignored: containers, services.
(
    trap '' PIPE
    "$program" analyze --text a --json 2>"$work/stderr"
    echo $? >"$work/code"
) | true
check 'without a reader: exit 0' test "$(cat "$work/code")" -eq 0
check 'without a reader: silence' test ! -s "$work/stderr"
"$program" generate --text a --n 100 2>"$work/stderr" | head -c 1 >/dev/null
check 'a closed pipe is not an error' test ! -s "$work/stderr"

# Help and version: 0, on stdout.
for arguments in '--help' 'help analyze' 'analyze --help' 'generate --help' 'info --help' \
    'plugins --help' 'sweep --help' 'weights --help' 'cache --help' '--version' 'plugins'; do
    # shellcheck disable=SC2086 # a list of arguments
    "$program" $arguments >"$work/stdout" 2>"$work/stderr"
    check "$arguments" test $? -eq 0 -a -s "$work/stdout" -a ! -s "$work/stderr"
done

# Levels are separated by / in every help; yes and no are lower case.
for verb in treebank words; do
    check "levels of $verb" sh -c "'$program' $verb --help | grep -q 'levels, such as 1+2/3/L2H5; default: each layer'"
done
check 'yes or no' sh -c "'$program' treebank --help | grep -q -- '--plain yes|no'"

# Probes.
labelled=$2/tests/golden/structure/own.conllu
spans='{"text": "Zo\u00eb ran", "spans": [{"start": 0, "end": 4, "label": "x"}'
echo "$spans]}" >"$work/good.jsonl"
cp "$labelled" "$work/copy.conllu"
echo '1 a' >"$work/bad.conllu"
awk -v RS= 'NR == 2' "$labelled" >"$work/one.conllu"
expect 1 'is the same as the training file' probe "$labelled" --test "$work/copy.conllu"
expect 1 'use two CoNLL-U files or two .jsonl files' probe "$labelled" --test "$work/good.jsonl"
expect 1 'bad.conllu:1: ' probe "$work/bad.conllu" --test "$labelled"
expect 1 'bad.conllu:1: ' probe "$labelled" --test "$work/bad.conllu"
expect 1 'cannot open .*/none.jsonl' probe "$work/none.jsonl" --test "$work/good.jsonl"
mkfifo "$work/pipe.jsonl" # opening one would wait for a writer
expect 1 'pipe.jsonl is not a regular file' probe "$work/pipe.jsonl" --test "$work/good.jsonl"
expect 1 'pipe.jsonl is not a regular file' probe "$work/good.jsonl" --test "$work/pipe.jsonl"
expect 1 'pipe.jsonl is not a regular file' forms "$work/pipe.jsonl"
expect 1 'cannot open .*/none: No such file' forms "$work/none"
expect 1 "'nose' is not a task" probe "$labelled" --test "$work/one.conllu" --tasks nose
expect 1 'none of its 8 sentences has at most 2 rows; raise --rows' \
    probe "$labelled" --test "$work/one.conllu" --rows 2
bad_spans() { # bad_spans PATTERN LINE: refused as training and as test sentences
    printf '%s\n' "$2" >"$work/bad.jsonl"
    expect 1 "bad.jsonl:1: .*$1" probe "$work/bad.jsonl" --test "$work/good.jsonl"
    expect 1 "bad.jsonl:1: .*$1" probe "$work/good.jsonl" --test "$work/bad.jsonl"
}
bad_spans 'the line is not a JSON object: ' 'nonsense'
bad_spans 'the line is not a JSON object: ' "$spans"
bad_spans 'the text has a 0 byte' '{"text": "a\u0000b", "spans": []}'
bad_spans "a span's label has a 0 byte" '{"text": "ab", "spans": [{"start": 0, "end": 1, "label": "x\u0000"}]}'
bad_spans 'half of a surrogate pair' '{"text": "\ud800", "spans": []}'
bad_spans 'a line needs' '{"text": "a"}'
bad_spans 'the line is not a JSON object' '[]'
bad_spans 'a span needs the whole numbers' '{"text": "a", "spans": [{"start": 0.5, "end": 1, "label": "x"}]}'
bad_spans 'a span needs the whole numbers' '{"text": "a", "spans": [7]}'
bad_spans 'a span needs the whole numbers' '{"text": "a", "spans": [{"start": NaN, "end": 1, "label": "x"}]}'
bad_spans 'a span needs 0 <= start < end' '{"text": "a", "spans": [{"start": 0, "end": 2, "label": "x"}]}'
bad_spans 'a span needs 0 <= start < end' '{"text": "a", "spans": [{"start": 1, "end": 1, "label": "x"}]}'
bad_spans 'a span needs 0 <= start < end' '{"text": "a", "spans": [{"start": -1, "end": 1, "label": "x"}]}'
bad_spans 'inside a character' "$spans, {\"start\": 3, \"end\": 4, \"label\": \"x\"}]}"
bad_spans 'without \|' '{"text": "a", "spans": [{"start": 0, "end": 1, "label": "a|b"}]}'
bad_spans 'longer than 127 bytes' "$(printf '{"text": "a", "spans": [{"start": 0, "end": 1, "label": "%0128d"}]}' 0)"
bad_spans 'needs 1 to 63 letters' '{"text": "a", "spans": [{"start": 0, "end": 1, "label": "x", "task": "a b"}]}'

conclude
