#!/usr/bin/env python3
"""Makes a random GPT-NeoX model folder: config.json, safetensors, and a tokenizer if one is given.

    tools/make_model.py /tmp/r70 70m                      the shape of pythia-70m, f16
    tools/make_model.py /tmp/tiny --layers 2 --d-model 64 --heads 4 --vocab 300 --dtype f32
    tools/make_model.py /tmp/hot --layers 3 --qk-scale 150 --dtype f32     scores near -110,000

Every bias and LayerNorm parameter differs from its neutral value, so that an omitted term shows.
Each tensor's numbers depend only on the seed and its name: prefix and sharding do not change the
model. Tensors are made in pieces of 16 MB, so that 12b needs little memory.
"""
import argparse
import json
import pathlib
import shutil
import sys
import zlib

try:
    import numpy as np
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

# name: layers, d_model, heads, d_mlp, vocab (the rows of the published matrices)
PYTHIA = {
    "14m": (6, 128, 4, 512, 50304),
    "31m": (6, 256, 8, 1024, 50304),
    "70m": (6, 512, 8, 2048, 50304),
    "160m": (12, 768, 12, 3072, 50304),
    "410m": (24, 1024, 16, 4096, 50304),
    "1b": (16, 2048, 8, 8192, 50304),
    "1.4b": (24, 2048, 16, 8192, 50304),
    "2.8b": (32, 2560, 32, 10240, 50304),
    "6.9b": (32, 4096, 32, 16384, 50432),
    "12b": (36, 5120, 40, 20480, 50688),
}
PIECE = 1 << 22  # elements made at a time
TORCH_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "mixed": "float32"}
CODES = {"f32": ("F32", 4), "f16": ("F16", 2), "bf16": ("BF16", 2)}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out", type=pathlib.Path, help="folder to make; must be new or empty")
    p.add_argument("shape", nargs="?", choices=PYTHIA, help="a Pythia size; the options override it")
    p.add_argument("--layers", type=int)
    p.add_argument("--d-model", type=int)
    p.add_argument("--heads", type=int)
    p.add_argument("--d-mlp", type=int, help="default: 4 times d-model")
    p.add_argument("--vocab", type=int, help="default: the tokenizer's size, or 256")
    p.add_argument("--vocab-pad", type=int, default=0, help="rows of padding after them")
    p.add_argument("--context", type=int, help="default: 2048 for a Pythia size, else 128")
    p.add_argument("--rotary-pct", type=float, default=0.25)
    p.add_argument("--rotary-base", type=float, default=10000)
    p.add_argument("--rope", type=json.loads, default={}, metavar="JSON",
                   help='scaled positions, such as {"rope_type":"linear","factor":4}')
    p.add_argument("--activation", default="gelu", help="hidden_act; default: gelu")
    p.add_argument("--eps", type=float, default=1e-5)
    p.add_argument("--dtype", choices=["f32", "f16", "bf16", "mixed"], default="f16",
                   help="mixed: vectors f32, matrices f32, f16 and bf16 in turn")
    p.add_argument("--sequential", action="store_true", help="use_parallel_residual false")
    p.add_argument("--tied", action="store_true")
    p.add_argument("--no-attention-bias", action="store_true")
    p.add_argument("--shards", type=int, default=1)
    p.add_argument("--old-buffers", action="store_true", help="add the buffers of old files")
    p.add_argument("--config-style", choices=["4", "5", "flat"], default="4",
                   help="keys of transformers 4 or 5, or rope_theta and partial_rotary_factor")
    p.add_argument("--lm-head", action="store_true", help="lm_head instead of embed_out")
    p.add_argument("--no-prefix", action="store_true", help="names without gpt_neox.")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--embed-scale", type=float,
                   help="default: 1, or, when tied, from --logit-scale")
    p.add_argument("--qk-scale", type=float, default=1.0, help="scores scale with its square")
    p.add_argument("--logit-scale", type=float, default=3.0)
    p.add_argument("--tokenizer", type=pathlib.Path, help="tokenizer.json to copy into the folder")
    return p.parse_args()


def tokenizer_size(path):
    spec = json.loads(path.read_text(encoding="utf-8"))
    ids = list(spec["model"]["vocab"].values())
    return 1 + max(ids + [token["id"] for token in spec.get("added_tokens", [])])


def settle(a):
    """Fills in missing options from the shape's defaults; checks d_model against heads."""
    layers, d_model, heads, d_mlp, vocab = PYTHIA.get(a.shape, (2, 64, 4, None, 256))
    if a.tokenizer and not a.shape:
        vocab = tokenizer_size(a.tokenizer)
    a.layers = a.layers or layers
    a.heads = a.heads or heads
    custom = a.d_model is not None
    a.d_model = a.d_model or d_model
    a.d_mlp = a.d_mlp or (d_mlp if d_mlp and not custom else 4 * a.d_model)
    a.vocab = (a.vocab or vocab) + a.vocab_pad
    a.context = a.context or (2048 if a.shape else 128)
    a.d_head = a.d_model // a.heads
    if a.embed_scale is None:
        a.embed_scale = a.logit_scale * a.d_model**-0.5 if a.tied else 1.0
    if a.d_model % a.heads:
        sys.exit(f"--d-model {a.d_model} is not a multiple of --heads {a.heads}")
    if a.out.exists() and (not a.out.is_dir() or any(a.out.iterdir())):
        sys.exit(f"{a.out} exists and is not an empty folder")
    return a


def config(a):
    keys = {
        "architectures": ["GPTNeoXForCausalLM"],
        "attention_bias": not a.no_attention_bias,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": a.activation,
        "hidden_size": a.d_model,
        "initializer_range": 0.02,
        "intermediate_size": a.d_mlp,
        "layer_norm_eps": a.eps,
        "max_position_embeddings": a.context,
        "model_type": "gpt_neox",
        "num_attention_heads": a.heads,
        "num_hidden_layers": a.layers,
        "tie_word_embeddings": a.tied,
        "use_cache": True,
        "use_parallel_residual": not a.sequential,
        "vocab_size": a.vocab,
    }
    if a.config_style == "4":
        keys |= {"rotary_pct": a.rotary_pct, "rotary_emb_base": a.rotary_base,
                 "torch_dtype": TORCH_NAMES[a.dtype]}
        if a.rope:
            keys["rope_scaling"] = a.rope
    elif a.config_style == "5":
        keys |= {"dtype": TORCH_NAMES[a.dtype],
                 "rope_parameters": {"partial_rotary_factor": a.rotary_pct,
                                     "rope_theta": a.rotary_base, "rope_type": "default"} | a.rope}
    else:
        keys |= {"dtype": TORCH_NAMES[a.dtype], "rope_theta": a.rotary_base,
                 "partial_rotary_factor": a.rotary_pct}
    return dict(sorted(keys.items()))


def tensors(a):
    """Yields (canonical name, shape, mean, standard deviation), in the order of computation.

    A LayerNorm output has about unit entries, so 1/sqrt(fan-in) keeps every activation near 1. The
    writes shrink with depth, which keeps the residual of all sizes near the embedding's scale.
    """
    n, m, depth = a.d_model, a.d_mlp, (2 * a.layers) ** -0.5
    yield "gpt_neox.embed_in.weight", (a.vocab, n), 0, a.embed_scale
    for layer in range(a.layers):
        at = f"gpt_neox.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield at + norm + ".weight", (n,), 1, 0.15
            yield at + norm + ".bias", (n,), 0, 0.1
        yield at + "attention.query_key_value.weight", (3 * n, n), 0, n**-0.5
        if not a.no_attention_bias:
            yield at + "attention.query_key_value.bias", (3 * n,), 0, 0.2
        yield at + "attention.dense.weight", (n, n), 0, depth * n**-0.5
        if not a.no_attention_bias:
            yield at + "attention.dense.bias", (n,), 0, 0.05
        yield at + "mlp.dense_h_to_4h.weight", (m, n), 0, n**-0.5
        yield at + "mlp.dense_h_to_4h.bias", (m,), 0, 0.2
        yield at + "mlp.dense_4h_to_h.weight", (n, m), 0, 2 * depth * m**-0.5
        yield at + "mlp.dense_4h_to_h.bias", (n,), 0, 0.05
    yield "gpt_neox.final_layer_norm.weight", (n,), 1, 0.15
    yield "gpt_neox.final_layer_norm.bias", (n,), 0, 0.1
    if not a.tied:
        yield "embed_out.weight", (a.vocab, n), 0, a.logit_scale * n**-0.5


def tensor_dtype(a, name, shape):
    if a.dtype != "mixed":
        return a.dtype
    if len(shape) == 1:
        return "f32"
    return ("f32", "f16", "bf16")[zlib.crc32(name.encode()) % 3]


def encode(values, dtype):
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    if dtype == "f16":
        return values.astype("<f2").tobytes()
    bits = values.astype("<f4").view("<u4")  # bf16: the upper half, rounded to nearest even
    return ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype("<u2").tobytes()


def random_bytes(a, name, shape, mean, deviation, dtype):
    """Yields the tensor's bytes in pieces of whole rows."""
    random = np.random.Generator(np.random.PCG64([a.seed, zlib.crc32(name.encode())]))
    row = shape[1] if len(shape) > 1 else 1
    step = max(1, PIECE // row)
    for first in range(0, shape[0], step):
        rows = min(step, shape[0] - first)
        values = random.standard_normal((rows, row), dtype=np.float32)
        values = values * np.float32(deviation) + np.float32(mean)
        if "query_key_value" in name and a.qk_scale != 1:
            # Rows are ordered by head as q, k, v of d_head rows each; v is not scaled.
            part = (np.arange(first, first + rows) // a.d_head) % 3
            values[part < 2] *= np.float32(a.qk_scale)
        yield encode(values, dtype)


def public_name(a, name):
    if name == "embed_out.weight":
        return "lm_head.weight" if a.lm_head else name
    return name.removeprefix("gpt_neox.") if a.no_prefix else name


def entries(a):
    """(name in the file, dtype code, shape, bytes, a function that yields the bytes)."""
    for name, shape, mean, deviation in tensors(a):
        dtype = tensor_dtype(a, name, shape)
        code, size = CODES[dtype]
        make = lambda n=name, s=shape, m=mean, d=deviation, t=dtype: random_bytes(a, n, s, m, d, t)
        yield public_name(a, name), code, shape, size * int(np.prod(shape)), make
    if a.old_buffers:
        yield from old_buffers(a)


def old_buffers(a):
    mask = np.tril(np.ones((a.context, a.context), np.uint8)).tobytes()
    dims = int(a.d_head * a.rotary_pct)
    frequencies = a.rotary_base ** (-np.arange(0, dims, 2) / max(dims, 1))
    for layer in range(a.layers):
        at = public_name(a, f"gpt_neox.layers.{layer}.attention.")
        yield at + "bias", "BOOL", (1, 1, a.context, a.context), len(mask), lambda: [mask]
        yield at + "masked_bias", "F32", (), 4, lambda: [np.float32(-1e9).tobytes()]
        inverse = encode(frequencies.astype(np.float32), "f32")
        yield (at + "rotary_emb.inv_freq", "F32", frequencies.shape, len(inverse),
               lambda b=inverse: [b])


def write_file(path, items):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, code, shape, size, _ in items:
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for *_, make in items:
            for piece in make():
                file.write(piece)


def write_shards(a, items):
    """Splits the tensors into runs of about equal bytes, each with at least one tensor."""
    total = sum(item[3] for item in items)
    groups, done = [[] for _ in range(min(a.shards, len(items)))], 0
    for left, item in zip(range(len(items), 0, -1), items):
        current = min(len(groups) - 1, done * len(groups) // max(total, 1))
        empty = sum(not group for group in groups)
        if left <= empty:  # each remaining tensor must start a new shard
            current = len(groups) - empty
        groups[current].append(item)
        done += item[3]
    groups = [group for group in groups if group]
    names = [f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
    weight_map = {}
    for name, group in zip(names, groups):
        write_file(a.out / name, group)
        weight_map |= {item[0]: name for item in group}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (a.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def main():
    a = settle(arguments())
    a.out.mkdir(parents=True, exist_ok=True)
    items = list(entries(a))
    if a.shards > 1:
        write_shards(a, items)
    else:
        write_file(a.out / "model.safetensors", items)
    (a.out / "config.json").write_text(json.dumps(config(a), indent=2) + "\n")
    if a.tokenizer:
        shutil.copyfile(a.tokenizer, a.out / "tokenizer.json")


if __name__ == "__main__":
    main()
