#!/usr/bin/env python3
"""Scores of transformers for the verb score: a small golden file, and a check of every example.

    tests/tools/make_score_golden.py                       writes tests/golden/score/examples.jsonl
    tests/tools/make_score_golden.py --check SCORES.jsonl [--dtype float32] [--limit N]

The golden file has sentences of our own, each with the sums of transformers in float64 ("sums"),
the tokens of each continuation and how many of them are greedy; the verb ignores these keys.
--check takes the lines of `pythiascope score FILE... --examples SCORES.jsonl`, scores the same
examples and prints the largest difference of a sum, the examples whose guess differs, and
accuracies by phenomenon.
"""

import argparse
import collections
import json
import pathlib
import sys

try:
    import torch
    import transformers
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "books-5m"
BATCH, BLOCK = 64, 512
NEAR = 1e-3  # nats; float32 decides no closer pair

PAIRS = [
    ("The boys in the garden were singing.", "The boys in the garden was singing."),
    ("She has never seen the sea.", "She have never seen the sea."),
    ("The dog that barked slept soundly.", "The dog that barked sleep soundly."),
    ("He gave the letter to his sister.", "He gave the letter to her brother's."),
    ("Nobody had any bread left.", "Somebody had any bread left."),
    ("These old houses stand empty.", "This old houses stand empty."),
    ("The queen admired herself in the glass.", "The queen admired himself in the glass."),
    ("There was a light in the window.", "There was each light in the window."),
    ("Who did you see at the station?", "Who did you see him at the station?"),
    ("I wonder what the captain said.", "I wonder that the captain said what."),
    ("They had gone before we came.", "They had went before we came."),
    ("The children were frightened by the storm.", "The children was frightened by the storm."),
    ("A tall man opened the door.", "A tall man opened the."),
    ("Every sailor knows his own ship.", "Every sailors knows his own ship."),
    ("It seemed that the rain would stop.", "It hoped that the rain would stop."),
    ("Ella ran home\u2014and wept.", "Ella ran home\u2014and weeped."),
]
CHOICES = [
    ("The sun rose over the", [" sea", " because", " quickly of"], 0),
    ('"Good morning," said the', [" old man", " upon until", " and of the"], 0),
    ("She shut the door and", [" went upstairs", " upstairs went the", " had of"], 0),
    ("Once upon a time there was a ", ["king", "were", "slowly"], 0),
    ("The cat sat by the fire; the cat", [" of the by", " fell asleep", " asleep fell the"], 1),
    ("The cat sat by the fire; the dog", [" of the by", " barked loudly", " loudly the fire"], 1),
    ("He drew his sword.\n", ["The men fell back.", "Fell the men of back.", "Back of."], 0),
    ("", ["In the beginning", "Beginning the in", "The of"], 0),
    ("He paid two shillings, not", [" three", " the", " pay"], 0),
    ("caf\u00e9 and th\u00e9, th\u00e9 and caf", ["\u00e9", " and", " of"], 0),
]
TEXTS = [
    "He looked up at the ship, and the captain looked down from the ship",
    "My name is Tom, and everybody in the village calls me Tom",
    "She waited all day for him to come, but he did not come",
    "There were three of them at first, but in the end there were only two",
    "It was the best of times, it was the worst of times",
    "The door was open, and the wind came in through the open door",
]


def golden_examples():
    for i, (good, bad) in enumerate(PAIRS):
        yield {"id": i, "group": "pairs", "good": good, "bad": bad}
    for i, (prefix, choices, answer) in enumerate(CHOICES):
        yield {
            "id": f"c{i}",
            "group": "choices",
            "prefix": prefix,
            "choices": choices,
            "answer": answer,
        }
    for text in TEXTS:
        yield {"group": "texts", "text": text}


def parts_of(line):
    """(prefix, choices) of an example."""
    if "choices" in line:
        return line.get("prefix", ""), line["choices"]
    if "text" in line:
        at = line["text"].rindex(" ")
        return line["text"][:at], [line["text"][at:]]
    keys = ("good", "bad") if "good" in line else ("sentence_good", "sentence_bad")
    return "", [line[k] for k in keys]


def split(tokenizer, prefix, choice):
    """Ids of the whole and the first of the continuation, as lm-evaluation-harness splits them."""
    kept = prefix.rstrip()
    ids = tokenizer(prefix + choice, add_special_tokens=False)["input_ids"]
    n = len(tokenizer(kept, add_special_tokens=False)["input_ids"]) if kept else 0
    if n == 0:
        return [tokenizer.bos_id, *ids], 1
    return ids, n


class Scorer:
    def __init__(self, dtype):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            MODEL, dtype=torch.float32, attn_implementation="sdpa"
        ).to(dtype)
        self.tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(MODEL / "tokenizer.json")
        )
        self.tokenizer.bos_id = self.model.config.bos_token_id

    def __call__(self, requests):
        """(sum, tokens, greedy) of each (prefix, choice)."""
        split_ids = [split(self.tokenizer, *r) for r in requests]
        order = sorted(range(len(split_ids)), key=lambda i: len(split_ids[i][0]))
        out = [None] * len(order)
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            for i, one in zip(batch, self.batch([split_ids[i] for i in batch]), strict=True):
                out[i] = one
        return out

    @torch.no_grad()
    def batch(self, split_ids):
        longest = max(len(ids) for ids, _ in split_ids)
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in split_ids])
        mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in split_ids])
        z = self.model(padded, attention_mask=mask).logits
        log_z, best = torch.logsumexp(z, -1), z.argmax(-1)
        for row, (ids, start) in enumerate(split_ids):
            at, rows = torch.tensor(ids[start:]), slice(start - 1, len(ids) - 1)
            own = z[row, rows].gather(1, at[:, None])[:, 0] - log_z[row, rows]
            greedy = int((best[row, rows] == at).sum())
            yield float(own.double().sum()), len(at), greedy


def write_golden():
    score = Scorer(torch.float64)
    folder = ROOT / "tests" / "golden" / "score"
    folder.mkdir(exist_ok=True)
    with open(folder / "examples.jsonl", "w", encoding="utf-8") as out:
        for line in golden_examples():
            prefix, choices = parts_of(line)
            scores = [score([(prefix, c)])[0] for c in choices]  # alone: without padding
            line["sums"] = [s[0] for s in scores]
            line["tokens"] = [s[1] for s in scores]
            line["greedy"] = [s[2] for s in scores]
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def phenomenon_of(line, scored):
    return line.get("linguistics_term") or line.get("phenomenon") or scored["group"]


def check(path, dtype, limit):
    score, exact = Scorer(getattr(torch, dtype)), Scorer(torch.float64)
    lines, worst, other, near = {}, 0.0, [], 0
    right = collections.defaultdict(lambda: [0, 0, 0])
    text = pathlib.Path(path).read_text(encoding="utf-8")
    scored = [json.loads(x) for x in text.splitlines()][:limit]
    for begin in range(0, len(scored), BLOCK):
        if begin % (4 * BLOCK) == 0:
            print(f"{begin} of {len(scored)} examples", file=sys.stderr)
        block, requests = scored[begin : begin + BLOCK], []
        for one in block:
            file = one["file"]
            if file not in lines:
                lines[file] = pathlib.Path(file).read_text(encoding="utf-8").split("\n")
            prefix, choices = parts_of(json.loads(lines[file][one["line"] - 1]))
            requests += [(prefix, c) for c in choices]
        theirs = score(requests)
        at = 0
        for one in block:
            line = json.loads(lines[one["file"]][one["line"] - 1])
            sums = [s[0] for s in theirs[at : at + len(one["sums"])]]
            greedy = [s[2] for s in theirs[at : at + len(one["sums"])]]
            at += len(sums)
            if len(sums) > 1 and sorted(sums)[-1] - sorted(sums)[-2] < NEAR:
                prefix, choices = parts_of(line)
                sums = [exact([(prefix, c)])[0][0] for c in choices]
                near += 1
            worst = max(worst, *(abs(a - b) for a, b in zip(sums, one["sums"], strict=True)))
            guess = sums.index(max(sums))
            correct = guess == one["answer"] if len(sums) > 1 else greedy[0] == one["tokens"][0]
            if (guess, correct) != (one["guess"], one["correct"]):
                other.append((one["file"], one["line"], sums, one["sums"]))
            tally = right[phenomenon_of(line, one)]
            tally[0] += 1
            tally[1] += correct
            tally[2] += one["correct"]
    print(f"| phenomenon | examples | transformers ({dtype}) | pythiascope |")
    print("|---|---|---|---|")
    for name in sorted(right):
        n, a, b = right[name]
        print(f"| {name} | {n} | {100 * a / n:.2f} | {100 * b / n:.2f} |")
    n, a, b = (sum(t[i] for t in right.values()) for i in range(3))
    print(f"| all | {n} | {100 * a / n:.2f} | {100 * b / n:.2f} |")
    print(f"largest difference of a sum: {worst:.2e} nats; examples judged otherwise: {len(other)}")
    print(f"{near} examples whose sums are nearer than {NEAR} were scored in float64")
    for one in other[:20]:
        print(*one)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if given.check:
        check(given.check, given.dtype, given.limit)
    else:
        write_golden()


if __name__ == "__main__":
    main()
