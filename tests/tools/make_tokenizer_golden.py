"""Makes the golden data of tests/runtime/test_tokenizer.c with the tokenizers library from PyPI.

    python tests/tools/make_tokenizer_golden.py

The strings are generated from a fixed seed and written to strings.bin. For each tokenizer, NAME.bin
holds the library's results for them with trim_offsets off, and for the decoding of random ids. All
numbers are little-endian; a varint has seven bits per byte, the lowest first.

strings.bin: "PSCTKS1\\n", u32 count; per string varint length, UTF-8 bytes.
NAME.bin:    "PSCTKG1\\n", u32 strings; per string varint tokens, u16 id each, then an offset each;
             u32 decodings; per decoding u8 skip_special, varint ids, u16 each, varint length, text.
An offset pair, in characters: one byte (gap + 4) * 16 + length, where gap is start minus the end of
the token before (-4 to 10) and length at most 15; else 0xff, varint start, varint end.
"""
import json
import pathlib
import random
import struct

try:
    from tokenizers import Tokenizer
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "tokenizer"
TOKENIZERS = {
    "pythia": OUT / "gpt-neox-20b.tokenizer.json",
    "books": ROOT / "models" / "books-5m" / "tokenizer.json",
}
N_STRINGS = 10400
N_DECODINGS = 600

SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_SPACES = "\u200b\u180e\ufeff\u2060\x1c\x1f\x00\x7f\xad"
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17F), (0x180, 0x24F), (0x250, 0x2AF),
           (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x556), (0x5D0, 0x5EA), (0x620, 0x669),
           (0x710, 0x72F), (0x904, 0x96F), (0x985, 0x9FB), (0xA05, 0xA74), (0xB05, 0xB77),
           (0xB83, 0xBFA), (0xC05, 0xC7F), (0xC85, 0xCF2), (0xD05, 0xD7F), (0xD85, 0xDF4),
           (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xF6C), (0x1000, 0x109F), (0x10A0, 0x10FF),
           (0x1200, 0x137C), (0x13A0, 0x13F5), (0x1780, 0x17F9), (0x1800, 0x1878),
           (0x1E00, 0x1FFE), (0x2070, 0x209C), (0x20A0, 0x20C0), (0x2100, 0x218B),
           (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2C00, 0x2DDE),
           (0x3041, 0x30FF), (0x3105, 0x312F), (0x3131, 0x318E), (0x3220, 0x33FF),
           (0x3400, 0x3500), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xA720, 0xA7CA),
           (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFB00, 0xFDFF), (0xFE70, 0xFEFC),
           (0xFF01, 0xFFEE), (0x10000, 0x100FA), (0x10330, 0x1034A), (0x10400, 0x1049D),
           (0x12000, 0x12399), (0x1D100, 0x1D1E8), (0x1D400, 0x1D7FF), (0x1E900, 0x1E959),
           (0x1F000, 0x1F02B), (0x1F100, 0x1F1AD), (0x1F300, 0x1FAF6), (0x20000, 0x2A6DF),
           (0x30000, 0x3134A), (0xE0020, 0xE007F), (0xE0100, 0xE01EF), (0xE000, 0xF8FF)]
# Letters and numbers of Unicode 15 and 16, which the split pattern names one by one.
NEW = [(0x1C89, 0x1C8A), (0xA7CB, 0xA7CD), (0x105C0, 0x105F3), (0x10D40, 0x10D65),
       (0x11380, 0x113B7), (0x11BC0, 0x11BF9), (0x11F02, 0x11F59), (0x13460, 0x143FA),
       (0x16D40, 0x16D79), (0x1CCF0, 0x1CCF9), (0x1E4D0, 0x1E4F9), (0x1E5D0, 0x1E5FA),
       (0x2EBF0, 0x2EE5D), (0x31350, 0x323AF)]
MARKS = [(0x300, 0x34F), (0x350, 0x36F), (0x591, 0x5BD), (0x64B, 0x65F), (0x93C, 0x94D),
         (0xE31, 0xE3A), (0xF71, 0xF84), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF), (0x20D0, 0x20F0),
         (0x302A, 0x302F), (0x3099, 0x309A), (0xFE20, 0xFE2F), (0x1D165, 0x1D172)]
SINGLETONS = ("\u0340\u0341\u0343\u0344\u0374\u037e\u0387\u0958\u09dc\u09df\u0a33\u0b5c\u0f43\u0f73"
              "\u0f75\u0f78\u0f81\u1f71\u1fbe\u2000\u2001\u2126\u212a\u212b\u2329\u2adc\uf900\ufa10"
              "\ufb1d\ufb1f\ufb2a\ufb4e\U0001d15e\U0001d160\U0001d1bb\U0002f800\U0002fa1d")
PAIRS = ["\u09c7\u09be", "\u0b47\u0b3e", "\u0bc6\u0bd7", "\u0cc6\u0cc2\u0cd5", "\u0dd9\u0dcf\u0dca",
         "\u1025\u102e", "\u1b05\u1b35", "\U00011131\U00011127", "\U000114b9\U000114ba",
         "\u0915\u093c", "\u0928\u093c", "\u304b\u3099", "\u306f\u309a", "\u05d0\u05b7",
         "\u0627\u0653", "\u0f71\u0f72", "\u1100\u1161", "\u1112\u1175\u11c2", "\uac00\u11a8",
         "\uac01\u11a8", "\u1100\u1100\u1161", "\U00011935\U00011930"]
WORDS = ("the of and to in that was his he it with is for as had you not be her on at by which have "
         "or from this him but all she they were my are me one their so an said them we who would "
         "been will no when there if more out up into do any your what has man could other than our "
         "some very time upon about may its only now like little then can should made did us such "
         "great before must two these see know over much down after first mr good men own never most "
         "old shall day where those came come himself way work without go make well through being "
         "long say might how am too def return import while class struct void const static printf "
         "antidisestablishmentarianism internationalization Pneumonoultramicroscopic HTTPServer "
         "camelCaseIdentifier snake_case_name O'Brien Elephant London Paris naïve café Ångström "
         "façade Straße œuvre Łódź Dvořák Ελλάδα Москва Київ שלום مرحبا नमस्ते สวัสดี 日本語 "
         "こんにちは 안녕하세요 你好世界 ქართული Հայերեն አማርኛ ភាសាខ្មែរ မြန်မာ").split()
EMOJI = ["😀", "👩‍👩‍👧‍👦", "👨🏽‍🚀", "🏳️‍🌈", "🇫🇷", "🇯🇵🇩🇪", "1️⃣", "❤️", "👍🏿", "🧑‍🤝‍🧑", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "☺", "🫠", "🤷🏻‍♀️"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'LL",
                "'D", "'", "''", "'lls", "\u2019s", "\u2019ll", " 's", "'x"]
ADDED = ["<|endoftext|>", "<|padding|>", "<|endoftext", "|endoftext|>", "<|endoftext|><|padding|>",
         " <|endoftext|> ", "<|ENDOFTEXT|>", "<|endo\u0301ftext|>", "  <|padding|>\n"]
CODE = ["for (int i = 0; i < n; ++i) {\n    a[i] += b[i] * 2.5f;\n}\n",
        "def f(x, *, y=None):\n\treturn {**x, 'k': y or [1, 2]}\n", "<div class=\"a-b\">&nbsp;</div>",
        "SELECT * FROM t WHERE id != 0x1F;", "    if x:\n        pass\n\n\n", "#include <stdio.h>\r\n",
        "a->b::c(&d)[0]//x", "https://example.org/a?b=c&d=%20#e", "$ ls -la | grep '\\.c$'\n",
        "std::vector<std::pair<int,int>>", "{\"k\": [null, true, 1e-9]}", "x = ~(y ^ z) >> 3;\\\\",
        "__init__", "//////////", "===>", "```c\n```", "0b1010_1111", "-1.5e+10", "@@ -1,3 +1,4 @@"]


def char(r, ranges):
    first, last = r.choice(ranges)
    c = r.randint(first, last)
    return chr(c)


def spaces(r):
    kind = r.randrange(5)
    if kind == 0:
        return " " * r.randint(1, 30)
    if kind == 1:
        return r.choice("\t\n") * r.randint(1, 5)
    if kind == 2:
        return "\r\n" * r.randint(1, 3) + " " * r.randint(0, 9)
    if kind == 3:
        return "".join(r.choice(SPACES) for _ in range(r.randint(1, 5)))
    return "".join(r.choice(SPACES + NOT_SPACES + "  ") for _ in range(r.randint(1, 4)))


def script(r):
    first, last = r.choice(SCRIPTS)
    return "".join(chr(r.randint(first, last)) for _ in range(r.randint(1, 4)))


def combining(r):
    kind = r.randrange(6)
    if kind == 0:
        base = r.choice("aeiouAsScCnqy\u03b1\u0418\u0915\u05d0\u304b ")
        return base + "".join(char(r, MARKS) for _ in range(r.randint(1, 4)))
    if kind == 1:
        return r.choice("aeosu\u00e9\u1e69\u01d5\u1ed9") + "".join(
            r.choice("\u0300\u0301\u0302\u0304\u0307\u0308\u0323\u0327\u0328\u0331\u0345")
            for _ in range(r.randint(1, 4)))
    if kind == 2:
        return r.choice(SINGLETONS) + r.choice(["", "\u0301", "\u0323", "x"])
    if kind == 3:
        return r.choice(PAIRS) + r.choice(["", "\u0301", "\u093c", "\u11a8"])
    if kind == 4:
        return "".join(chr(r.randint(*r.choice([(0x1100, 0x1112), (0x1161, 0x1175), (0x11A7, 0x11C2),
                                                 (0xAC00, 0xAC1F)]))) for _ in range(r.randint(1, 4)))
    return "".join(char(r, MARKS) for _ in range(r.randint(1, 20 if r.random() < 0.05 else 4)))


def word(r):
    w = r.choice(WORDS)
    kind = r.randrange(12)
    if kind == 0:
        w = w.upper()
    elif kind == 1:
        w = w.capitalize()
    elif kind == 2:
        w += r.choice(CONTRACTIONS)
    elif kind == 3:
        w = "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(1, 24)))
    return r.choice(["", " ", " "]) + w


def digits(r):
    d = r.choice(["0123456789", "0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "½²³①Ⅷ㊿", "0123456789.,:-"])
    return r.choice(["", " "]) + "".join(r.choice(d) for _ in range(r.randint(1, 12)))


def any_char(r):
    if r.random() < 0.15:
        return char(r, NEW)
    while True:
        c = r.randrange(0x110000 if r.random() < 0.3 else 0x10000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


PARTS = [(word, 30), (spaces, 16), (script, 12), (combining, 14), (digits, 6), (any_char, 5),
         (lambda r: r.choice(EMOJI), 3), (lambda r: r.choice(CONTRACTIONS), 4),
         (lambda r: r.choice(ADDED), 4), (lambda r: r.choice(CODE), 2),
         (lambda r: r.choice("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~¿«»…—“”") * r.randint(1, 3), 6)]


def make_string(r):
    makers, weights = zip(*PARTS)
    n = min(1 + int(r.expovariate(0.4)), 14)
    return "".join(r.choices(makers, weights)[0](r) for _ in range(n))


def make_strings():
    r = random.Random(20240229)
    strings = ["", " ", "\n", "'", "\x00", "a", "\u0301", "<|endoftext|>"]
    strings += [" " * n for n in range(2, 60)]
    strings += ["x" + " " * n + "y" for n in range(1, 30)]
    strings += ["a" * 1500, "ab" * 700 + " ", "\u00e9" * 300, "\u0301\u0323" * 200, "0" * 400,
                "\n" * 300, "\u3000" * 100, "antidis" * 60]
    while len(strings) < N_STRINGS:
        strings.append(make_string(r))
    return strings


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def open_tokenizer(path):
    source = json.loads(path.read_text())
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        source[part]["trim_offsets"] = False
    return Tokenizer.from_str(json.dumps(source))


def pack_encoding(encoding):
    out = bytearray(varint(len(encoding.ids)))
    out += struct.pack(f"<{len(encoding.ids)}H", *encoding.ids)
    done = 0
    for start, end in encoding.offsets:
        gap, length = start - done, end - start
        if -4 <= gap <= 10 and 0 <= length <= 15:
            out.append((gap + 4) * 16 + length)
        else:
            out += b"\xff" + varint(start) + varint(end)
        done = end
    return bytes(out)


def pack_decoding(r, tokenizer, size, texts):
    kind = r.randrange(3)
    if kind == 0:  # any ids: mostly broken characters
        ids = [r.randrange(size) for _ in range(r.randint(0, 12))]
    elif kind == 1:  # single bytes and special tokens
        ids = [r.randrange(300) for _ in range(r.randint(1, 16))]
    else:  # real text, cut at any place
        ids = tokenizer.encode(r.choice(texts)).ids
        ids = ids[r.randint(0, len(ids)):][:20]
    if r.random() < 0.2:
        ids.insert(r.randint(0, len(ids)), r.choice([0, 1, size, size + 20, 65535]))
    skip = r.random() < 0.5
    text = tokenizer.decode(ids, skip_special_tokens=skip).encode()
    return (bytes([skip]) + varint(len(ids)) + struct.pack(f"<{len(ids)}H", *ids)
            + varint(len(text)) + text)


def main():
    strings = make_strings()
    with open(OUT / "strings.bin", "wb") as f:
        f.write(b"PSCTKS1\n" + struct.pack("<I", len(strings)))
        for s in strings:
            f.write(varint(len(s.encode())) + s.encode())
    for name, path in TOKENIZERS.items():
        tokenizer = open_tokenizer(path)
        size = tokenizer.get_vocab_size()
        r = random.Random(name)
        with open(OUT / f"{name}.bin", "wb") as f:
            f.write(b"PSCTKG1\n" + struct.pack("<I", len(strings)))
            for s in strings:
                f.write(pack_encoding(tokenizer.encode(s)))
            f.write(struct.pack("<I", N_DECODINGS))
            for _ in range(N_DECODINGS):
                f.write(pack_decoding(r, tokenizer, size, strings))


if __name__ == "__main__":
    main()
