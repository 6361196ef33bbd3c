#!/usr/bin/env python3
"""Checks the claims of docs/from_transformerlens.md against TransformerLens on the embedded model.

    PYTHONPATH=python PYTHIASCOPE_LIBRARY=build/release/libpythiascope.so \
        python3 tests/tools/check_from_transformerlens.py

Needs transformer-lens 3.9 (tests/tools/README.md). Prints a line for each claim; exit 1 if one fails.
"""

import sys
from pathlib import Path

try:
    import numpy as np
    import pythiascope
    import torch
    from transformer_lens import (
        FactoredMatrix, HookedTransformer, HookedTransformerConfig, head_detector, patching)
    from transformer_lens.pretrained.weight_conversions.neox import convert_neox_weights
    from transformers import GPTNeoXForCausalLM
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models/books-5m"
TEXT = "There was once a giant named Grumbold. Nobody in the village had ever seen Grumb"
SOURCE = "There was once a giant named Lumbert. Nobody in the village had ever seen Lumb"
RAW = dict.fromkeys(
    ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"), False)
failed = []


def open_lens(**processing):
    """The embedded model in TransformerLens; without arguments processed as from_pretrained does."""
    hf = GPTNeoXForCausalLM.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager")
    c = hf.config
    d_head = c.hidden_size // c.num_attention_heads
    cfg = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_ctx=512, d_head=d_head,
        n_heads=c.num_attention_heads, d_mlp=c.intermediate_size, d_vocab=c.vocab_size,
        act_fn="gelu", eps=c.layer_norm_eps, normalization_type="LN", parallel_attn_mlp=True,
        positional_embedding_type="rotary", rotary_dim=d_head // 4, rotary_base=10000,
        rotary_adjacent_pairs=False, device="cpu", use_attn_result=True)
    lens = HookedTransformer(cfg)
    weights = {k: v.detach().clone() for k, v in convert_neox_weights(hf, cfg).items()}
    lens.load_and_process_state_dict(weights, **processing)
    return lens.eval()


def claim(what, holds):
    print("ok   " if holds else "WRONG", what)
    if not holds:
        failed.append(what)


def near(a, b, bound=2e-5):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and np.abs(a - b).max() <= bound


def check_runs(model, ids, raw, full):
    logits, cache = model.run_with_cache(TEXT)
    raw_logits, raw_cache = raw.run_with_cache(ids)
    full_logits, full_cache = full.run_with_cache(ids)
    claim("logits are those of no_processing", near(logits, raw_logits))
    shift = logits.astype(np.float64) - full_logits.numpy()
    claim("processed logits differ by one number per row", np.ptp(shift, axis=-1).max() < 5e-5)
    claim("that number is the row's mean logit", near(shift.mean(-1), logits.mean(-1)))
    equal, other = [], []
    for name in (n for n in cache if n in raw_cache and "scores" not in n):
        claim(f"{name} is that of no_processing", near(cache[name], raw_cache[name], 1e-4))
        (equal if near(cache[name], full_cache[name], 1e-4) else other).append(name)
    ends = {name.split(".", 2)[-1] for name in other}
    claim("processing changes v, z and all writes and residuals", ends == {
        "hook_embed", "hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out",
        "attn.hook_v", "attn.hook_z"} or print(ends))
    claim("scales, q, k, patterns, pre and post are equal", all(
        any(name.endswith(end) for name in equal)
        for end in ("hook_scale", "hook_q", "hook_k", "hook_pattern", "hook_pre", "hook_post")))
    return cache, raw_cache


def share_of(result):
    array = result["contributions"]
    return float(array.values[0, 0][list(array.coords["components"]).index("L3H7")])


def check_attributions(model, ids, cache, raw_cache, full):
    old = model.to_single_token("old")
    fold = open_lens(**{**RAW, "fold_ln": True})
    _, folded = fold.run_with_cache(ids)
    _, processed = full.run_with_cache(ids)
    theirs = [float(c.logit_attrs(c.stack_head_results(layer=-1), old)[31, 0, -1])
              for c in (folded, processed, raw_cache)]
    ours = share_of(model.logits(TEXT, target="old", level="head"))
    centered = share_of(model.logits(TEXT, target="old", level="head", centered=True))
    print("     L3H7: ours", ours, "centered", centered, "theirs: fold_ln, default, raw", theirs)
    claim("share = logit_attrs with fold_ln alone", near(ours, theirs[0]))
    claim("the page's numbers", np.allclose([ours, centered, *theirs],
          [9.63, 9.27, 9.63, 9.21, 5.25], atol=0.006))
    stack = cache.stack_head_results(layer=-1)
    claim("cache.logit_attrs = share", near(cache.logit_attrs(stack, old)[31, 0, -1], ours))
    for name in ("decompose_resid", "get_full_resid_decomposition"):
        a, b = (getattr(c, name)(layer=-1, return_labels=True) for c in (cache, folded))
        claim(f"{name}: labels and values", list(a[1]) == list(b[1]) and near(a[0], b[0], 1e-4))
    a, b = (c.accumulated_resid(layer=-1, apply_ln=True) for c in (cache, raw_cache))
    claim("accumulated_resid with apply_ln = that of no_processing", near(a, b))
    x = folded.accumulated_resid(layer=-1)[:, 0, -1]
    x = x - x.mean(-1, keepdim=True)
    z = (x / (x.pow(2).mean(-1, keepdim=True) + fold.cfg.eps).sqrt()) @ fold.W_U + fold.b_U
    lens = model.lens(TEXT, target="old")["log_prob"].values.ravel()
    claim("lens = unembed(ln_final(accumulated_resid))", near(lens, z.log_softmax(-1)[:, old]))


def check_interventions(model, ids, raw):
    other = torch.tensor(np.atleast_2d(model.to_tokens(SOURCE)))
    old = model.to_single_token("old")
    _, source = raw.run_with_cache(other)
    theirs = patching.get_act_patch_resid_pre(raw, ids, source, lambda z: z[0, -1, old])
    swept = model.sweep(TEXT, over="resid_pre", do="patch", source=SOURCE, target="old")
    before = float(model(TEXT)[0, -1, old])
    claim("sweep = get_act_patch_resid_pre - before",
          near(swept["effect"].values[0] + before, theirs))

    def zero(z, hook):
        z[:, :, 7] = 0
        return z

    hooks = [("blocks.3.attn.hook_z", zero)]
    a, b = model.run_with_hooks(TEXT, fwd_hooks=hooks), raw.run_with_hooks(ids, fwd_hooks=hooks)
    claim("run_with_hooks", near(a, b))
    dz = model.effects(TEXT, target="old", interventions=pythiascope.ablate("L3H7"))["dz"]
    claim("ablate = that hook", near(dz.values[0, 0], a[0, -1, old] - before))


def check_weights(model, ids, full):
    weights = model.weights()
    for kind, pair in (("OV", (full.W_V[3, 7], full.W_O[3, 7])),
                       ("QK", (full.W_Q[3, 7], full.W_K[3, 7].T))):
        values = FactoredMatrix(*pair).svd()[1][:32]
        claim(f"spectrum_W_{kind}", near(weights[f"spectrum_W_{kind}"].values[3, 7], values))
    for kind in "QKV":
        theirs = full.all_composition_scores(kind)
        ours = np.nan_to_num(weights[f"{kind.lower()}_composition"].values)
        claim(f"{kind}-composition", near(ours, theirs, 1e-6))
    _, cache = full.run_with_cache(ids, remove_batch_dim=True)
    full.cfg.default_prepend_bos = False
    full.to_tokens = lambda *_, **__: ids  # it has no tokenizer
    theirs = head_detector.detect_head(full, TEXT, "previous_token_head", cache=cache)
    attention = model.attention(TEXT)["tl_detect"]
    ours = attention.sel(kinds="previous_token").values
    claim("tl_detect = detect_head", near(ours, theirs, 5e-4))


def main():
    torch.set_grad_enabled(False)
    model = pythiascope.Model()
    ids = torch.tensor(np.atleast_2d(model.to_tokens(TEXT)))
    raw, full = open_lens(**RAW), open_lens()
    cache, raw_cache = check_runs(model, ids, raw, full)
    check_attributions(model, ids, cache, raw_cache, full)
    check_interventions(model, ids, raw)
    check_weights(model, ids, full)
    claim("no BOS in front", model.to_tokens(TEXT)[0, 0] != model.cfg.bos_id)
    print(f"{len(failed)} wrong")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
