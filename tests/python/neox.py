"""A small GPT-NeoX in plain NumPy: writes random models, and computes every tensor of a pass.

It is the tests' reference for caches and hooks: float64, no code of the package.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

DTYPES = {"F64": np.float64, "I32": np.int32, "F32": np.float32, "F16": np.float16}


def write_model(
    folder,
    *,
    n_layers=3,
    d_model=24,
    n_heads=3,
    d_mlp=40,
    d_vocab=50,
    n_ctx=64,
    parallel=True,
    spread=0.3,
    seed=0,
):
    """Writes a random model, float32, without a tokenizer; returns the folder as a str."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=spread):
        return rng.normal(0, scale, shape).astype(np.float32)

    tensors = {"gpt_neox.embed_in.weight": normal(d_vocab, d_model, scale=1)}
    for layer in range(n_layers):
        at = f"gpt_neox.layers.{layer}."
        for ln in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{ln}.weight"] = 1 + normal(d_model)
            tensors[f"{at}{ln}.bias"] = normal(d_model)
        for name, rows, columns in (
            ("attention.query_key_value", 3 * d_model, d_model),
            ("attention.dense", d_model, d_model),
            ("mlp.dense_h_to_4h", d_mlp, d_model),
            ("mlp.dense_4h_to_h", d_model, d_mlp),
        ):
            tensors[f"{at}{name}.weight"] = normal(rows, columns)
            tensors[f"{at}{name}.bias"] = normal(rows)
    tensors["gpt_neox.final_layer_norm.weight"] = 1 + normal(d_model)
    tensors["gpt_neox.final_layer_norm.bias"] = normal(d_model)
    tensors["embed_out.weight"] = normal(d_vocab, d_model)
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": d_model,
        "intermediate_size": d_mlp,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": n_ctx,
        "num_attention_heads": n_heads,
        "num_hidden_layers": n_layers,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_parallel_residual": parallel,
        "vocab_size": d_vocab,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tensors(folder / "model.safetensors", tensors)
    return str(folder)


def write_tensors(path, tensors):
    """Writes float32 and float16 arrays as a safetensors file."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": tensor.shape,
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def read_tensors(path):
    raw = Path(path).read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data = np.frombuffer(raw[8 + n + begin : 8 + n + end], DTYPES[entry["dtype"]])
            found[name] = data.reshape(entry["shape"])
    return found


def rotate(x, rotary):
    """x [pos, head, d_head]: the first `rotary` entries turned by the position."""
    half = rotary // 2
    angles = np.arange(len(x))[:, None] / 10000.0 ** (np.arange(half) * 2 / rotary)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:rotary]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, x[..., rotary:]], axis=-1)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class Reference:
    """One model of a folder. weights holds TransformerLens's arrays by name and layer."""

    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.raw = {
            name: tensor.astype(np.float64)
            for name, tensor in read_tensors(Path(folder) / "model.safetensors").items()
        }
        self.n_layers = self.config["num_hidden_layers"]
        self.heads = self.config["num_attention_heads"]
        self.d_head = self.config["hidden_size"] // self.heads
        self.rotary = int(self.d_head * self.config["rotary_pct"])
        self.rotary -= self.rotary % 2

    def weight(self, name, layer=None):
        """A weight under TransformerLens's name, raw."""
        at = "" if layer is None else f"gpt_neox.layers.{layer}."
        if name in ("W_Q", "W_K", "W_V"):
            rows = self.raw[f"{at}attention.query_key_value.weight"]
            rows = rows.reshape(self.heads, 3, self.d_head, -1)
            return rows[:, "QKV".index(name[-1])].transpose(0, 2, 1)
        if name in ("b_Q", "b_K", "b_V"):
            rows = self.raw[f"{at}attention.query_key_value.bias"]
            return rows.reshape(self.heads, 3, self.d_head)[:, "QKV".index(name[-1])]
        if name == "W_O":
            rows = self.raw[f"{at}attention.dense.weight"]
            return rows.T.reshape(self.heads, self.d_head, -1)
        names = {
            "b_O": "attention.dense.bias",
            "W_in": "mlp.dense_h_to_4h.weight",
            "b_in": "mlp.dense_h_to_4h.bias",
            "W_out": "mlp.dense_4h_to_h.weight",
            "b_out": "mlp.dense_4h_to_h.bias",
            "ln1_w": "input_layernorm.weight",
            "ln1_b": "input_layernorm.bias",
            "ln2_w": "post_attention_layernorm.weight",
            "ln2_b": "post_attention_layernorm.bias",
            "ln_final_w": "gpt_neox.final_layer_norm.weight",
            "ln_final_b": "gpt_neox.final_layer_norm.bias",
            "W_E": "gpt_neox.embed_in.weight",
            "W_U": "embed_out.weight",
        }
        tensor = self.raw[at + names[name]]
        return tensor.T if name in ("W_in", "W_out", "W_U") else tensor

    def run(self, ids, edit=None):
        """Every tensor of a pass over ids [pos], by name, without a batch axis.

        edit(name, array) may return another array, which the pass then uses.
        """
        cache = {}

        def see(name, array):
            changed = edit(name, array) if edit else None
            cache[name] = array if changed is None else changed
            return cache[name]

        def norm(at, ln, x, layer=None):
            x = x - x.mean(axis=-1, keepdims=True)
            scale = np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-5)
            scale = see(f"{at}{ln}.hook_scale", scale)
            x = see(f"{at}{ln}.hook_normalized", x / scale)
            return x * self.weight(f"{ln}_w", layer) + self.weight(f"{ln}_b", layer)

        x = see("hook_embed", self.weight("W_E")[np.asarray(ids)])
        for layer in range(self.n_layers):
            x = self._layer(x, layer, see, norm)
        x = norm("", "ln_final", x)
        see("hook_logits", x @ self.weight("W_U"))
        return cache

    def _layer(self, x, layer, see, norm):
        at = f"blocks.{layer}."
        x = see(f"{at}hook_resid_pre", x)
        inner = norm(at, "ln1", x, layer)
        attn = see(f"{at}hook_attn_out", self._attention(inner, layer, see, at))
        if self.config["use_parallel_residual"]:
            middle = x
        else:
            middle = see(f"{at}hook_resid_mid", x + attn)
        inner = norm(at, "ln2", middle, layer)
        pre = inner @ self.weight("W_in", layer) + self.weight("b_in", layer)
        post = see(f"{at}mlp.hook_post", gelu(see(f"{at}mlp.hook_pre", pre)))
        out = post @ self.weight("W_out", layer) + self.weight("b_out", layer)
        out = see(f"{at}hook_mlp_out", out)
        added = attn + out if middle is x else out
        return see(f"{at}hook_resid_post", middle + added)

    def _attention(self, inner, layer, see, at):
        q, k, v = (
            see(
                f"{at}attn.hook_{letter.lower()}",
                np.einsum("pn,hnd->phd", inner, self.weight(f"W_{letter}", layer))
                + self.weight(f"b_{letter}", layer),
            )
            for letter in "QKV"
        )
        q = see(f"{at}attn.hook_rot_q", rotate(q, self.rotary))
        k = see(f"{at}attn.hook_rot_k", rotate(k, self.rotary))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.d_head)
        n = len(inner)
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
        scores = see(f"{at}attn.hook_attn_scores", scores)
        pattern = np.exp(scores - scores.max(axis=-1, keepdims=True))
        pattern = see(f"{at}attn.hook_pattern", pattern / pattern.sum(axis=-1, keepdims=True))
        z = see(f"{at}attn.hook_z", np.einsum("hqk,khd->qhd", pattern, v))
        result = np.einsum("phd,hdn->phn", z, self.weight("W_O", layer))
        result = see(f"{at}attn.hook_result", result)
        return result.sum(axis=1) + self.weight("b_O", layer)
