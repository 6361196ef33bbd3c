#!/usr/bin/env python3
"""A GPT-NeoX model folder as a GGUF file for llama.cpp: gguf_model.py MODEL_FOLDER FILE

Weights keep the folder's type, vectors become f32. The file has no vocabulary: the bench passes
ids. llama.cpp stacks q, k and v; the folder interleaves them by head."""
import json
import pathlib
import sys

import gguf
import numpy as np

KINDS = {"F32": ("<f4", gguf.GGMLQuantizationType.F32), "F16": ("<f2", gguf.GGMLQuantizationType.F16),
         "BF16": ("<u2", gguf.GGMLQuantizationType.BF16)}
ENDS = {"gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm",
        "embed_out": "output"}
INSIDE = {"input_layernorm": "attn_norm", "attention.query_key_value": "attn_qkv",
          "attention.dense": "attn_output", "post_attention_layernorm": "ffn_norm",
          "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"}


def tensors(folder):
    """Yields (name, array, kind); arrays are views of the mapped file."""
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        data = np.memmap(path, np.uint8, "r", offset=8 + length)
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                values = data[begin:end].view(KINDS[entry["dtype"]][0])
                yield name, values.reshape(entry["shape"]), entry["dtype"]


def new_name(name):
    stem, part = name.rsplit(".", 1)
    if stem in ENDS:
        return f"{ENDS[stem]}.{part}"
    layer, inside = stem.removeprefix("gpt_neox.layers.").split(".", 1)
    return f"blk.{layer}.{INSIDE[inside]}.{part}"


def to_float(values, kind):
    if kind == "BF16":
        return (values.astype("<u4") << 16).view("<f4")
    return values.astype("<f4")


def convert(folder, out):
    config = json.loads((folder / "config.json").read_text())
    heads, n = config["num_attention_heads"], config["hidden_size"]
    writer = gguf.GGUFWriter(out, "gptneox")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(n)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(int(config["rotary_pct"] * n // heads))
    writer.add_rope_freq_base(config["rotary_emb_base"])
    writer.add_head_count(heads)
    writer.add_parallel_residual(config["use_parallel_residual"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    for name, values, kind in tensors(folder):
        if "query_key_value" in name:
            by_head = values.reshape(heads, 3, n // heads, -1)
            values = by_head.swapaxes(0, 1).reshape(values.shape)
        if values.ndim == 1:
            writer.add_tensor(new_name(name), to_float(values, kind))
        elif kind == "BF16":
            raw = np.ascontiguousarray(values).view(np.uint8)
            writer.add_tensor(new_name(name), raw, raw_dtype=KINDS[kind][1])
        else:
            writer.add_tensor(new_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    folder, out = map(pathlib.Path, sys.argv[1:3])
    partial = out.with_suffix(".partial")
    convert(folder, partial)
    partial.rename(out)


main()
