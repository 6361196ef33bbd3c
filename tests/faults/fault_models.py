"""Tiny model folders, documents and treebanks that a run with a fault reads."""

from __future__ import annotations

import gzip
import json
import random
import struct
from pathlib import Path
from typing import Any

WIDTH, HEADS, LAYERS = 8, 2, 2
SENTENCES = (
    "The cat sat on the mat.",
    "Anna's horses ran along the road.",
    "It was a fine day, and the dog ran home.",
    "The horse and the cat went to the old house.",
)
MERGES = ("\u0120 t", "h e", "\u0120t he", "a n", "\u0120 a", "i n", "o r", "s e")


def _byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level tokenizer."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def tokenizer() -> bytes:
    """tokenizer.json: a byte-level BPE of the 256 bytes and a few merges."""
    tokens = ["<|endoftext|>", *_byte_characters(), *(m.replace(" ", "") for m in MERGES)]
    end: dict[str, Any] = {"id": 0, "content": tokens[0], "single_word": False, "lstrip": False}
    end |= {"rstrip": False, "normalized": False, "special": True}
    pieces: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    bpe: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False}
    bpe |= {"vocab": {t: i for i, t in enumerate(tokens)}, "merges": list(MERGES)}
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end],
    }
    whole |= {"normalizer": {"type": "NFC"}, "pre_tokenizer": pieces, "post_processor": pieces}
    return json.dumps(whole | {"decoder": pieces, "model": bpe}).encode()


def _shapes(width: int, layers: int, vocab: int) -> dict[str, list[int]]:
    shapes = {"gpt_neox.embed_in.weight": [vocab, width], "embed_out.weight": [vocab, width]}
    norms = ["gpt_neox.final_layer_norm"]
    for layer in (f"gpt_neox.layers.{i}." for i in range(layers)):
        shapes[layer + "attention.query_key_value.weight"] = [3 * width, width]
        shapes[layer + "attention.query_key_value.bias"] = [3 * width]
        shapes[layer + "mlp.dense_h_to_4h.weight"] = [4 * width, width]
        shapes[layer + "mlp.dense_h_to_4h.bias"] = [4 * width]
        shapes[layer + "mlp.dense_4h_to_h.weight"] = [width, 4 * width]
        for name in ("attention.dense", "mlp.dense_4h_to_h"):
            shapes[f"{layer}{name}.bias"] = [width]
        shapes[layer + "attention.dense.weight"] = [width, width]
        norms += [layer + "input_layernorm", layer + "post_attention_layernorm"]
    for norm in norms:
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = [width]
    return shapes


def _config(width: int, layers: int, heads: int, vocab: int) -> bytes:
    values: dict[str, Any] = {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]}
    values |= {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    values |= {"vocab_size": vocab, "intermediate_size": 4 * width, "rotary_pct": 0.5}
    values |= {"max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0}
    return json.dumps(values | {"torch_dtype": "float32"}).encode()


def _header(shapes: dict[str, list[int]]) -> tuple[bytes, int]:
    """The header of a safetensors file of f32, and the bytes of the data behind it."""
    entries: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text, end


def write_model(folder: Path, seed: int = 1) -> None:
    """A model of 2 layers with random weights and a tokenizer."""
    folder.mkdir(parents=True)
    vocab = 257 + len(MERGES)
    header, size = _header(_shapes(WIDTH, LAYERS, vocab))
    source = random.Random(seed)
    weights = (source.uniform(-0.5, 0.5) for _ in range(size // 4))
    (folder / "model.safetensors").write_bytes(header + struct.pack(f"<{size // 4}f", *weights))
    (folder / "config.json").write_bytes(_config(WIDTH, LAYERS, HEADS, vocab))
    (folder / "tokenizer.json").write_bytes(tokenizer())


def write_large_model(folder: Path) -> None:
    """A model of a little more than 64 MiB, which is cached. Its weights are a hole: zeros."""
    folder.mkdir(parents=True)
    vocab = 131072
    header, size = _header(_shapes(64, 1, vocab))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    (folder / "config.json").write_bytes(_config(64, 1, 1, vocab))


OTHERS = ("The dog sat on the road.", "Anna's cat went home, and the horse ran.")


def conllu(sentences: tuple[str, ...] = SENTENCES) -> bytes:
    """Sentences with words, parts of speech and heads."""
    lines = []
    for number, sentence in enumerate(sentences, 1):
        words = sentence.replace(".", " .").replace(",", " ,").split()
        lines += [f"# sent_id = s{number}", f"# text = {sentence}"]
        for i, word in enumerate(words, 1):
            mark = word in ".,"
            kind = "PUNCT" if mark else "NOUN" if i % 3 == 2 else "VERB" if i % 3 == 0 else "DET"
            role = "punct" if mark else "root" if i == 3 else "nsubj" if i == 2 else "dep"
            features = "Number=Sing" if kind == "NOUN" else "_"
            space = "_" if i == len(words) or words[i] not in ".," else "SpaceAfter=No"
            cells = [str(i), word, word.lower(), kind, "_", features, "0" if i == 3 else "3", role]
            lines.append("\t".join([*cells, "_", space]))
        lines.append("")
    return ("\n".join(lines) + "\n").encode()


def documents() -> dict[str, bytes]:
    """A small corpus: three texts, and a JSONL file of three."""
    files = {f"docs/{i}.txt": f"{s} {i}\n".encode() for i, s in enumerate(SENTENCES[:3])}
    rows = [json.dumps({"text": s, "id": i}) for i, s in enumerate(SENTENCES[1:])]
    return files | {"docs/more.jsonl": ("\n".join(rows) + "\n").encode()}


def compressed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files of docs/ in more/, compressed."""
    return {
        f"more/{Path(name).name}.gz": gzip.compress(data, mtime=0) for name, data in files.items()
    }
