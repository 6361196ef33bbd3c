#!/usr/bin/env python3
"""Makes tests/golden/python: what TransformerLens's methods return, for the Python package.

  make_python_golden.py        VARIANT.safetensors, lens.json, and text.json

The models are those of tests/golden/parity, which holds every entry of their caches. Here are
batches, decompositions and their labels, attributions of logits, weights, and the logits after
the edits of lens_edits.py. The JSON files hold names, shapes, labels and texts. TransformerLens
runs with fold_ln, as for tests/golden/parity; arrays whose name starts with "raw/" come from the
same model without any processing.
"""
import json
import os
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import gptneox_float64
import lens_edits
import make_parity_golden as parity
import parity_models

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
OUT = os.path.join(ROOT, "tests", "golden", "python")
WEIGHTS = ("parallel_f32", "no_attention_bias", "tied_f32")  # variants whose weights are kept
SLICED = ("parallel_f32", "sequential_f32", "odd_sizes")  # ... whose cache of rows 2 to 4 is kept
KEPT = [3, 5, 8]  # rows of the logits after edits
TEXTS = ["It was a dark and stormy night.", "  Two  spaces\nand a line", "naïve café — “quoted”",
         "東京 🙂!", "x", "The cat sat on the mat, the dog on the cat."]
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


# --- what is asked, of TransformerLens here and of the package in test_transformer_lens.py ------

def cases(config):
    """{name: function of (cache, ids)}, on the cache of the batch."""
    found = {
        "stack_head_results": lambda c, _: c.stack_head_results(return_labels=True),
        "stack_head_results, layer 1": lambda c, _: c.stack_head_results(
            1, return_labels=True, incl_remainder=True, pos_slice=(2, 4)),
        "stack_head_results, last row": lambda c, _: c.stack_head_results(
            -1, return_labels=True, incl_remainder=True, pos_slice=-1, apply_ln=True),
        "decompose_resid": lambda c, _: c.decompose_resid(return_labels=True),
        "decompose_resid, layer 1": lambda c, _: c.decompose_resid(
            1, apply_ln=True, pos_slice=(2, 4), return_labels=True),
        "decompose_resid, attn": lambda c, _: c.decompose_resid(
            mode="attn", incl_embeds=False, pos_slice=[1, 3], return_labels=True),
        "decompose_resid, mlp": lambda c, _: c.decompose_resid(
            mode="mlp", apply_ln=True, pos_slice=-1, return_labels=True),
        "accumulated_resid": lambda c, _: c.accumulated_resid(return_labels=True),
        "accumulated_resid, layer 1": lambda c, _: c.accumulated_resid(
            1, apply_ln=True, pos_slice=(2, 4), return_labels=True),
        "get_full_resid_decomposition": lambda c, _: c.get_full_resid_decomposition(
            expand_neurons=False, return_labels=True, pos_slice=(7, 9)),
        "get_full_resid_decomposition, layer 1": lambda c, _: c.get_full_resid_decomposition(
            1, apply_ln=True, return_labels=True, pos_slice=-1),
        "stack_neuron_results": lambda c, _: c.stack_neuron_results(
            -1, neuron_slice=(0, 7), pos_slice=-1, return_labels=True, incl_remainder=True),
        "get_neuron_results": lambda c, _: c.get_neuron_results(
            1, neuron_slice=(3, 6), pos_slice=(2, 4)),
        "stack_activation, z": lambda c, _: c.stack_activation("z"),
        "stack_activation, scale": lambda c, _: c.stack_activation("scale", 1, "ln2"),
        "logit_attrs": lambda c, _: c.logit_attrs(c.decompose_resid(), 7),
        "logit_attrs, contrast": lambda c, _: c.logit_attrs(c.stack_head_results(), 7, 9),
        "logit_attrs, batch": lambda c, ids: c.logit_attrs(
            c.decompose_resid(pos_slice=-1), ids[:, -1], pos_slice=-1),
        "logit_attrs, each": lambda c, ids: c.logit_attrs(c.decompose_resid(), ids, ids * 0 + 2),
        "logit_attrs, one sequence": lambda c, _: c.logit_attrs(
            c.decompose_resid(pos_slice=(4, 6)), 11, pos_slice=(4, 6), batch_slice=1),
    }
    if not config["parallel"]:
        found |= {
            "decompose_resid, mlp_input": lambda c, _: c.decompose_resid(
                1, mlp_input=True, apply_ln=True, return_labels=True),
            "accumulated_resid, incl_mid": lambda c, _: c.accumulated_resid(
                incl_mid=True, return_labels=True),
            "accumulated_resid, mlp_input": lambda c, _: c.accumulated_resid(
                1, incl_mid=True, mlp_input=True, apply_ln=True, return_labels=True),
        }
    return found


RAW = {"accumulated_resid, logit lens": lambda c, _: c.accumulated_resid(
    apply_ln=True, pos_slice=(7, 9), return_labels=True)}

# Arguments of run_with_cache whose entries' names and shapes are kept. With pos_slice, those of
# hook_rot_q and hook_rot_k are left out: TransformerLens slices their heads.
RUNS = {
    "everything": {},
    "one position": {"pos_slice": -1},
    "three positions": {"pos_slice": (2, 5)},
    "some positions": {"pos_slice": [0, 4, 8]},
    "one layer": {"stop_at_layer": 1},
    "but the last layer": {"stop_at_layer": -1},
    "no layer": {"stop_at_layer": 0},
    "a name": {"names_filter": "blocks.1.attn.hook_z"},
    "names": {"names_filter": ["hook_embed", "blocks.0.mlp.hook_post"]},
    "a predicate": {"names_filter": lambda name: name.endswith("resid_post")},
    "results": {"names_filter": lambda name: name.endswith("hook_result")},
    "one sequence": {"one": True, "remove_batch_dim": True, "pos_slice": (2, 5)},
}


# --- one model ---------------------------------------------------------------------------------

def keep_runs(golden, lens, ids, full):
    """Names and shapes of every run; values of what stopped, and of one with pos_slice if full."""
    found = {}
    for name, options in RUNS.items():
        options = dict(options)
        lens.cfg.use_attn_result = name == "results"
        given = ids[:1] if options.pop("one", False) else ids
        if "pos_slice" in options:
            options["names_filter"] = lambda key: "rot_" not in key
        out, cache = lens.run_with_cache(given, **options)
        found[name] = {"output": list(out.shape),
                       "entries": {key: list(cache[key].shape) for key in cache.keys()}}
        if "stop_at_layer" in options:
            golden.keep(f"{name}: output", out)
        if name == "three positions" and full:
            for key in cache.keys():
                golden.keep(f"{name}: {key}", cache[key])
    lens.cfg.use_attn_result = True
    golden.labels["runs"] = found


def keep_edits(golden, lens, ids, plain):
    for name, hooks in lens_edits.EDITS.items():
        logits = lens.run_with_hooks(ids, fwd_hooks=hooks)
        assert (logits - plain).abs().max() > 1e-3, f"{name} changes nothing"
        golden.keep(f"{name}: logits", logits[:, KEPT])


def keep_weights(golden, raw):
    for name in ("W_E", "W_U", "b_U"):
        golden.keep(f"raw/{name}", getattr(raw, name))
    for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out",
                 "b_Q", "b_K", "b_V", "b_O", "b_in", "b_out"):
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
    for case, function in cases(config).items():
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
            tokenizer_file=os.path.join(folder, "tokenizer.json"), bos_token=end, eos_token=end,
            unk_token=end, clean_up_tokenization_spaces=False).save_pretrained(whole)
        lens.set_tokenizer(AutoTokenizer.from_pretrained(whole), default_padding_side="right")
    lens.cfg.default_prepend_bos = False
    texts = [{"text": text, "to_tokens": lens.to_tokens(text).tolist(),
              "to_tokens, bos": lens.to_tokens(text, prepend_bos=True).tolist(),
              "to_str_tokens": lens.to_str_tokens(text),
              "to_string": lens.to_string(lens.to_tokens(text)[0])} for text in TEXTS]
    positions = [[token, lens.get_token_position(token, TEXTS[-1], mode=mode), mode]
                 for token in (" cat", " the") for mode in ("first", "last")]
    return {"texts": texts, "to_single_token": {t: lens.to_single_token(t) for t in TOKENS},
            "get_token_position": positions}


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
