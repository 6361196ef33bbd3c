#!/usr/bin/env python3
"""Makes tests/golden/parity: the results of transformers and TransformerLens on small random
models, on edits of them, and on the embedded model; and the error of transformers against float64.

  make_parity_golden.py                        everything that needs no trained model
  make_parity_golden.py --embedded models/books-5m     only embedded.safetensors (after training)

Every value is checked here against the float64 forward before it is written.
"""
import argparse
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import numpy as np
    import torch
    from safetensors.torch import save_file
    from transformers import GPTNeoXForCausalLM
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions.neox import convert_neox_weights
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

import gptneox_float64
import parity_models

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "parity")
N_TOKENS = 9         # for the hook goldens: more than a chunk of 7
N_PROMPTS = 100      # for the accuracy goldens
EMBEDDED_IDS = 128   # logits kept per accuracy prompt of the embedded model


# --- the two references ------------------------------------------------------------------------

def open_transformers(folder):
    model, info = GPTNeoXForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    return model.eval()


def open_lens(model, config, fold_ln=True):
    """TransformerLens with fold_ln, or raw, and no other processing, from a transformers model."""
    cfg = HookedTransformerConfig(
        n_layers=config["n_layers"], d_model=config["d_model"], n_ctx=config["n_ctx"],
        d_head=config["d_head"], n_heads=config["n_heads"], d_mlp=config["d_mlp"],
        d_vocab=config["d_vocab"], act_fn=config["activation"], eps=config["eps"], normalization_type="LN",
        parallel_attn_mlp=config["parallel"], positional_embedding_type="rotary",
        rotary_dim=config["rotary_dims"], rotary_base=config["base"],
        rotary_adjacent_pairs=False, use_attn_result=True, device="cpu")
    for layer in model.gpt_neox.layers:
        for linear in (layer.attention.query_key_value, layer.attention.dense):
            if linear.bias is None:
                linear.bias = torch.nn.Parameter(torch.zeros(linear.out_features))
    lens = HookedTransformer(cfg)
    lens.load_and_process_state_dict(
        {k: v.detach().clone() for k, v in convert_neox_weights(model, cfg).items()},
        fold_ln=fold_ln, center_writing_weights=False, center_unembed=False,
        fold_value_biases=False)
    if config["rope"].get("rope_type", config["rope"].get("type", "default")) != "default":
        copy_rotary(lens, model)
    return lens.eval()


def copy_rotary(lens, model):
    """Gives TransformerLens, which knows no such scaling, the tables of transformers."""
    positions = torch.arange(lens.cfg.n_ctx)[None]
    cos, sin = model.gpt_neox.rotary_emb(torch.zeros(1), positions)
    for block in lens.blocks:
        assert block.attn.rotary_cos.shape == cos[0].shape
        block.attn.rotary_cos.copy_(cos[0])
        block.attn.rotary_sin.copy_(sin[0])


def lens_run(lens, tokens, edits=None):
    """{hook name: float32 array without the batch axis}; hook_logits is the output."""
    out = {}

    def keep(value, hook):
        out[hook.name] = value[0].detach().clone()

    def editor(function):
        def change(value, hook):
            return torch.from_numpy(function(value[0].detach().numpy().copy()))[None]
        return change

    hooks = [(name, editor(f)) for name, f in (edits or {}).items()]
    with torch.no_grad():
        logits = lens.run_with_hooks(torch.tensor(tokens)[None], return_type="logits",
                                     fwd_hooks=hooks + [(lambda n: True, keep)])
    out["hook_logits"] = logits[0]
    return out


# Hook points that both sides have (TransformerLens has more: hook_attn_in, hook_mlp_in, ...).
def points(config):
    names = ["hook_embed"]
    for layer in range(config["n_layers"]):
        at = f"blocks.{layer}."
        names += [at + n for n in (
            "hook_resid_pre", "ln1.hook_scale", "ln1.hook_normalized", "attn.hook_q",
            "attn.hook_k", "attn.hook_v", "attn.hook_rot_q", "attn.hook_rot_k",
            "attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z", "attn.hook_result",
            "hook_attn_out", "ln2.hook_scale", "ln2.hook_normalized", "mlp.hook_pre",
            "mlp.hook_post", "hook_mlp_out", "hook_resid_post")]
        if not config["parallel"]:
            names.append(at + "hook_resid_mid")
    return names + ["ln_final.hook_scale", "ln_final.hook_normalized"]


def check(name, got, exact, limit=1e-4):
    got, exact = np.asarray(got, np.float64), np.asarray(exact)
    assert got.shape == exact.shape, (name, got.shape, exact.shape)
    same = np.isneginf(exact)
    assert (np.isneginf(got) == same).all(), name
    difference = np.abs(np.where(same, 0, got) - np.where(same, 0, exact))
    worst = (difference / (1 + 0.02 * np.abs(np.where(same, 0, exact)))).max()
    assert worst < limit, f"{name}: {worst}"


def tensor(x, kind=np.float32):
    return torch.from_numpy(np.ascontiguousarray(x, kind))


# --- goldens -----------------------------------------------------------------------------------

def hook_golden(folder, tokens, rows=None, layers=None):
    """tokens, logits (transformers) and every hook point (TransformerLens), some rows of them."""
    exact = gptneox_float64.Model(folder)
    model = open_transformers(folder)
    with torch.no_grad():
        logits = model(torch.tensor(tokens)[None]).logits[0].float()
    want = exact.forward(tokens)
    check("logits", logits, want["hook_logits"])
    seen = lens_run(open_lens(model, exact.config), tokens)
    check("TransformerLens's logits", seen["hook_logits"], want["hook_logits"])
    rows = list(range(len(tokens))) if rows is None else rows
    out = {"tokens": tensor(tokens, np.int32), "rows": tensor(rows, np.int32),
           "hook_logits": logits[rows]}
    for name in points(exact.config):
        check(name, seen[name], want[name])
        if layers is not None and name.startswith("blocks.") and \
                int(name.split(".")[1]) not in layers:
            continue
        by_head = name.endswith(("hook_attn_scores", "hook_pattern"))
        out[name] = seen[name][:, rows] if by_head else seen[name][rows]
    return {k: v.contiguous() for k, v in out.items()}


def change_row3(point):
    """An edit of row 3: its last axis (of scores and pattern keys 0 to 3) reversed; a scale times
    0.75. It keeps the mean of hook_normalized, which TransformerLens's folded weights ignore."""
    def edit(x):
        if point.endswith(("hook_attn_scores", "hook_pattern")):
            x[:, 3, :4] = x[:, 3, 3::-1].copy()
        elif point.endswith("hook_scale"):
            x[3] *= 0.75
        else:
            x[3] = x[3, ..., ::-1].copy()
        return x
    return edit


def edits_of(config, vector):
    """Named edits, the same as in tests/runtime/test_edits.c."""
    def zero_head(x):
        x[:, 1] = 0
        return x

    def replace_mlp(x):
        x[3] = vector
        return x

    def move_attention(x):
        """Head 1, row 5: key 2 gets nothing, the others their share, renormalized."""
        x[1, 5, 2] = 0
        x[1, 5] /= x[1, 5].sum()
        return x

    named = {
        "zero_head": {"blocks.0.attn.hook_result": zero_head},
        "replace_mlp": {"blocks.0.hook_mlp_out": replace_mlp},
        "move_attention": {"blocks.1.attn.hook_pattern": move_attention},
        "two_edits": {"blocks.0.attn.hook_result": zero_head,
                      "blocks.1.attn.hook_pattern": move_attention},
    }
    for name in points(config):
        named["row3/" + name] = {name: change_row3(name)}
    return named


def edit_golden(folder, tokens):
    """Whole tensors downstream of the first edits; for the others the logits of rows 3 and last."""
    exact = gptneox_float64.Model(folder)
    lens = open_lens(open_transformers(folder), exact.config)
    rng = np.random.default_rng(99)
    vector = (0.7 * rng.standard_normal(exact.config["d_model"])).astype(np.float32)
    out = {"tokens": tensor(tokens, np.int32), "vector": tensor(vector)}
    plain = exact.forward(tokens)["hook_logits"]
    for name, edits in edits_of(exact.config, vector).items():
        seen, want = lens_run(lens, tokens, edits), exact.forward(tokens, edits)
        assert np.abs(want["hook_logits"] - plain).max() > 1e-3, f"{name} changes nothing"
        for point in points(exact.config) + ["hook_logits"]:
            check(f"{name}: {point}", seen[point], want[point])
        if name.startswith("row3/"):
            out[f"{name}/hook_logits"] = seen["hook_logits"][[3, len(tokens) - 1]]
            continue
        for point in ["hook_logits"] + [f"blocks.{layer}.{n}" for layer in (0, 1)
                                        for n in ("hook_attn_out", "hook_mlp_out",
                                                  "hook_resid_post")]:
            out[f"{name}/{point}"] = seen[point].clone()
    return out


def accuracy_golden(folder, prompts, ids=None):
    """For each prompt the float64 logits of the last row (some ids of them), and the error of
    transformers in float32 on the same ids: root mean square and maximum."""
    exact, model = gptneox_float64.Model(folder), open_transformers(folder)
    rows, errors = [], []
    for prompt in prompts:
        with torch.no_grad():
            got = model(torch.tensor(prompt)[None]).logits[0, -1].double().numpy()
        want = exact.forward(prompt, keep=False)["hook_logits"][-1]
        pick = slice(None) if ids is None else ids
        difference = (got - want)[pick]
        rows.append(want[pick])
        errors.append([np.sqrt((difference**2).mean()), np.abs(difference).max()])
    ids = np.arange(exact.config["d_vocab"]) if ids is None else ids
    return {"accuracy.tokens": tensor(np.concatenate(prompts), np.int32),
            "accuracy.lengths": tensor([len(p) for p in prompts], np.int32),
            "accuracy.ids": tensor(ids, np.int32),
            "accuracy.logits": tensor(rows, np.float64),
            "accuracy.transformers_error": tensor(errors, np.float64)}


def random_prompts(config, seed):
    """Most prompts are short, a tenth longer than 256 keys."""
    rng = np.random.default_rng(seed)
    sizes = [rng.integers(*((260, 321) if i % 10 == 9 else (2, 49))) for i in range(N_PROMPTS)]
    return [rng.integers(0, config["d_vocab"], size).tolist() for size in sizes]


# --- the files ---------------------------------------------------------------------------------

def make_variants(only):
    for seed, name in enumerate(parity_models.VARIANTS):
        if only and name not in only:
            continue
        folder = os.path.join(OUT, name)
        parity_models.make_model(folder, name)
        config = gptneox_float64.read_config(folder)
        tokens = np.random.default_rng(seed).integers(0, config["d_vocab"], N_TOKENS).tolist()
        golden = hook_golden(folder, tokens)
        if name == "large_scores":
            check_large(golden)
        save_file(golden, os.path.join(folder, "golden.safetensors"))
        if name in ("parallel_f32", "sequential_f32"):
            save_file(edit_golden(folder, tokens), os.path.join(folder, "edits.safetensors"))
        if name in parity_models.ACCURATE:
            prompts = random_prompts(config, 17)
            ids = None if name == "parallel_f32" else np.arange(0, config["d_vocab"], 2)
            save_file(accuracy_golden(folder, prompts, ids),
                      os.path.join(folder, "accuracy.safetensors"))
        print(name)


def check_large(golden):
    """Checks that all scores are near -110,000, with no two keys too close for float32 to order."""
    for layer in range(2):
        head = golden[f"blocks.{layer}.attn.hook_attn_scores"][-1]
        assert head[head > -np.inf].max() < -100e3, head
        for row in head[1:]:
            best = torch.topk(row, 2).values
            assert best[0] - best[1] > 40, row


def make_embedded(folder):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(HERE, "prompts.txt"), encoding="utf-8") as file:
        ids = tokenizer.encode(file.read()).ids
    rng = np.random.default_rng(5)
    prompts = []
    for _ in range(N_PROMPTS):
        size = int(rng.integers(8, 97))
        start = int(rng.integers(0, len(ids) - size))
        prompts.append(ids[start : start + size])
    config = gptneox_float64.read_config(folder)
    golden = hook_golden(folder, ids[:24], rows=[9, 23],
                         layers=[0, config["n_layers"] - 1])
    some = np.sort(rng.choice(config["d_vocab"], EMBEDDED_IDS, replace=False))
    golden.update(accuracy_golden(folder, prompts, some))
    save_file(golden, os.path.join(OUT, "embedded.safetensors"))
    print("embedded")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded", metavar="DIR", help="the embedded model's folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the small models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.makedirs(OUT, exist_ok=True)
    if arguments.embedded:
        make_embedded(arguments.embedded)
    else:
        make_variants(arguments.only)


if __name__ == "__main__":
    sys.exit(main())
