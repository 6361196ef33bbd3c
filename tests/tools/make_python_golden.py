#!/usr/bin/env python3
"""Makes tests/golden/python: what TransformerLens's methods return, for the Python package.

  make_python_golden.py        VARIANT.safetensors, lens.json, and text.json

The models are those of tests/golden/parity, which holds every entry of their caches. Here are
batches, decompositions and their labels, attributions of logits, weights, and the logits after
the edits of lens_calls.py. The JSON files hold names, shapes, labels and texts. TransformerLens
runs with fold_ln, as for tests/golden/parity; arrays whose name starts with "raw/" come from the
same model without any processing.
"""

import json
import os
import sys
import tempfile

import gptneox_float64
import make_parity_golden as parity
try:
    import numpy as np
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None
import parity_models
try:
    import torch
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None
from lens_calls import EDITS, KEPT, RAW, RUNS, cases, without_rotated
try:
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
OUT = os.path.join(ROOT, "tests", "golden", "python")
WEIGHTS = ("parallel_f32", "no_attention_bias", "tied_f32")  # variants whose weights are kept
SLICED = ("parallel_f32", "sequential_f32", "odd_sizes")  # ... whose cache of rows 2 to 4 is kept
TEXTS = [
    "It was a dark and stormy night.",
    "  Two  spaces\nand a line",
    "naïve café — “quoted”",
    "東京 🙂!",
    "x",
    "The cat sat on the mat, the dog on the cat.",
]
TOKENS = [" the", " and", "The", "x"]


def tokens_of(folder, config):
    """[2, 9]: the parity golden's prompt, and another one."""
    from safetensors import safe_open

    with safe_open(os.path.join(folder, "golden.safetensors"), "np") as file:
        first = file.get_tensor("tokens")
    second = np.random.default_rng(77).integers(0, config["d_vocab"], len(first))
    return np.stack([first, second]).astype(np.int64)


class Golden:
    """Arrays and labels of one model."""

    def __init__(self):
        self.arrays, self.labels = {}, {}

    def keep(self, name, value):
        """An array, or an array with its labels."""
        if isinstance(value, tuple):
            value, self.labels[name] = value[0], list(value[1])
        assert name not in self.arrays, name
        self.arrays[name] = value.detach().to(torch.float32).clone().contiguous()


# --- one model ---------------------------------------------------------------------------------


def keep_runs(golden, lens, ids, full):
    """Names and shapes of every run; values of what stopped, and of one with pos_slice if full."""
    found = {}
    for name, options in RUNS.items():
        options = dict(options)
        lens.cfg.use_attn_result = name == "results"
        given = ids[:1] if options.pop("one", False) else ids
        if "pos_slice" in options:
            options["names_filter"] = without_rotated
        out, cache = lens.run_with_cache(given, **options)
        found[name] = {
            "output": list(out.shape),
            "entries": {key: list(cache[key].shape) for key in cache},
        }
        if "stop_at_layer" in options:
            golden.keep(f"{name}: output", out)
        if name == "three positions" and full:
            for key in cache:
                golden.keep(f"{name}: {key}", cache[key])
    lens.cfg.use_attn_result = True
    golden.labels["runs"] = found


def keep_edits(golden, lens, ids, plain):
    for name, hooks in EDITS.items():
        logits = lens.run_with_hooks(ids, fwd_hooks=hooks)
        assert (logits - plain).abs().max() > 1e-3, f"{name} changes nothing"
        golden.keep(f"{name}: logits", logits[:, KEPT])


def keep_weights(golden, raw):
    for name in ("W_E", "W_U", "b_U"):
        golden.keep(f"raw/{name}", getattr(raw, name))
    for name in (
        "W_Q",
        "W_K",
        "W_V",
        "W_O",
        "W_in",
        "W_out",
        "b_Q",
        "b_K",
        "b_V",
        "b_O",
        "b_in",
        "b_out",
    ):
        golden.keep(f"raw/{name}", getattr(raw, name)[1])
    for ln in ("ln1", "ln2"):
        golden.keep(f"raw/{ln}_w", getattr(raw.blocks[1], ln).w)
        golden.keep(f"raw/{ln}_b", getattr(raw.blocks[1], ln).b)
    golden.keep("raw/accumulated_bias", raw.accumulated_bias(2))


def check_float64(folder, ids, cache, logits):
    """TransformerLens's batch against the float64 forward."""
    exact = gptneox_float64.Model(folder)
    for row in range(len(ids)):
        want = exact.forward(ids[row].tolist())
        parity.check("logits", logits[row], want["hook_logits"])
        for name in parity.points(exact.config):
            parity.check(name, cache[name][row], want[name])


def make_variant(name, golden):
    folder = os.path.join(parity.OUT, name)
    config = gptneox_float64.read_config(folder)
    tokens = tokens_of(folder, config)
    ids = torch.from_numpy(tokens)
    lens = parity.open_lens(parity.open_transformers(folder), config)
    raw = parity.open_lens(parity.open_transformers(folder), config, fold_ln=False)
    logits, cache = lens.run_with_cache(ids)
    check_float64(folder, tokens, cache, logits)
    golden.arrays["tokens"] = torch.from_numpy(tokens.astype(np.int32))
    golden.keep("logits", logits)
    for case, function in cases(config["parallel"]).items():
        golden.keep(case, function(cache, ids))
    _, raw_cache = raw.run_with_cache(ids)
    for case, function in RAW.items():
        golden.keep(f"raw/{case}", function(raw_cache, ids))
    keep_edits(golden, lens, ids, logits)
    keep_runs(golden, lens, ids, name in SLICED)
    if name in WEIGHTS:
        keep_weights(golden, raw)


# --- texts -------------------------------------------------------------------------------------


def make_text(folder):
    """Tokens of texts by the embedded model's tokenizer."""
    config = gptneox_float64.read_config(folder)
    lens = parity.open_lens(parity.open_transformers(folder), config)
    with tempfile.TemporaryDirectory() as whole:  # TransformerLens opens it again from a folder
        end = "<|endoftext|>"
        PreTrainedTokenizerFast(
            tokenizer_file=os.path.join(folder, "tokenizer.json"),
            bos_token=end,
            eos_token=end,
            unk_token=end,
            clean_up_tokenization_spaces=False,
        ).save_pretrained(whole)
        lens.set_tokenizer(AutoTokenizer.from_pretrained(whole), default_padding_side="right")
    lens.cfg.default_prepend_bos = False
    texts = [
        {
            "text": text,
            "to_tokens": lens.to_tokens(text).tolist(),
            "to_tokens, bos": lens.to_tokens(text, prepend_bos=True).tolist(),
            "to_str_tokens": lens.to_str_tokens(text),
            "to_string": lens.to_string(lens.to_tokens(text)[0]),
        }
        for text in TEXTS
    ]
    positions = [
        [token, lens.get_token_position(token, TEXTS[-1], mode=mode), mode]
        for token in (" cat", " the")
        for mode in ("first", "last")
    ]
    return {
        "texts": texts,
        "to_single_token": {t: lens.to_single_token(t) for t in TOKENS},
        "get_token_position": positions,
    }


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    os.makedirs(OUT, exist_ok=True)
    labels = {}
    for name in parity_models.VARIANTS:
        golden = Golden()
        make_variant(name, golden)
        path = os.path.join(OUT, f"{name}.safetensors")
        save_file(golden.arrays, path)
        os.chmod(path, 0o644)
        labels[name] = golden.labels
        print(name)
    with open(os.path.join(OUT, "lens.json"), "w", encoding="utf-8") as file:
        json.dump(labels, file, indent=None, separators=(",", ":"))
        file.write("\n")
    with open(os.path.join(OUT, "text.json"), "w", encoding="utf-8") as file:
        json.dump(make_text(os.path.join(ROOT, "models", "books-5m")), file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
