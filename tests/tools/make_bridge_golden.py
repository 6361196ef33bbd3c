#!/usr/bin/env python3
"""Makes tests/golden/python/bridge.safetensors and bridge.json: the names of TransformerLens 4.

  make_bridge_golden.py        needs requirements_bridge.txt, and tests/golden/python/*.safetensors

For a parallel and a sequential model of tests/golden/parity: which entries of TransformerLens 4's
cache hold the values of which entry of tests/golden/parity (null: of none), the entries under
the names that pythiascope takes, and the logits after edits at those names.
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import numpy as np
    import torch
    from safetensors.numpy import load_file, save_file
    from transformers import GPTNeoXForCausalLM
    from transformer_lens.model_bridge import TransformerBridge
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from lens_calls import BRIDGE_POINTS, KEPT, reverse_row

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
MODELS = ("parallel_f32", "sequential_f32")
TOLERANCE = 2e-5


def open_bridge(folder):
    model = GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                               attn_implementation="eager").eval()
    return TransformerBridge.boot_transformers(folder, hf_model=model, device="cpu")


def same(got, want):
    """Whether two arrays are one tensor; scores may be masked by any great negative number."""
    if got.shape != want.shape:
        return False
    masked = np.isneginf(want)
    if (got[masked] > -1e30).any():
        return False
    return np.abs(np.where(masked, 0, got) - np.where(masked, 0, want)).max() < TOLERANCE


def meaning(cache, parity):
    """{name of TransformerLens 4: name of tests/golden/parity, or None}; its own name first."""
    found = {}
    for name in cache.keys():
        value = cache[name][0].detach().numpy()
        known = [name] + [p for p in parity if p.split(".")[:2] == name.split(".")[:2]] + list(parity)
        found[name] = next((p for p in known if p in parity and same(value, parity[p])), None)
    return found


def make_model(name, arrays):
    parity = load_file(os.path.join(GOLDEN, "parity", name, "golden.safetensors"))
    parity = {key: value for key, value in parity.items() if key not in ("tokens", "rows")}
    ids = torch.from_numpy(load_file(os.path.join(GOLDEN, "python", f"{name}.safetensors"))
                           ["tokens"].astype(np.int64))
    bridge = open_bridge(os.path.join(GOLDEN, "parity", name))
    plain, cache = bridge.run_with_cache(ids)
    for point in BRIDGE_POINTS:
        arrays[f"{name}: {point}"] = cache[point].numpy().copy()
        logits = bridge.run_with_hooks(ids, fwd_hooks=[(point, reverse_row)])
        assert (logits - plain).abs().max() > 1e-3, f"{point} changes nothing"
        arrays[f"{name}: {point}: logits"] = logits[:, KEPT].numpy().copy()
    return meaning(cache, parity)


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    arrays, names = {}, {}
    for name in MODELS:
        names[name] = make_model(name, arrays)
    path = os.path.join(GOLDEN, "python", "bridge.safetensors")
    save_file(arrays, path)
    os.chmod(path, 0o644)
    with open(os.path.join(GOLDEN, "python", "bridge.json"), "w", encoding="utf-8") as file:
        json.dump(names, file, indent=0)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
