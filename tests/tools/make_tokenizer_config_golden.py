"""Makes config_cases.json of tests/runtime/test_tokenizer_config.c with transformers from PyPI.

    python tests/tools/make_tokenizer_config_golden.py

A case is a folder: small.tokenizer.json with some members replaced, and other files beside it, as
texts. It has the ids that transformers' AutoTokenizer gives some texts, and its bos_token_id. A case with
"refused" has ids in its files that transformers does not give those tokens.
"""
import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

try:
    from transformers import AutoTokenizer  # noqa: E402
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "tokenizer"
TEXTS = ["the old harbour kept 1998 letters", "It's 12 times, or 3,456; no?",
         "  two  spaces\n\n\tand a tab", "caf\u00e9 and cafe\u0301 with \ufb01, \uff21\uff11 and \u6771\u4eac",
         "a<|endoftext|>b"]
MARKED = ["a <x> b<y><z>", "<x><|endoftext|>  <y>", "the <s> old</s> <p>\n<q>", "<z\u0301e\u0301> <zé>x"]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **flags}


def pre(*parts):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(parts)}}


def config(**members):
    return {"tokenizer_config.json": {**FAST, **members}}


END = {"0": token("<|endoftext|>")}
HUGE = 1000000000000000019884624838656
CASES = [
    ("digits, each alone", pre({"type": "Digits", "individual_digits": True}, BYTES), config(), TEXTS),
    ("digits, runs", pre({"type": "Digits", "individual_digits": False}, BYTES), config(), TEXTS),
    ("no decoder", {"decoder": None}, config(), TEXTS),
    ("decoders", {"decoder": {"type": "Sequence", "decoders": [BYTES, {"type": "Fuse"}]}}, config(),
     TEXTS),
    ("byte fallback", {"model": {"byte_fallback": True}}, config(), TEXTS),
    ("padding and truncation", {
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 90}, "direction": "Right", "pad_to_multiple_of": None,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"}}, config(), TEXTS),
    ("chat tokens in the config", {}, config(
        model_max_length=HUGE, bos_token="<|endoftext|>", added_tokens_decoder={
            **END, "367": token("<|prompter|>"), "368": token("<|assistant|>")}),
     ["<|prompter|>the old harbour<|endoftext|><|assistant|>"]),
    ("descending ids", {}, config(added_tokens_decoder={
        "369": token("<z>"), "368": token("<y>"), "367": token("<x>"), **END}), MARKED),
    ("flags of the config", {}, config(added_tokens_decoder={
        "0": token("<|endoftext|>", lstrip=True, rstrip=True), "367": token("<x>", rstrip=True),
        "368": {"content": "<z\u00e9>"}, "369": token("<y>", single_word=True)}), MARKED),
    ("a word of the vocabulary", {}, config(added_tokens_decoder={
        **END, "364": token("the", special=False, normalized=True)}), ["then the other", "athe"]),
    ("names", {}, config(pad_token="<p>", bos_token="<s>", eos_token="</s>", q_token="<q>",
                         additional_special_tokens=["<x>", "<y>"], unk_token=None), MARKED),
    ("a named word", {}, config(bos_token="the"), ["the other", "then"]),
    ("an object as a name", {}, config(bos_token={
        "__type": "AddedToken", **token("<s>", lstrip=True), "special": False}), MARKED),
    ("named extras", {}, config(extra_special_tokens={"x_token": "<x>"}), MARKED),
    ("added_tokens.json", {}, {**config(pad_token="<y>"),
                               "added_tokens.json": {"<y>": 368, "<x>": 367, "<zé>": 369}}, MARKED),
    ("added_tokens.json is not read", {}, {
        **config(added_tokens_decoder=END), "added_tokens.json": {"<y>": 367}}, MARKED),
    ("special_tokens_map.json", {}, {**config(bos_token="<x>"), "special_tokens_map.json": {
        "bos_token": "<s>", "pad_token": {"content": "<p>", "lstrip": True, "rstrip": False,
                                          "normalized": True, "single_word": False},
        "additional_special_tokens": ["<q>", "<y>"]}}, MARKED),
    ("the map is not read", {}, {**config(added_tokens_decoder={**END, "367": token("<x>")}),
                                 "special_tokens_map.json": {"bos_token": "<s>"}}, MARKED),
    ("a prefix space of the config", {}, {"tokenizer_config.json": {
        "tokenizer_class": "GPTNeoXTokenizerFast", "add_prefix_space": True,
        "pad_token": "<|endoftext|>"}}, TEXTS),
    ("a gap", {}, config(added_tokens_decoder={**END, "380": token("<x>")}), "the next free id is 367"),
    ("an id that is taken", {}, config(added_tokens_decoder={**END, "5": token("<x>")}),
     "already another token's id"),
    ("another id than the vocabulary's", {}, config(added_tokens_decoder={**END, "367": token("the")}),
     "model.vocab gives its content the id 364"),
    ("another id than tokenizer.json's", {}, config(added_tokens_decoder={
        "367": token("<|endoftext|>")}), "tokenizer.json gives its content the id 0"),
    ("a gap in added_tokens.json", {}, {**config(), "added_tokens.json": {"<y>": 380}},
     "the next free id is 367"),
]


def write_folder(folder, base, members, files):
    tokenizer = json.loads(json.dumps(base))
    for key, value in members.items():
        tokenizer[key] = {**tokenizer[key], **value} if key == "model" else value
    contents = {"tokenizer.json": tokenizer, "config.json": {"model_type": "gpt_neox"}, **files}
    for name, content in contents.items():
        pathlib.Path(folder, name).write_text(json.dumps(content))


def main():
    base = json.loads((OUT / "small.tokenizer.json").read_text())
    cases = []
    for name, members, files, texts in CASES:
        case = {"name": name, "members": members, "files": {k: json.dumps(v) for k, v in files.items()}}
        with tempfile.TemporaryDirectory() as folder:
            write_folder(folder, base, members, files)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            if isinstance(texts, str):
                case["refused"] = texts
            else:
                case["texts"] = texts
                case["ids"] = [tokenizer(text)["input_ids"] for text in texts]
                case["bos"] = -1 if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        cases.append(case)
    lines = [json.dumps(case) for case in cases]
    (OUT / "config_cases.json").write_text("[" + ",\n".join(lines) + "]\n")


if __name__ == "__main__":
    main()
