#!/bin/sh
# --pairs from outside: the same numbers for every batch, thread and chunk, and those of each pair alone;
# the kinds of alignment; each bad line and option.
# usage: pairs.sh PROGRAM SOURCE_DIR
. "$(dirname "$0")/checks.sh"
program=$1
set=$2/models/pairs/pronouns.jsonl

analyze() { # analyze NAME OPTIONS...: writes to $work/NAME
    name=$1
    shift
    "$program" analyze --pairs "$set" --patch L1H0 --draws 200 --out "$work/$name" "$@" \
        >"$work/$name.summary"
}
check 'a set' analyze first --batch 1 --threads 1
for options in '--batch 5' '--batch 24 --threads 2 --chunk 7' '--batch 100 --isa reference' ''; do
    # shellcheck disable=SC2086 # a list of options
    check "a set with $options" analyze again $options
    check "the same arrays with $options" \
        cmp "$work/first/tensors.safetensors" "$work/again/tensors.safetensors"
    rm -r "$work/again"
done
check 'a seed changes draws' analyze seeded --seed 7
check 'other intervals' test -n "$(cmp "$work/first/tensors.safetensors" "$work/seeded/tensors.safetensors")"
check 'the sentence' grep -q '24 pairs of ' "$work/first.summary"
check 'the editor says what it does' grep -q 'sets L1H0 to its values in source prompt 1' "$work/first.summary"
check 'the mean with its interval' grep -q 'dz: mean over 24 pairs \[95 % interval\] p' "$work/first.summary"
check "the groups of the strongest" grep -q "^  dz of -1 by group" "$work/first.summary"
check 'a folder that is read again' "$program" view "$work/first" --json >"$work/read"
check 'the same file' cmp "$work/read" "$work/first/results.json"

# Each pair alone has the same effect: clean, corrupt as the source, target and contrast.
check 'the same as each pair alone' python3 - "$program" "$set" "$work" <<'END'
import json, struct, subprocess, sys
program, path, work = sys.argv[1:]
def arrays(folder):
    raw = open(folder + "/tensors.safetensors", "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    return lambda name: raw[8 + n:][slice(*header[name]["data_offsets"])]
whole = arrays(work + "/first")
for i, line in enumerate(open(path)):
    pair = json.loads(line)
    out = f"{work}/alone{i}"
    subprocess.run([program, "analyze", "--text", pair["clean"], "--source", pair["corrupt"],
        "--contrast", pair["target"], pair["contrast"], "--patch", "L1H0", "--out", out],
        check=True, stdout=subprocess.DEVNULL)
    for name in ("effects.dz", "effects.kl", "effects.normalized"):
        one, of_set = arrays(out)(name), whole(name)
        assert one == of_set[i * len(one):(i + 1) * len(one)], (name, i)
END

# Alignment.
cat >"$work/lengths.jsonl" <<'END'
{"clean": "the old man said", "corrupt": "the man said", "target": " that"}
{"clean": "a man said", "corrupt": "the very old man said", "target": " that"}
END
for align in end start; do
    check "aligned by $align" sh -c "'$program' analyze --pairs '$work/lengths.jsonl' --align $align \
        --patch 0_mlp_out | grep -q 'aligned by $align'"
done
cat >"$work/spans.jsonl" <<'END'
{"clean": "the old man said", "corrupt": "man said", "target": " that", "spans": {"who": {"clean": [2, 2], "corrupt": [0, 0]}}}
END
check 'aligned by spans' sh -c "'$program' analyze --pairs '$work/spans.jsonl' --align spans --json \
    --patch blocks.0.hook_resid_pre --plugin effects:rows=all |
    tr -d ' \n' | grep -q '\"rows\":\[\"who\[0\]\",\"-1\"\]'"
echo '{"clean": "a b", "corrupt": "a c", "target": " d"}' >"$work/single.jsonl"
check 'corrupt prompts that nothing uses' sh -c "'$program' analyze --pairs '$work/single.jsonl' --draws 0 \
    --plugin circuit:do=zero,edges=0 --plugin attribution:do=mean 2>&1 | grep -q 'note: no plugin .* uses the corrupt'"
check 'that one plugin uses' sh -c "! '$program' analyze --pairs '$work/single.jsonl' --draws 0 \
    --plugin circuit:do=zero,edges=0 --plugin sweep:do=patch 2>&1 | grep 'note: no plugin'"
check 'a pipe' sh -c "cat '$set' | '$program' sweep --pairs - --do patch | grep -q 'effect: mean over 24'"
check 'without draws' sh -c "'$program' sweep --pairs '$set' --draws 0 | grep -q 'mean over 24 pairs, the'"
check 'token ids' sh -c "echo '{\"clean\": [1, 2, 3], \"target\": 7}' |
    '$program' analyze --pairs - --plugin lens --plugin partition >'$work/ids'"

# Bad lines: one sentence with file and line, and nothing left behind.
bad() { # bad PATTERN LINE [OPTIONS...]
    pattern=$1
    printf '%s\n%s\n' '{"clean": "a b", "corrupt": "a c", "target": " d", "id": "x"}' "$2" >"$work/bad.jsonl"
    shift 2
    expect 1 "bad.jsonl:2: .*$pattern" sweep --pairs "$work/bad.jsonl" --do patch --out "$work/nothing" "$@"
    check "nothing is left after $pattern" test ! -e "$work/nothing"
}
bad '3 tokens and the corrupt one 2' '{"clean": "a b c", "corrupt": "a b", "target": " d"}'
bad 'lacks a corrupt prompt' '{"clean": "a b", "target": " d"}'
bad 'not one' '{"clean": "a b", "corrupt": "a c", "target": " d e"}'
bad 'the contrast: target .* not one' '{"clean": "a b", "corrupt": "a c", "target": " d", "contrast": " e f"}'
bad 'the same token' '{"clean": "a b", "corrupt": "a c", "target": " d", "contrast": " d"}'
bad '"id" is a number with a point' '{"clean": "a b", "corrupt": "a c", "target": " d", "id": 1.5}'
bad 'the id "x" is that of line 1' '{"clean": "a b", "corrupt": "a c", "target": " d", "id": "x"}'
bad 'neither a text nor a list' '{"clean": 7, "corrupt": "a c", "target": " d"}'
bad 'unknown key "corrupted"' '{"clean": "a b", "corrupted": "a c", "target": " d"}'
bad 'the clean prompt is empty' '{"clean": "", "corrupt": "a c", "target": " d"}'
bad 'is not a JSON object' '{"clean": "a b", "corrupt": "a c", "target": " d"'
bad 'is not a JSON object' '[1]'
bad 'the positions 0 to 1' \
    '{"clean": "a b", "corrupt": "a c", "target": " d", "spans": {"s": [1, 2]}}'
long=$(printf 'a b c d e f g h %.0s' $(seq 80))
bad 'more tokens than the model.s context of 512' "{\"clean\": \"$long\", \"corrupt\": \"a c\", \"target\": \" d\"}"
: >"$work/empty.jsonl"
expect 1 'empty.jsonl has no pairs' sweep --pairs "$work/empty.jsonl"
expect 1 'cannot open .*missing.jsonl' sweep --pairs "$work/missing.jsonl"
echo '{"clean": "a b", "target": " d"}' >"$work/alone.jsonl"
expect 1 'alone.jsonl:1: .*do=patch needs a source' sweep --pairs "$work/alone.jsonl" --do patch
expect 1 'alone.jsonl:1: .*the pair has no "corrupt" prompt' \
    analyze --pairs "$work/alone.jsonl" --patch L0H0
expect 1 'source prompt 2 is missing; .*its "corrupt" prompt' \
    analyze --pairs "$set" --steer L0H0:plus=1,minus=2
expect 1 'source prompt 2 is missing; .*its "corrupt" prompt' \
    analyze --pairs "$set" --direction L0H0:plus=1,minus=2
expect 1 'alone.jsonl:1: .*rows=9' analyze --pairs "$work/alone.jsonl" --ablate L0H0:rows=9
expect 1 'alone.jsonl:1: has no "spans"' sweep --pairs "$work/alone.jsonl" --align spans
expect 2 '--pairs and --text are mutually exclusive' analyze --pairs "$set" --text a
expect 2 '--pairs and --source are mutually exclusive' sweep --pairs "$set" --source a --do patch
expect 2 '--pairs and --capture' analyze --pairs "$set" --capture hook_embed --json
expect 2 '--pairs and --metric' analyze --pairs "$set" --metric logit
expect 2 '--align goes with --pairs' analyze --text a --align end
expect 2 '--align needs equal, end, start or spans' analyze --pairs "$set" --align middle
expect 2 '--batch needs' analyze --pairs "$set" --batch 0
expect 2 '--draws needs' analyze --pairs "$set" --draws -1
expect 2 '--seed needs' analyze --pairs "$set" --seed x
expect 2 '--seed needs' sweep --pairs "$set" --seed 9223372036854775808
check 'the largest seed' "$program" sweep --do patch --pairs "$work/single.jsonl" --seed 9223372036854775807 >"$work/log"
expect 1 'target example is that of a set of pairs' analyze --text a --target example

# Edges over a set: mean scores, the circuit of these on each pair, prompts of other lengths.
check 'scores of edges' "$program" analyze --pairs "$set" --plugin circuit:edges=0 --draws 0 \
    --out "$work/scores" >"$work/log"
check 'their circuit on each pair' "$program" analyze --pairs "$set" --draws 0 --out "$work/circuit" \
    --plugin "circuit:scored=$work/scores/tensors.safetensors,edges=5,minimal=0" >"$work/log"
check 'it explains most of the pairs' python3 - "$work/circuit" <<'END'
import json, struct, sys
raw = open(sys.argv[1] + "/tensors.safetensors", "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:8 + n])
def values(name):
    at = header[name]["data_offsets"]
    return struct.unpack(f"<{(at[1] - at[0]) // 8}d", raw[8 + n + at[0]:8 + n + at[1]])
scores, rows = values("circuit.edge_score"), header["circuit.curve_faithfulness"]["shape"]
assert rows[0] == 24 and header["circuit.edge_score"]["shape"] == [24, 5]
assert all(scores[i] == scores[i % 5] for i in range(len(scores)))  # one circuit for all
curve = values("circuit.curve_faithfulness")
whole = [curve[i * rows[1] + rows[1] - 1] for i in range(24)]
assert whole == [1.0] * 24, whole
END
check 'one pair' sh -c "'$program' sweep --pairs '$work/single.jsonl' --do patch | grep -q 'mean over 1 pair \['"
check 'one pair without draws' sh -c "'$program' sweep --pairs '$work/single.jsonl' --draws 0 | grep -q 'over 1 pair, the'"
expect 1 'source prompt has 1 token and the prompt 2' sweep --text 'a b' --source a --do patch
echo '{"clean": "a", "corrupt": "a b", "target": " d"}' >"$work/unequal.jsonl"
expect 1 'the clean prompt has 1 token and the corrupt one 2' sweep --pairs "$work/unequal.jsonl"
echo '{"clean": "the old man saw the sea", "corrupt": "a man saw the sea", "target": " and"}' >"$work/one.jsonl"
check 'prompts of other lengths' "$program" analyze --pairs "$work/one.jsonl" --align end --draws 0 \
    --plugin circuit:edges=5 >"$work/log"
expect 1 'align them by end' analyze --pairs "$work/one.jsonl" --plugin circuit:edges=5
conclude
