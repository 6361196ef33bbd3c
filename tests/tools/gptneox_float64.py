"""GPT-NeoX in float64 with numpy: the reference of the golden files.

Written from the formulas, independent of the runtime and of transformers. Weights are the file's
values, widened exactly; nothing is folded. forward() returns the logits and every hook point under
TransformerLens's names, without the batch axis:
  x [T, N]   q, k, v, z [T, H, D]   scores, pattern [H, T, T]   result [T, H, N]   logits [T, V]
An edit is {hook name: function(array) -> array}; everything downstream is computed from its value.
"""
import json
import math
import os

try:
    import numpy as np
    from safetensors import safe_open
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

erf = np.frompyfunc(math.erf, 1, 1)
TANHS = ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh")


def gate(a, activation="gelu"):
    """GELU's gate: gelu(a) = a gate(a)."""
    a = np.asarray(a, np.float64)
    if activation in TANHS:
        return 0.5 * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3)))
    return 0.5 * (1.0 + erf(a / math.sqrt(2.0)).astype(np.float64))


def frequencies(config):
    """The angles per position [n/2], and the factor of cos and sin, of a scaled embedding too."""
    n, base, rope = config["rotary_dims"], float(config["base"]), config["rope"]
    kind = rope.get("rope_type", rope.get("type", "default"))
    plain = base ** (-np.arange(0, n, 2) / max(n, 1))
    if kind in ("default", "dynamic"):  # dynamic scaling begins past the context
        return plain, 1.0
    if kind == "linear":
        return plain / rope["factor"], 1.0
    assert kind == "yarn", kind
    context = rope.get("original_max_position_embeddings", config["n_ctx"])
    factor = rope.get("factor") or config["n_ctx"] / context

    def dimension(turns):
        return n * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    def scale(x):
        return 0.1 * x * math.log(factor) + 1.0 if factor > 1 else 1.0

    low, high = dimension(rope.get("beta_fast") or 32), dimension(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, n - 1)
    ramp = np.clip((np.arange(n // 2) - low) / (high - low + (0.001 if low == high else 0)), 0, 1)
    attention = rope.get("attention_factor")
    if attention is None:
        x, y = rope.get("mscale"), rope.get("mscale_all_dim")
        attention = scale(x) / scale(y) if x and y else scale(1)
    return plain / factor * ramp + plain * (1 - ramp), attention


def read_config(folder):
    """config.json of either generation of transformers, as a plain dictionary."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        raw = json.load(file)
    rope = raw.get("rope_scaling") or raw.get("rope_parameters") or {}
    d_head = raw["hidden_size"] // raw["num_attention_heads"]
    share = rope.get("partial_rotary_factor",
                     raw.get("partial_rotary_factor", raw.get("rotary_pct", 0.25)))
    return {
        "n_layers": raw["num_hidden_layers"], "n_heads": raw["num_attention_heads"],
        "d_model": raw["hidden_size"], "d_head": d_head, "d_mlp": raw["intermediate_size"],
        "d_vocab": raw["vocab_size"], "n_ctx": raw["max_position_embeddings"],
        "eps": raw["layer_norm_eps"], "rotary_dims": int(share * d_head),
        "base": rope.get("rope_theta", raw.get("rope_theta", raw.get("rotary_emb_base", 10000))),
        "parallel": raw.get("use_parallel_residual", True),
        "tied": raw.get("tie_word_embeddings", False),
        "activation": raw.get("hidden_act", "gelu"), "rope": rope,
    }


def read_weights(folder):
    """All tensors of the folder as float64, names without the prefix gpt_neox."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        with open(index, encoding="utf-8") as file:
            names = sorted(set(json.load(file)["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    weights = {}
    for name in names:
        with safe_open(os.path.join(folder, name), "pt") as file:
            for key in file.keys():
                weights[key.removeprefix("gpt_neox.")] = file.get_tensor(key).double().numpy()
    return weights


class Model:
    def __init__(self, folder):
        self.config = read_config(folder)
        self.weights = read_weights(folder)
        unembed = [n for n in ("embed_out.weight", "lm_head.weight") if n in self.weights]
        self.unembed = "embed_in.weight" if self.config["tied"] or not unembed else unembed[0]

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def layer_norm(self, name, site, x, hook):
        centered = x - x.mean(-1, keepdims=True)
        scale = hook(site + ".hook_scale",
                     np.sqrt((centered**2).mean(-1, keepdims=True) + self.config["eps"]))
        normalized = hook(site + ".hook_normalized", centered / scale)
        return normalized * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def rotate(self, x):
        """x [T, H, D]: rotates pairs (i, i + n/2) of n dimensions by position * frequency."""
        n = self.config["rotary_dims"]
        if n == 0:
            return x
        frequency, scale = frequencies(self.config)
        angle = np.arange(x.shape[0])[:, None] * frequency
        cos, sin = scale * np.cos(angle)[:, None, :], scale * np.sin(angle)[:, None, :]
        a, b, rest = x[..., : n // 2], x[..., n // 2 : n], x[..., n:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def attention(self, layer, x, hook):
        """x [T, N], the normalized residual; returns the layer's write [T, N]."""
        c, at = self.config, f"blocks.{layer}.attn."
        rows, heads, size = x.shape[0], c["n_heads"], c["d_head"]
        name = f"layers.{layer}.attention."
        q, k, v = np.split(
            self.linear(name + "query_key_value", x).reshape(rows, heads, 3 * size), 3, -1)
        q, k, v = hook(at + "hook_q", q), hook(at + "hook_k", k), hook(at + "hook_v", v)
        q = hook(at + "hook_rot_q", self.rotate(q))
        k = hook(at + "hook_rot_k", self.rotate(k))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(size)
        scores[:, np.triu(np.ones((rows, rows), bool), 1)] = -np.inf
        scores = hook(at + "hook_attn_scores", scores)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        pattern = hook(at + "hook_pattern", e / e.sum(-1, keepdims=True))
        z = hook(at + "hook_z", np.einsum("hqk,khd->qhd", pattern, v))
        by_head = self.weights[name + "dense.weight"].reshape(c["d_model"], heads, size)
        result = hook(at + "hook_result", np.einsum("qhd,nhd->qhn", z, by_head))
        out = result.sum(1) + self.weights.get(name + "dense.bias", 0.0)
        return hook(f"blocks.{layer}.hook_attn_out", out)

    def mlp(self, layer, x, hook):
        name, at = f"layers.{layer}.mlp.", f"blocks.{layer}."
        pre = hook(at + "mlp.hook_pre", self.linear(name + "dense_h_to_4h", x))
        post = hook(at + "mlp.hook_post", pre * gate(pre, self.config["activation"]))
        return hook(at + "hook_mlp_out", self.linear(name + "dense_4h_to_h", post))

    def forward(self, tokens, edits=None, keep=True):
        """tokens [T] -> {hook name: array}; keep=False: hook_logits only."""
        out, edits = {}, edits or {}

        def hook(name, value):
            if name in edits:
                value = edits[name](value.copy())
            if keep or name == "hook_logits":
                out[name] = value
            return value

        x = hook("hook_embed", self.weights["embed_in.weight"][np.asarray(tokens)])
        for layer in range(self.config["n_layers"]):
            at, name = f"blocks.{layer}.", f"layers.{layer}."
            x = hook(at + "hook_resid_pre", x)
            y = self.layer_norm(name + "input_layernorm", at + "ln1", x, hook)
            attn = self.attention(layer, y, hook)
            middle = x if self.config["parallel"] else hook(at + "hook_resid_mid", x + attn)
            y = self.layer_norm(name + "post_attention_layernorm", at + "ln2", middle, hook)
            mlp = self.mlp(layer, y, hook)
            x = middle + mlp + attn if self.config["parallel"] else middle + mlp
            x = hook(at + "hook_resid_post", x)
        x = self.layer_norm("final_layer_norm", "ln_final", x, hook)
        hook("hook_logits", x @ self.weights[self.unembed].T)
        return out
