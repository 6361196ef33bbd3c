#!/usr/bin/env python3
"""Golden trees of minimal cuts of the embedded model, in float64.

    tests/tools/make_structure_golden.py [--pick TEXTS]      writes tests/golden/structure/

sentences.txt holds 100 sentences of public-domain books, one per line; --pick chooses them anew from a file
of candidates (one per line): those are left out whose trees have a cut less than MARGIN (relative) from the
next one, so that float32 noise (at most 3e-6) cannot swap two cuts. trees.safetensors:
  tokens [sum T] with BOS in front of each sentence, token_start [101]
  brackets [level, power, reads, sum (T - 2), 3]: begin, end, split over tokens, in pre-order; bracket_start [101]
  strength [level, power, reads, sum (T - 2)]; levels 0, 1, 2, 3, 1+2; powers 1/2, 1; reads norm, weight
  word_begin [sum (words + 1)], word_start [101]; word_brackets, word_strength [level, ...]: power 1/2, norm;
  word_bracket_start [101]
  closure [layer, sum (T - 1)] at token_start[i] - i
Splits and brackets count tokens (words) after BOS from 0.
"""
import argparse
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from structure_float64 import LEVELS, closure, level_reads, tree, unit_reads, word_begins

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "structure"
FOLDER = ROOT / "models" / "books-5m"
POWERS, READS, MARGIN, SENTENCES = (0.5, 1.0), (False, True), 5e-5, 100


def sentence(model, tokenizer, text):
    """Everything of one sentence: token and word trees, closure, least margin."""
    ids = tokenizer.encode(text).ids
    ids, pieces = [0] + ids, [tokenizer.decode([i]) for i in ids]
    assert "".join(pieces) == text, text
    out, begin = model.forward(ids), word_begins(pieces)
    trees = []
    for level in LEVELS:
        R = {weight: level_reads(model, out, level, weight) for weight in READS}
        trees.append([[tree(R[weight], np.ones(len(R[weight])), power) for weight in READS]
                      for power in POWERS])
    words = [tree(unit_reads(level_reads(model, out, level), begin), np.diff(begin), 0.5)
             for level in LEVELS]
    every = [t for level in trees for power in level for t in power] + words
    return {"ids": ids, "begin": begin, "trees": trees, "words": words,
            "closure": closure(model, out), "margin": min(b[4] for t in every for b in t)}


def pick(model, tokenizer, path):
    """Candidates in file order without those that have two cuts too close."""
    chosen = []
    for text in path.read_text(encoding="utf-8").splitlines():
        if len(chosen) < SENTENCES and sentence(model, tokenizer, text)["margin"] > MARGIN:
            chosen.append(text)
    (GOLDEN / "sentences.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")


def starts(lists):
    return np.cumsum([0] + [len(x) for x in lists]).astype(np.int32)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--pick", type=pathlib.Path, help="candidates, one per line")
    a = p.parse_args()
    model, tokenizer = Model(FOLDER), Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    if a.pick:
        pick(model, tokenizer, a.pick)
    texts = (GOLDEN / "sentences.txt").read_text(encoding="utf-8").splitlines()
    all_ = [sentence(model, tokenizer, text) for text in texts]
    assert len(all_) == SENTENCES and min(s["margin"] for s in all_) > MARGIN

    # [sentence, level, power, reads] of lists of (begin, end, split, strength, margin)
    tokens = [np.array([[[[b[:4] for b in t] for t in power] for power in level]
                        for level in s["trees"]]) for s in all_]
    words = [np.array([[b[:4] for b in t] for t in s["words"]]) for s in all_]
    tokens_all, words_all = np.concatenate(tokens, 3), np.concatenate(words, 1)
    save_file({
        "tokens": np.concatenate([s["ids"] for s in all_]).astype(np.int32),
        "token_start": starts([s["ids"] for s in all_]),
        "brackets": tokens_all[..., :3].astype(np.uint8),
        "strength": tokens_all[..., 3].astype(np.float32),
        "bracket_start": starts([t[0, 0, 0] for t in tokens]),
        "word_begin": np.concatenate([s["begin"] for s in all_]).astype(np.int32),
        "word_start": starts([s["begin"] for s in all_]),
        "word_brackets": words_all[..., :3].astype(np.uint8),
        "word_strength": words_all[..., 3].astype(np.float32),
        "word_bracket_start": starts([w[0] for w in words]),
        "closure": np.concatenate([s["closure"] for s in all_], 1).astype(np.float32),
    }, GOLDEN / "trees.safetensors")
    print("least margin", min(s["margin"] for s in all_))


if __name__ == "__main__":
    main()
