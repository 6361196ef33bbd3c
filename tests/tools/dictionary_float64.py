"""Sparse dictionaries in float64 with numpy: the reference of the golden files of latents.

Reads the folders of tests/golden/sae, in SAELens's and in sparsify's layout. Of a row x of the in
point (f: latents, y: what the dictionary writes there):
  n = x normalized, minus b_dec if the layout says so     f = act(W_enc n + b_enc)
  y = gain (f W_dec + b_dec) + shift + W_skip x
A hook_z is flat. The MLP's input has gamma and beta inside.
"""

import json
import pathlib
import re

try:
    import numpy as np
    from safetensors.numpy import load_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

SPARSIFY = {"": "hook_resid_post", "mlp": "hook_mlp_out", "attention": "hook_attn_out"}


class Dictionary:
    """w: W_enc [N, F], b_enc, W_dec [F, N], b_dec, W_skip [N, N]; hook and out name points."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.cfg = json.loads((folder / "cfg.json").read_text())
        sparsify = (folder / "sae.safetensors").exists()
        name = "sae.safetensors" if sparsify else "sae_weights.safetensors"
        self.w = {k: v.astype(np.float64) for k, v in load_file(folder / name).items()}
        (self.open_sparsify if sparsify else self.open_saelens)(folder)
        self.layer = int(self.out.split(".")[1])
        self.transcoder = self.hook != self.out

    def open_sparsify(self, folder):
        w, c = self.w, self.cfg
        w |= {"W_enc": w["encoder.weight"].T, "b_enc": w["encoder.bias"]}
        self.kind, self.k, self.norm = c.get("activation", "topk"), c["k"], "none"
        _, layer, module = re.match(r"(layers)\.(\d+)\.?(\w*)", folder.name).groups()
        self.out = self.hook = f"blocks.{layer}.{SPARSIFY[module]}"
        self.subtract = not c.get("transcode", False)
        if c.get("transcode", False):
            self.hook = f"blocks.{layer}.mlp.hook_in"

    def open_saelens(self, folder):
        c = self.cfg
        meta = c.get("metadata", c)
        self.hook = meta.get("hook_name", meta.get("hook_point"))
        self.out = meta.get("hook_name_out") or self.hook
        self.hook = re.sub(r"ln2\.hook_normalized$", "mlp.hook_in", self.hook)
        self.kind = c.get("architecture", "standard").removesuffix("transcoder").rstrip("_")
        self.kind = self.kind.removesuffix("skip").rstrip("_") or "standard"
        self.k = c.get("k", 0)
        if c.get("activation_fn_str") == "topk":
            self.kind, self.k = "topk", c["activation_fn_kwargs"]["k"]
        self.norm = c.get("normalize_activations") or "none"
        self.subtract = c.get("apply_b_dec_to_input", True)
        if c.get("rescale_acts_by_decoder_norm"):  # fold the norms: f is then of unit rows
            norms = np.linalg.norm(self.w["W_dec"], axis=1)
            self.w["W_enc"], self.w["b_enc"] = self.w["W_enc"] * norms, self.w["b_enc"] * norms
            self.w["W_dec"] = self.w["W_dec"] / norms[:, None]

    def normal(self, x):
        """(n, gain [T, 1], shift [T, 1])"""
        one, zero = np.ones((len(x), 1)), np.zeros((len(x), 1))
        if self.norm == "layer_norm":
            mean = x.mean(1, keepdims=True)
            std = x.std(1, ddof=1, keepdims=True)
            return (x - mean) / (std + 1e-5), std, mean
        if self.norm == "constant_norm_rescale":
            gain = np.linalg.norm(x, axis=1, keepdims=True) / x.shape[1] ** 0.5
            return x / gain, gain, zero
        return x, one, zero

    def encode(self, x):
        """(f [T, F], gain, shift) of rows x [T, N]; fails near a tie."""
        n, gain, shift = self.normal(x)
        if self.subtract:
            n = n - self.w["b_dec"]
        a = n @ self.w["W_enc"]
        if self.kind == "gated":
            m = a * np.exp(self.w["r_mag"]) + self.w["b_mag"]
            return np.where(a + self.w["b_gate"] > 0, np.maximum(m, 0), 0), gain, shift
        a = a + self.w["b_enc"]
        if self.kind == "jumprelu":
            return np.where(a > self.w["threshold"], np.maximum(a, 0), 0), gain, shift
        f = np.maximum(a, 0)
        if self.kind == "topk":
            least = np.sort(a, 1)[:, -self.k - 1 : -self.k + 1 or None]
            assert (least[:, 1] - least[:, 0]).min() > 1e-5, "a tie"
            f[a <= least[:, :1]] = 0
        if self.kind == "groupmax":
            groups = f.reshape(len(f), self.k, -1)
            f = np.where(groups == groups.max(2, keepdims=True), groups, 0).reshape(f.shape)
        return f, gain, shift

    def value(self, run, weights, hook):
        """A point's rows [T, width] of a run of gptneox_float64."""
        if hook.endswith("mlp.hook_in"):
            layer = hook.split(".")[1]
            name = f"layers.{layer}.post_attention_layernorm"
            normal = run[f"blocks.{layer}.ln2.hook_normalized"]
            return normal * weights[name + ".weight"] + weights[name + ".bias"]
        return run[hook].reshape(len(run[hook]), -1)

    def parts(self, x):
        """(f, per-row decoder gain, the constant part [T, N], the skip part [T, N])"""
        f, gain, shift = self.encode(x)
        skip = x @ self.w["W_skip"].T if "W_skip" in self.w else np.zeros((len(x), 1))
        return f, gain, gain * self.w["b_dec"] + shift, skip
