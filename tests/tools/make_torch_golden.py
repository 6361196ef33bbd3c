#!/usr/bin/env python3
"""Writes tests/golden/torch: files of torch.save, good and refused ones.

    tests/tools/make_torch_golden.py     needs torch and safetensors

    plain/     the model of tests/golden/loader/plain as one pytorch_model.bin, protocol 2, with the
               buffers of old checkpoints (bool, f32) and an int64 tensor
    sharded/   the same without prefix, lm_head, as two shards of protocols 4 and 1; the index omits
               the buffers
    tied/      a model whose embed_out shares the storage of embed_in
    strided/   a model with one matrix that is a transposed view
    files/     small files; expected.json has for each the words of the sentence that refuses it, or
               null, and what the tensors are
"""
import argparse
import io
import json
import pathlib
import pickle
import shutil
import struct
import zipfile
from collections import OrderedDict

try:
    import torch
    from safetensors.torch import load_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADER = ROOT / "tests/golden/loader"
OUT = ROOT / "tests/golden/torch"


def buffers():
    """The buffers of old GPT-NeoX checkpoints, and one that never was."""
    found = {}
    for layer in range(2):
        prefix = f"gpt_neox.layers.{layer}.attention."
        found[prefix + "bias"] = torch.tril(torch.ones(8, 8, dtype=torch.bool)).view(1, 1, 8, 8)
        found[prefix + "masked_bias"] = torch.tensor(-1e9)
        found[prefix + "rotary_emb.inv_freq"] = torch.tensor([1.0, 0.5])
    found["steps"] = torch.tensor([3, 4], dtype=torch.int64)
    return found


def write_models():
    """The four folders of models."""
    weights = load_file(LOADER / "plain/model.safetensors")
    for name in ("plain", "sharded", "tied", "strided"):
        (OUT / name).mkdir(parents=True)
        shutil.copy(LOADER / "plain/config.json", OUT / name)
    torch.save(OrderedDict(sorted({**weights, **buffers()}.items())), OUT / "plain/pytorch_model.bin")

    short = {n.removeprefix("gpt_neox.").replace("embed_out", "lm_head"): t
             for n, t in weights.items()}
    names = sorted(short)
    halves = names[:len(names) // 2], names[len(names) // 2:]
    index = {"metadata": {"total_size": 1}, "weight_map": {}}
    for i, (half, protocol) in enumerate(zip(halves, (4, 1)), 1):
        file = f"pytorch_model-{i:05}-of-00002.bin"
        state = {name: short[name] for name in half}
        state |= {n.removeprefix("gpt_neox."): t for n, t in buffers().items() if f".{i - 1}." in n}
        state["attention.masked"] = torch.zeros(1)  # in both, listed in neither
        torch.save(state, OUT / "sharded" / file, pickle_protocol=protocol)
        index["weight_map"] |= {name: file for name in half}
    text = json.dumps(index, indent=1)
    (OUT / "sharded/pytorch_model.bin.index.json").write_text(text + "\n")

    strided = dict(weights)
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    strided[name] = weights[name].t().contiguous().t()
    torch.save(strided, OUT / "strided/pytorch_model.bin")

    tied = dict(weights)
    tied["embed_out.weight"] = tied["gpt_neox.embed_in.weight"]
    torch.save(tied, OUT / "tied/pytorch_model.bin")
    config = json.loads((OUT / "tied/config.json").read_text())
    (OUT / "tied/config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}) + "\n")


def saved(value, **options):
    """torch.save as bytes; the name in the archive is then "archive"."""
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def archive(pkl, entries=None, name="archive", method=zipfile.ZIP_STORED):
    """A zip archive of these entries, without alignment, as other programs write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for key, data in {"data.pkl": pkl, **(entries or {})}.items():
            z.writestr(zipfile.ZipInfo(f"{name}/{key}"), data, method)  # dated 1980
    return out.getvalue()


def archive64(entries):
    """The same with sizes and offsets of 64 bits, as in files beyond 4 GiB."""
    out, directory, full = b"", b"", b"\xff" * 4
    for key, data in entries.items():
        name = f"archive/{key}".encode()
        wide = struct.pack("<HHQQQ", 1, 24, len(data), len(data), len(out))
        directory += b"PK\1\2" + bytes(16) + full + full
        directory += struct.pack("<HHHHHI", len(name), 4 + len(wide), 0, 0, 0, 0) + full
        directory += name + b"FB\0\0" + wide
        out += b"PK\3\4" + bytes(14) + full + full + struct.pack("<HH", len(name), 20)
        out += name + wide[:20] + data
    end = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(entries), len(entries), len(directory),
                      len(out))
    locator = struct.pack("<IQI", 0, len(out) + len(directory), 1)
    return (out + directory + b"PK\6\6" + end + b"PK\6\7" + locator + b"PK\5\6" + b"\xff" * 16
            + bytes(2))


class Call:
    """Pickles as function(*arguments)."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


class Pickler(pickle.Pickler):
    """torch.save's pickle, of tensors whose arguments may lie."""

    def persistent_id(self, value):
        return tuple(value) if isinstance(value, Storage) else None


class Storage(tuple):
    """A persistent id."""


def pickled(value, protocol=2):
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def tensor(shape=(2, 3), strides=(3, 1), offset=0, length=6, key="0", kind=torch.FloatStorage,
           more=()):
    """A tensor as torch.save writes it."""
    storage = Storage(("storage", kind, key, "cpu", length))
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False,
                OrderedDict(), *more)


def lie(value, data=bytes(range(24))):
    return archive(pickled(value), {"data/0": data, "version": "3\n"})


def patched(data, what, to, count=1):
    """data with its bytes `what` replaced; they must be there."""
    assert what in data, what
    return data.replace(what, to, count)


def good_files():
    """name -> (bytes, what is in it)."""
    ones = {"a": torch.arange(6, dtype=torch.float32).view(2, 3)}
    fact = {"a": ["F32", [2, 3]]}
    linear = torch.nn.Linear(3, 2)
    state = {"weight": ["F32", [2, 3]], "bias": ["F32", [2]]}
    shared = torch.arange(8, dtype=torch.float16)
    kinds = {str(i): torch.ones(2, dtype=d) for i, d in enumerate((
        torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32,
        torch.int16, torch.int8, torch.uint8, torch.bool))}
    dtypes = ["F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    files = {f"protocol_{p}": (saved(linear.state_dict(), pickle_protocol=p), state)
             for p in (1, 2, 3, 4, 5)}
    files["kinds"] = saved(kinds), {str(i): [d, [2]] for i, d in enumerate(dtypes)}
    files["shapes"] = saved({"scalar": torch.tensor(2.0), "empty": torch.zeros(0, 7),
                             "ones": torch.ones(1, 3, 1)}), {
        "scalar": ["F32", []], "empty": ["F32", [0, 7]], "ones": ["F32", [1, 3, 1]]}
    files["shared"] = saved({"a": shared[:4], "b": shared[4:].view(2, 2), "c": shared}), {
        "a": ["F16", [4]], "b": ["F16", [2, 2]], "c": ["F16", [8]]}
    files["parameter"] = saved({"a": torch.nn.Parameter(torch.ones(2))}), {"a": ["F32", [2]]}
    files["empty"] = saved({}), {}
    files["strided"] = saved({"a": torch.ones(2, 3).t(), "b": torch.ones(2)}), {
        "a": None, "b": ["F32", [2]]}
    files["unaligned"] = archive(pickled({"a": tensor()}), {"data/0": bytes(24)}), fact
    files["wide"] = archive64({"data.pkl": pickled({"a": tensor()}), "data/0": bytes(24)}), fact
    files["commented"] = saved(ones)[:-2] + struct.pack("<H", 5) + b"hello", fact
    return files


def refused_files():
    """name -> (bytes, words of the sentence)."""
    ones = {"a": torch.ones(2, 3)}
    whole = saved(ones)
    plain = lie({"a": tensor()})
    ending = plain.rindex(b"PK\5\6")
    files = {
        "calls_system": (archive(pickled({"a": Call(__import__("os").system, "true")})),
                         "calls posix.system, which no state dict needs"),
        "calls_eval": (archive(pickled({"a": Call(eval, "1")}, 4)), "calls builtins.eval"),
        "calls_storage": (lie({"a": Call(torch.FloatStorage, 3)}),
                          "calls torch.FloatStorage with arguments"),
        "ordered_arguments": (lie({"a": Call(OrderedDict, ())}),
                              "calls collections.OrderedDict with arguments"),
        "whole_module": (saved(torch.nn.Linear(1, 1)), "which no state dict needs"),
        "new_kind": (saved({"a": torch.ones(2, dtype=torch.uint16)}),
                     "_rebuild_tensor_v3, which no state dict needs"),
        "nested": (saved({"state_dict": ones}), "\"state_dict\" is not a tensor|state dict alone"),
        "training": (saved({"model": ones, "epoch": 3, "rates": [0.1, 0.2]}),
                     "\"model\" is not a tensor"),
        "number": (saved({"epoch": 3}), "\"epoch\" is not a tensor"),
        "list": (saved([torch.ones(1)]), "is not a dict"),
        "only_tensor": (saved(torch.ones(1)), "is not a dict"),
        "name_number": (saved({1: torch.ones(1)}), "name is not a text"),
        "name_zero": (saved({"a\0b": torch.ones(1)}), "name is not a text"),
        "name_long": (saved({"a" * 1025: torch.ones(1)}), "at most 1,024 bytes"),
        "protocol_0": (archive(pickle.dumps({"a": 1}, 0)), "which no state dict needs"),
        "legacy": (saved(ones, _use_new_zipfile_serialization=False), "before 1.6"),
        "pickle": (pickle.dumps({"a": 1}), "no zip archive"),
        "text": (b"hello\n", "no zip archive"),
        "nothing": (b"", "no zip archive"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                    "git-lfs pointer"),
        "page": (b"<!DOCTYPE html><html></html>", "HTML page"),
        "truncated": (whole[:-1], "no directory at its end|truncated"),
        "half": (whole[:len(whole) // 2], "truncated"),
        "other_zip": (archive(b"").replace(b"data.pkl", b"data.pkk"), "without data.pkl"),
        "script": (archive(pickled({}), {"constants.pkl": b""}), "TorchScript"),
        "big_endian": (archive(pickled({}), {"byteorder": b"big"}), "byte order"),
        "packed_pickle": (archive(pickled({"a": "b" * 99}), method=zipfile.ZIP_DEFLATED),
                          "data.pkl is compressed"),
        "missing_storage": (lie({"a": tensor(key="1")}), "data/1, which is not in the archive"),
        "key_leaves": (lie({"a": tensor(key="../data.pkl")}), "not in the archive"),
        "short_storage": (lie({"a": tensor(length=7)}), "24 bytes|7 elements of 4"),
        "wrong_kind": (lie({"a": tensor(kind=torch.HalfStorage)}), "24 bytes|6 elements of 2"),
        "beyond": (lie({"a": tensor(offset=1)}), "6 elements from element 1|only 6"),
        "far_offset": (lie({"a": tensor(offset=2**63 - 1)}), "from element 9223372036854775807"),
        "large_shape": (lie({"a": tensor(shape=(2**31, 2**31), strides=(2**31, 1))}), "overflows"),
        "negative_shape": (lie({"a": tensor(shape=(-1, 3))}), "non-negative"),
        "negative_offset": (lie({"a": tensor(offset=-1)}), "without a storage and an offset"),
        "rank_9": (lie({"a": tensor(shape=(1,) * 9, strides=(1,) * 9)}), "more than 8"),
        "ranks_differ": (lie({"a": tensor(strides=(1,))}), "do not fit"),
        "conjugate": (lie({"a": tensor(more=({"conj": True},))}), "properties"),
        "few_arguments": (lie({"a": Call(torch._utils._rebuild_tensor_v2, 1)}), "6 or 7"),
        "no_storage": (lie({"a": Call(torch._utils._rebuild_tensor_v2, 1, 0, (), (), False, {})}),
                       "without a storage"),
        "other_object": (lie({"a": Storage(("module", 1, 2, 3, 4))}), "not a storage"),
        "storage_alone": (lie({"a": Storage(("storage", torch.FloatStorage, "0", "cpu", 6))}),
                          "\"a\" is not a tensor"),
        "twice": (archive(b"}q\0(X\1\0\0\0aX\1\0\0\0bX\1\0\0\0aX\1\0\0\0bu."), "not a tensor"),
        "no_end": (archive(b"}"), "has no end"),
        "cut_text": (archive(b"X\xff\0\0\0abc"), "ends in the middle"),
        "cut_line": (archive(b"cos\nsystem"), "ends in the middle"),
        "no_value": (archive(b"R."), "takes more values"),
        "no_mark": (archive(b"}u."), "takes more values"),
        "past_mark": (archive(b"}(0s."), "instruction 0x30"),
        "two_values": (archive(b"}}."), "does not end with one value"),
        "memo_unknown": (archive(b"h\7."), "has not kept"),
        "memo_far": (archive(b"}r\xff\xff\xff\xff."), "more than 1048576 values"),
        "set_number": (archive(b"K\1NNs."), "not a dict"),
        "call_number": (archive(b"K\1)R."), "not a function"),
        "name_by_number": (archive(b"K\1K\2\x93."), "not a text"),
        "opcode_0": (archive(b"\0"), "instruction 0x00"),
        "protocol_9": (archive(b"\x80\x09}."), "protocol 9"),
        "integer_text": (archive(b"I42\n."), "integer as text"),
        "directory_far": (patched(plain, plain[ending + 16:ending + 20], b"\xff\xff\xff\x7f"),
                          "directory is damaged"),
        "entries_many": (plain[:ending + 10] + b"\xff\xff" + plain[ending + 12:],
                         "directory is damaged"),
    }
    wide = archive64({"data.pkl": pickled({"a": tensor()}), "data/0": bytes(24)})
    files["wide_short"] = patched(wide, b"FB\0\0\1\0\x18\0", b"FB\0\0\1\0\x10\0"), "damaged"
    files["wide_far"] = (patched(wide, wide[-42:-34], b"\xff" * 8), "directory is damaged")
    first = plain.index(b"PK\1\2")
    second = plain.index(b"PK\1\2", first + 1)
    to_start = plain[:second + 42] + bytes(4) + plain[second + 46:]
    files["same_place"] = to_start, "damaged or beyond"
    files["other_name"] = (plain[:second] + patched(plain[second:], b"data/0", b"data/1"),
                           "damaged or beyond")
    files["encrypted"] = (plain[:second + 8] + b"\1\0" + plain[second + 10:],
                          "compressed or encrypted")
    grown = struct.pack("<II", 4000, 4000)
    files["entry_far"] = plain[:second + 20] + grown + plain[second + 28:], "beyond its end"
    longer = struct.pack("<II", 60, 60)
    files["overlap"] = plain[:second + 20] + longer + plain[second + 28:], "overlaps another"
    return files


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.manual_seed(1)
    shutil.rmtree(OUT, ignore_errors=True)
    write_models()
    (OUT / "files").mkdir()
    expected = {}
    for name, (data, facts) in good_files().items():
        (OUT / "files" / f"{name}.bin").write_bytes(data)
        expected[name] = {"tensors": facts}
    for name, (data, words) in refused_files().items():
        (OUT / "files" / f"{name}.bin").write_bytes(data)
        expected[name] = {"words": words}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
