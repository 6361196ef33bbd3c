#!/usr/bin/env python3
"""Writes tests/golden/loader: one small random model in two forms, and the expected results.

    tests/tools/make_loader_golden.py          needs numpy and xxhash

    plain/     transformers 4 keys, one file, gpt_neox. and embed_out
    sharded/   transformers 5 keys, three files, no prefix, lm_head, the old buffers
    expected.json   the identity, computed here from the description in model_weights.h and
                    weights_identity.c, independent of the C code; and sums of some tensors in f64
"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys

try:
    import numpy as np
    import xxhash
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/loader"
SHAPE = ("--layers 2 --d-model 16 --heads 2 --d-mlp 24 --vocab 21 --context 8 --rotary-pct 0.5 "
         "--rotary-base 777 --eps 2e-5 --dtype mixed --seed 5").split()
GUISES = {
    "plain": [],
    "sharded": "--shards 3 --no-prefix --lm-head --old-buffers --config-style 5".split(),
}


def read_tensors(folder):
    """name -> (dtype, shape, bytes), over all files, under canonical names, without the buffers."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:8 + length])
        for name, entry in header.items():
            if name == "__metadata__" or name.endswith((".masked_bias", ".inv_freq", "attention.bias")):
                continue
            name = {"lm_head.weight": "embed_out.weight"}.get(name, name)
            if not name.startswith(("gpt_neox.", "embed_out.")):
                name = "gpt_neox." + name
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = (entry["dtype"], entry["shape"], raw[begin:end])
    return found


def identity(tensors):
    eps, base = struct.pack(">f", 2e-5).hex(), struct.pack(">d", 777).hex()
    h = xxhash.xxh3_128()
    h.update(f"pythiascope gpt_neox 1\nn_layers 2\nn_heads 2\nd_model 16\nd_mlp 24\nd_vocab 21\n"
             f"n_ctx 8\nlayer_norm_eps {eps}\nrotary_dims 4\nrotary_base {base}\nactivation gelu\n"
             f"parallel_residual 1\ntied 0\nattention_bias 1\n".encode())
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        rows, cols = (shape + [1])[:2]
        h.update(f"{name} {dtype} {rows} {cols}\n".encode())
        h.update(data)
    return h.hexdigest()


def widen(dtype, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype])


def main():
    for name, extra in GUISES.items():
        shutil.rmtree(OUT / name, ignore_errors=True)
        maker = [sys.executable, ROOT / "tools/make_model.py", OUT / name]
        subprocess.run(maker + SHAPE + extra, check=True)
    plain, sharded = (read_tensors(OUT / name) for name in GUISES)
    assert plain == sharded
    sums = {name: float(np.sum(widen(dtype, data), dtype=np.float64))
            for name, (dtype, _, data) in sorted(plain.items())}
    expected = {"identity": identity(plain), "sums": sums}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
