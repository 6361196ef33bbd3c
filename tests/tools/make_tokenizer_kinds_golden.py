"""Makes the golden data of tests/runtime/test_tokenizer_kinds.c: other kinds of tokenizer.json.

    python tests/tools/make_tokenizer_kinds_golden.py

Each kind is the tokenizer of Pythia with some members replaced. kinds.json lists the members,
kinds.bin holds a hash of the tokenizers library's tokens for every fifth string of strings.bin.

kinds.bin: "PSCTKK1\\n", u32 kinds, u32 strings; per kind a u32 hash per string (little-endian).
A hash is FNV-1a, 32 bits, of each id as u16, then, if the tokens decode to the string, of each
token's start and end in characters as u32.
"""
import json
import pathlib
import struct

try:
    from tokenizers import Tokenizer
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "tokenizer"
BASE = OUT / "gpt-neox-20b.tokenizer.json"
EVERY = 5

LLAMA = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
         " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
POSSESSIVE = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}|"
              " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")
QWEN = LLAMA.replace("{1,3}", "")
GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"


def byte_level(regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": False,
            "use_regex": regex}


def split(regex, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: regex}, "behavior": behavior, "invert": invert}


def digits(each):
    return {"type": "Digits", "individual_digits": each}


def pre(*parts):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(parts)}}


KINDS = {
    "digits, each alone": pre(digits(True), byte_level()),
    "digits, runs": pre(digits(False), byte_level()),
    "digits, spaces in front": pre(digits(True), byte_level(prefix=True)),
    "digits in a nested sequence, no normalizer": {
        **pre(pre(digits(True))["pre_tokenizer"], byte_level()), "normalizer": None},
    "no decoder": {"decoder": None},
    "sequence of decoders": {"decoder": {"type": "Sequence", "decoders": [
        {**byte_level(), "add_prefix_space": True}, {"type": "Fuse"}]}},
    "byte fallback that never acts": {"model": {"byte_fallback": True}},
    "llama 3": {**pre(split(LLAMA), byte_level(regex=False)), "model": {"ignore_merges": True}},
    "possessive": pre(split(POSSESSIVE), byte_level(regex=False)),
    "qwen 2": pre(split(QWEN), byte_level(regex=False)),
    "gpt 2 by Split, inverted": pre(split(GPT2, "Contiguous", invert=True), byte_level(False)),
    "numbers from the left": pre(split("\\p{N}{1,3}"), split("\\s|[A-Za-z_-]+"), byte_level(False)),
    "space with what follows": pre(split(" ", "MergedWithNext", kind="String"), byte_level(False)),
    "space with what precedes": pre(split(" ", "MergedWithPrevious", kind="String"),
                                    byte_level(False)),
    "lines, contiguous": pre(split("[\\r\\n.]", "Contiguous"), byte_level(prefix=True)),
    "digits, lines, words": pre(digits(False), split("\\n|\\D\\d*?\\.(?=\\s)"), byte_level()),
}


def changed(patch, base):
    out = json.loads(json.dumps(base))
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        out[part]["trim_offsets"] = False
    for key, value in patch.items():
        if key == "model":
            out[key].update(value)
        else:
            out[key] = value
    return out


def read_strings():
    data = (OUT / "strings.bin").read_bytes()
    at, out = 12, []
    for _ in range(struct.unpack_from("<I", data, 8)[0]):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        out.append(data[at:at + length].decode())
        at += length
    return out[::EVERY]


def fnv(data):
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def main():
    base = json.loads(BASE.read_text())
    strings = read_strings()
    with open(OUT / "kinds.json", "w") as f:
        json.dump([{"name": name, "members": patch} for name, patch in KINDS.items()], f, indent=1)
        f.write("\n")
    reader = Tokenizer.from_str(json.dumps(base))
    with open(OUT / "kinds.bin", "wb") as f:
        f.write(b"PSCTKK1\n" + struct.pack("<II", len(KINDS), len(strings)))
        for patch in KINDS.values():
            tokenizer = Tokenizer.from_str(json.dumps(changed(patch, base)))
            for text in strings:
                encoding = tokenizer.encode(text)
                data = struct.pack(f"<{len(encoding.ids)}H", *encoding.ids)
                if reader.decode(encoding.ids, skip_special_tokens=False) == text:
                    pairs = [x for pair in encoding.offsets for x in pair]
                    data += struct.pack(f"<{len(pairs)}I", *pairs)
                f.write(struct.pack("<I", fnv(data)))


if __name__ == "__main__":
    main()
