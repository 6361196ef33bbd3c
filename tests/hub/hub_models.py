"""Tiny random GPT-NeoX models as the files of a repository."""

from __future__ import annotations

import json
import random
import struct

SIZES = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 16}


def _shapes() -> dict[str, list[int]]:
    n, vocab = SIZES["hidden_size"], SIZES["vocab_size"]
    layer = "gpt_neox.layers.0."
    shapes = {
        "gpt_neox.embed_in.weight": [vocab, n],
        "embed_out.weight": [vocab, n],
        layer + "attention.query_key_value.weight": [3 * n, n],
        layer + "attention.query_key_value.bias": [3 * n],
        layer + "attention.dense.weight": [n, n],
        layer + "attention.dense.bias": [n],
        layer + "mlp.dense_h_to_4h.weight": [4 * n, n],
        layer + "mlp.dense_h_to_4h.bias": [4 * n],
        layer + "mlp.dense_4h_to_h.weight": [n, 4 * n],
        layer + "mlp.dense_4h_to_h.bias": [n],
    }
    for norm in (layer + "input_layernorm", layer + "post_attention_layernorm"):
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = [n]
    shapes["gpt_neox.final_layer_norm.weight"] = shapes["gpt_neox.final_layer_norm.bias"] = [n]
    return shapes


def tensors(seed: int, names: list[str] | None = None) -> bytes:
    """A safetensors file of random f32 weights; names: only these tensors."""
    source = random.Random(seed)
    header, data = {}, b""
    for name, shape in _shapes().items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = struct.pack(f"<{count}f", *(source.uniform(-0.5, 0.5) for _ in range(count)))
        if names is not None and name not in names:
            continue
        place = [len(data), len(data) + len(values)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": place}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def config() -> bytes:
    """config.json of the models."""
    values = {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], **SIZES}
    values |= {"intermediate_size": 32, "max_position_embeddings": 32, "rotary_pct": 0.5}
    return json.dumps(values).encode()


def model(seed: int = 0) -> dict[str, bytes]:
    """The files of a repository; some that a model does not need are among them."""
    return {
        "config.json": config(),
        "model.safetensors": tensors(seed),
        "README.md": b"# a tiny model\n",
        ".gitattributes": b"*.bin filter=lfs\n",
        "pytorch_model.bin": b"not read, because safetensors are there",
        "onnx/model.onnx": b"not needed",
        "training_args.bin": b"not needed",
    }


def sharded_model(seed: int = 0) -> dict[str, bytes]:
    """The same weights in two shards with an index."""
    names = list(_shapes())
    parts = {"model-00001-of-00002.safetensors": names[:5]}
    parts["model-00002-of-00002.safetensors"] = names[5:]
    files = {part: tensors(seed, inside) for part, inside in parts.items()}
    places = {name: part for part, inside in parts.items() for name in inside}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    return {"config.json": config(), **files}
