#!/usr/bin/env python3
"""Golden values per pair of models/pairs/pronouns.jsonl on the embedded model, by TransformerLens.

    tests/tools/make_pairs_golden.py          writes tests/golden/pairs/

One run_with_hooks per pair and change, on one prompt each, in float32. lengths.jsonl has prompts of
different lengths, whose rows are patched as they are aligned: from the end, and by spans.
"""
import json
import pathlib

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_parity_golden import open_lens, open_transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "golden" / "pairs"
MODEL = ROOT.parent / "models" / "books-5m"
SET = ROOT.parent / "models" / "pairs" / "pronouns.jsonl"
LENGTHS = [
    {"clean": [300, 512, 77, 901, 45], "corrupt": [512, 78, 902, 45], "target": 10, "contrast": 20,
     "spans": {"a": {"clean": [1, 2], "corrupt": [0, 1]}}},
    {"clean": [9, 700, 12], "corrupt": [1, 2, 3, 700, 13], "target": 30, "contrast": 40,
     "spans": {"a": {"clean": [0, 0], "corrupt": [2, 2]}, "b": [1, 1]}},
]
POINT = "blocks.1.hook_resid_pre"


class Lens:
    def __init__(self):
        self.lens = open_lens(open_transformers(str(MODEL)), Model(str(MODEL)).config)
        self.tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))

    def ids(self, prompt):
        return self.tokenizer.encode(prompt).ids if isinstance(prompt, str) else prompt

    def value(self, pair, hooks=()):
        """z_target - z_contrast at the clean prompt's last row, with hooks."""
        a, b = self.ids(pair["target"]) if isinstance(pair["target"], str) else [pair["target"]], \
            self.ids(pair["contrast"]) if isinstance(pair["contrast"], str) else [pair["contrast"]]
        assert len(a) == len(b) == 1
        with torch.no_grad():
            z = self.lens.run_with_hooks(
                torch.tensor([self.ids(pair["clean"])]), fwd_hooks=list(hooks))[0, -1]
        return float(z[a[0]].double() - z[b[0]].double())

    def cache(self, pair):
        with torch.no_grad():
            return self.lens.run_with_cache(torch.tensor([self.ids(pair["corrupt"])]))[1]


def patched_head(cache, head):
    def hook(value, hook):
        value[:, :, head] = cache[hook.name][:, :, head]
        return value
    return hook


def patched_rows(cache, rows):
    """rows: pairs of a clean position and a corrupt one."""
    def hook(value, hook):
        for p, q in rows:
            value[0, p] = cache[hook.name][0, q]
        return value
    return hook


def end_rows(pair):
    n, m = len(pair["clean"]), len(pair["corrupt"])
    return [(n - i, m - i) for i in range(1, min(n, m) + 1)]


def span_rows(pair):
    rows = [(len(pair["clean"]) - 1, len(pair["corrupt"]) - 1)]
    for span in pair["spans"].values():
        clean, corrupt = (span, span) if isinstance(span, list) else (span["clean"], span["corrupt"])
        rows += list(zip(range(clean[0], clean[1] + 1), range(corrupt[0], corrupt[1] + 1)))
    return rows


def main():
    lens, out = Lens(), {}
    pairs = [json.loads(line) for line in open(SET)]
    layers, heads = lens.lens.cfg.n_layers, lens.lens.cfg.n_heads
    base, source, sweep = [], [], []
    for pair in pairs:
        base.append(lens.value(pair))
        source.append(lens.value({**pair, "clean": pair["corrupt"]}))
        cache = lens.cache(pair)
        sweep.append([[lens.value(pair, [(f"blocks.{l}.attn.hook_z", patched_head(cache, h))])
                       - base[-1] for h in range(heads)] for l in range(layers)])
    out["base_value"], out["source_value"] = np.array(base), np.array(source)
    out["sweep"] = np.array(sweep)  # [pairs, layers, heads]
    for name, rows_of in (("end", end_rows), ("spans", span_rows)):
        out[name] = np.array([
            lens.value(p, [(POINT, patched_rows(lens.cache(p), rows_of(p)))]) - lens.value(p)
            for p in LENGTHS])
    OUT.mkdir(exist_ok=True)
    save_file(out, str(OUT / "pronouns.safetensors"))
    (OUT / "lengths.jsonl").write_text("".join(json.dumps(p) + "\n" for p in LENGTHS))
    print({k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
