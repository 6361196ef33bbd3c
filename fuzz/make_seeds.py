"""Makes fuzz/seeds: small inputs for every harness, from golden data and by hand.

usage: python3 fuzz/make_seeds.py [PROGRAM]      default: build/release/pythiascope

Replaces fuzz/seeds. Needs Python and the program, which writes the folders of results. Each harness
says in its first lines what an input is.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "golden"
PART = b"\n\f\n"  # between the files of an input
DATA = b"\f\f"  # between a safetensors header and its data
MODEL = GOLDEN / "parity" / "sharded_padded_f16"
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "build/release/pythiascope"


def compact(value: object) -> bytes:
    """Returns a value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def tensors(*entries: tuple[str, str, list[int], bytes], **metadata: str) -> bytes:
    """Returns a safetensors file as the harnesses take it, from names, dtypes, shapes and bytes."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, dtype, shape, content in entries:
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    return compact(header) + DATA + data


def floats(n: int, first: float = 0.25) -> bytes:
    """Returns n f32 numbers."""
    return struct.pack(f"<{n}f", *(first + i / 8 for i in range(n)))


def of_safetensors() -> dict[str, bytes]:
    """Returns files of one, several, empty and no tensors."""
    return {
        "none": b"{}" + DATA,
        "metadata": compact({"__metadata__": {"format": "pt"}}) + DATA,
        "kinds": tensors(
            ("a", "F32", [2, 1], floats(2)),
            ("b.weight", "BF16", [3], b"abcdef"),
            ("c", "BOOL", [], b"\1"),
            ("d", "I64", [0, 5], b""),
            format="pt",
        ),
        "gap": compact({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}) + DATA + b"ab",
        "raw": (GOLDEN / "lens" / "parallel_f32_affine.safetensors").read_bytes()[:900],
    }


def of_json() -> dict[str, bytes]:
    """Returns documents with every kind of value, good and bad."""
    return {
        "values": b'{"a": [1, -2.5e3, true, false, null, "x"], "b": {}, "c": []}',
        "escapes": b'["\\u00e9\\ud83d\\ude00\\n\\t\\"\\\\\\/", "\xc3\xa9\xf0\x9f\x98\x80"]',
        "zero": b'{"a": "x\\u0000y"}',
        "numbers": b"[0, -0, -0.0, 1e308, 1e309, 9223372036854775807, 9223372036854775808, 01]",
        "python": b'{"a": NaN, "b": [Infinity, -Infinity], "c": 1e999}',
        "twice": b'{"a": 1, "a": 2}',
        "deep": b"[" * 300 + b"]" * 300,
        "broken": b'["a\xff", 1]',
        "halves": b'["\\ud800", "\\udc00\\ud800"]',
        "open": b'{"a": [1, 2',
        "after": b"[] x",
        "blank": b" \t\r\n",
    }


def of_index() -> dict[str, bytes]:
    """Returns sharded sets of both kinds."""
    a, b = tensors(("x", "F32", [1], floats(1))), tensors(("y", "F16", [2], b"abcd"))
    names = {"x": "a.safetensors", "y": "b.safetensors"}
    torch = sorted((GOLDEN / "torch" / "files").glob("half.bin"))[0].read_bytes()
    index = compact({"metadata": {"total_size": 8}, "weight_map": names})
    return {
        "two": b"S" + index + PART + a + PART + b,
        "missing": b"S" + compact({"weight_map": {"z": "a.safetensors"}}) + PART + a + PART + b,
        "elsewhere": b"S" + compact({"weight_map": {"x": "../a.safetensors"}}) + PART + a,
        "torch": b"B" + compact({"weight_map": {"w": "a.bin"}}) + PART + torch + PART + torch,
    }


def of_config() -> dict[str, bytes]:
    """Returns the golden configs, of both versions of transformers, with and without ends."""
    out = {}
    for path in sorted(GOLDEN.glob("parity/*/config.json")):
        out[path.parent.name] = compact(json.loads(path.read_text()))
    fits = json.loads((MODEL / "config.json").read_text())
    ends = PART + compact({"eos_token_id": [0, 7], "bos_token_id": 0})
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    out["fits_ends"] = compact(fits) + ends
    out["fits_yarn"] = compact({**fits, "rope_scaling": scaling})
    out["fits_v5"] = compact(
        {**fits, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0}}
    )
    return out


def tokenizer(whole_vocabulary: bool = False, **changes: object) -> bytes:
    """Returns the tiny model's tokenizer.json with other members; by default a small one."""
    whole = json.loads((MODEL / "tokenizer.json").read_text())
    if whole_vocabulary:
        return compact({**whole, **changes})
    whole["model"]["unk_token"] = "<|endoftext|>"
    vocab = ["<|endoftext|>", *"abcdeht .,'0123Ġ", "th", "the", "Ġthe", "é"]
    whole["model"]["vocab"] = {word: i for i, word in enumerate(vocab)}
    return compact({**whole, **changes})


TEXTS = {
    "plain": b"the end, and 12 of them.",
    "marks": "e\u0301 caf\u00e9 \u1e9b\u0323 \U0001f600 \uac00\u11a8".encode(),
    "added": b"<|endoftext|> the<|endoftext|>  ",
    "broken": b"a\xffb\xc3(\xe2\x82",
    "blank": b" \t\n\n   \r\n's 'll don't",
}


def of_tokenizer() -> dict[str, bytes]:
    """Returns texts for the tiny model's tokenizer, and tokenizers of every kind with a text."""
    out = {f"text_{name}": PART + text for name, text in TEXTS.items()}
    split = {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?[^\\s\\p{L}]+|\\s+(?!\\S)"}}
    split.update({"behavior": "Isolated", "invert": False})
    level = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    both = {
        "type": "Sequence",
        "pretokenizers": [split, {"type": "Digits", "individual_digits": True}, level],
    }
    added = [
        {"id": i, "content": text, "special": i == 0, "lstrip": True, "rstrip": i > 1}
        for i, text in enumerate(["<|endoftext|>"])
    ]
    added.append({"id": 260, "content": "the end", "single_word": True, "normalized": True})
    end = {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A"}},
        ],
        "pair": [],
        "special_tokens": {"<|endoftext|>": end},
    }
    kinds = {
        "bytes": tokenizer(),
        "nfc": tokenizer(True, normalizer={"type": "NFC"}),
        "split": tokenizer(pre_tokenizer=both),
        "added": tokenizer(True, added_tokens=added),
        "template": tokenizer(post_processor=template),
    }
    text = TEXTS["marks"] + TEXTS["added"] + TEXTS["plain"]
    for name, json_text in kinds.items():
        out[name] = json_text + PART + text
    return out


def of_tokenizer_config() -> dict[str, bytes]:
    """Returns the files beside a tokenizer.json, each alone and together."""
    token = {"content": "<|pad|>", "lstrip": False, "normalized": False, "special": True}
    decoder = {"0": {"content": "<|endoftext|>", "special": True}, "260": token}
    config = compact({"added_tokens_decoder": decoder, "bos_token": "<|endoftext|>"})
    named = compact({"bos_token": token, "extra_special_tokens": ["<|x|>"], "add_bos_token": True})
    map_ = compact({"bos_token": "<|endoftext|>", "pad_token": token})
    added = compact({"<|pad|>": 260, "  ": 261})
    text = b"a<|pad|> the  end"
    return {
        "config": config + PART + PART + PART + text,
        "named": named + PART + PART + PART + text,
        "older": PART + map_ + PART + added + PART + text,
        "all": config + PART + map_ + PART + added + PART + text,
    }


def of_torch() -> dict[str, bytes]:
    """Returns the pickles of golden files of torch.save; the files themselves are inputs, too."""
    out = {}
    for path in sorted((GOLDEN / "torch" / "files").glob("*.bin")):
        content = path.read_bytes()
        if len(content) > 2000:
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                out[f"{path.stem}_pickle"] = b"P" + archive.read(name)
        except Exception:  # a file that is damaged on purpose
            continue
    return out


BANK = """# newdoc id = d
# sent_id = s-1
# text = The dogs don't bark.
1\tThe\tthe\tDET\tDT\tDefinite=Def\t2\tdet\t_\t_
2\tdogs\tdog\tNOUN\tNNS\tNumber=Plur\t5\tnsubj\t_\t_
3-4\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
3\tdo\tdo\tAUX\tVBP\t_\t5\taux\t_\t_
4\tn't\tnot\tPART\tRB\t_\t5\tadvmod\t_\t_
4.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
5\tbark\tbark\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
6\t.\t.\tPUNCT\t.\t_\t5\tpunct\t_\t_

# newpar
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

"""


def of_treebank() -> dict[str, bytes]:
    """Returns CoNLL-U files, one with every kind of line."""
    one = "1\ta\ta\tX\tX\t_\t0\troot\t_\t_\n"
    return {
        "two": BANK.encode(),
        "crlf": BANK.replace("\n", "\r\n").encode(),
        "cycle": one.replace("\t0\t", "\t2\t").encode() + b"2\tb\tb\tX\tX\t_\t1\tdep\t_\t_\n\n",
        "no_end": one.encode()[:-1],
        "broken": b"# text = \xff\n" + one.encode(),
    }


def of_pairs() -> dict[str, bytes]:
    """Returns sets of pairs for every alignment, behind the byte that chooses it."""
    both = {"clean": "the end", "corrupt": "the ent", "target": "e", "contrast": "a", "group": "g"}
    ids = {"clean": [1, 2, 3], "corrupt": [4, 5], "target": 6, "id": 7}
    spans = {"s": [0, 1], "t": {"clean": [2, 2], "corrupt": [3, 3]}}
    lines = b"\n".join([compact({**both, "id": "a"}), b"", compact({**both, "id": "b"})])
    return {
        "equal": b"\0" + lines,
        "end": b"\1" + compact(ids) + b"\r\n" + compact({**ids, "id": 8}),
        "start": b"\2\xef\xbb\xbf" + compact(ids),
        "spans": b"\3" + compact({**both, "spans": spans}),
        "bos": b"\x84" + lines,
        "alone": b"\0" + compact({"clean": "a", "target": "b"}),
        "twice": b"\0" + compact({**ids, "id": "a"}) + b"\n" + compact({**ids, "id": "a"}),
        "broken": b'\0{"clean": "\xff"}',
    }


def of_circuit() -> dict[str, bytes]:
    """Returns circuits of every form that is read."""
    edges = ["logits<-embed", "L1H1.q<-L0H0", "1_mlp_out<-L0H1"]
    graph = {"input->m0": {"in_graph": True, "score": 0.5}, "m0->m1": {"in_graph": False}}
    graph["a1.h1->a2.h0<k>"] = {"other": [1, {}], "score": -2e-3, "in_graph": True}
    return {
        "list": compact(edges),
        "scores": compact({"d": {}, "edges": edges, "scores": [1, None, -0.5]}),
        "graph": compact({"cfg": [], "edges": graph}),
        "short": b'["m0->logits", "a0.h1->a1.h0<v>", "input->m2"]',
        "twice": b'["m0->logits", "logits<-0_mlp_out"]',
        "numbers": b'{"edges": ["logits<-embed"], "scores": [1e999, 2]}',
        "broken": b'{"edges": ["logits<-embed",\n "L0H1.q',
    }


def of_lists() -> dict[str, bytes]:
    """Returns lists of the command line of every kind."""
    span = {"start": 0, "end": 3, "label": "A"}
    spans = compact({"text": "the end", "spans": [span, {**span, "task": "t"}]})
    prompt = (
        compact({"text": "the end", "target": "#5"}),
        compact({"text": "a", "target": ["next"]}),
    )
    return {
        "forms": b"F# a list\nthe end\tend\tNOUN\t3\n\nends\tend\tPLUR\nends\tend\tNOUN\t2.5\n",
        "collect": b"C" + BANK.encode(),
        "spans": b"S" + spans + b"\n\n" + compact({"text": "", "spans": []}) + b"\n",
        "prompts": b"P" + b"\n".join(prompt) + b"\n",
        "lines": b"Pthe end\n\nanother line\r\n",
        "words": b"W\7The 12 dogs' caf\xc3\xa9, the end.",
        "words_whole": b"W\0one two",
    }


def of_corpus() -> dict[str, bytes]:
    """Returns files of every kind, plain and compressed."""
    lines = (
        b'{"text": "the end of one"}\n\nnone\n{"text": "caf\\u00e9", "n": 1e999}\n{"text": ""}\n'
    )
    text = b"the first line\nthe end, 1 2 3\n" * 4
    packed = gzip.compress(lines, mtime=0) + gzip.compress(lines, mtime=0)
    raw = bytes([0x20 | 0, len(lines)])  # a zstd frame of one raw block, one segment
    block = (len(lines) << 3 | 1).to_bytes(3, "little") + lines
    zstd = b"\x28\xb5\x2f\xfd" + raw + block
    options = {"": b"\0\5\1", "_bos": b"\x04\x08\2", "_part": b"\x10\5\0", "_sample": b"\x20\5\1"}
    options["_stride"] = b"\x80\5\3"
    out = {f"lines{name}": o + lines for name, o in options.items()}
    out |= {f"text{name}": bytes([o[0] | 1]) + o[1:] + text for name, o in options.items()}
    out |= {f"gzip{name}": o + packed for name, o in options.items()}
    out["gzip_cut"] = b"\0\5\1" + packed[:-9]
    out["zstd"] = b"\0\5\1" + zstd
    out["stream"] = b"\2\5\1" + text
    out["stream_lines"] = b"\3\5\1" + lines
    out["stream_gzip"] = b"\2\5\1" + packed
    out["limit"] = b"\x44\4\1" + lines
    out["mark"] = b"\0\5\1\xef\xbb\xbf" + lines
    return out


def of_place() -> dict[str, bytes]:
    """Returns places in the harness's corpus and setups of sessions."""
    keys = "shard n_shards limit finished file line offset next first piece skip documents skipped"
    place = {**dict.fromkeys(f"{keys} windows tokens bos".split(), 0), "corpus": "@corpus"}
    place |= {"window": 8, "document": -1}
    inside = {**place, "line": 1, "document": 0, "first": 4, "next": 1, "documents": 1}
    done = {
        **place,
        "finished": 1,
        "file": 1,
        "n_shards": 2,
        "shard": 1,
        "files": [["place.jsonl", 0]],
    }
    setup = {"targets": ["next", ["the", "#5"]], "plugins": ["logits:level=layer", "ln"]}
    edits = {**setup, "interventions": [["ablate", "L0H1"], ["scale", "embed:alpha=2"]]}
    return {
        "begin": compact({"place": place, "setup": setup}),
        "inside": compact({"place": inside, "setup": edits}),
        "done": compact({"place": done, "setup": {"targets": [], "plugins": []}}),
        "source": compact({"place": {**place, "read": "0" * 32}}),
        "sample": compact(
            {"place": {**place, "sample": 2, "seed": 1, "population": 3, "most": -1}}
        ),
    }


def of_options() -> dict[str, bytes]:
    """Returns options of every plugin and editor."""
    lines = {
        "logits": "target top:2\ncontrast the\t#5\nplugin logits:level=head+neuron,rows=all,top=3",
        "ln": "plugin ln:rows=1-3,target_rows=all,centered=yes\nplugin mlp:span=2,bins=0",
        "lens": "plugin lens:rows=all,ln=final,top=2,arrays=top+targets",
        "corpus": "accumulate\ntarget next\nplugin logits:level=layer\nplugin mlp:bins=4",
        "contexts": "accumulate\nplugin neurons:show=all\nplugin attention:rows=all",
        "sweep": "plugin sweep:over=edges,do=cut,layer=1,metric=log_prob",
        "sampling": "plugin sampling:temperature=0.5,k=3,p=0.5,min_p=0.1,rows=all",
        "loss": "accumulate\nplugin loss:early=1,late=3,top=2\nplugin ablate:at=L0H1",
        "graph": "plugin graph:level=neuron,threshold=0.001,nodes=30\n"
        "plugin edges:by=norm,carry=yes",
        "roles": "plugin roles:target=next,onward=yes,angles=all\nplugin attention",
        "frozen": "plugin frozen:map=upto,layer=1,row=last,token=5",
        "spans": "plugin spans\nplugin partition\nplugin weights",
        "edits": "ablate L0H1+1_mlp_out:rows=0-2\nscale embed:alpha=0.5\n"
        "knockout L1H0:keys=0-2,rows=last",
        "patch": "patch blocks.1.hook_resid_pre:source=1,rows=last\nplugin effects",
        "steer": "steer 0_mlp_out:plus=1,minus=2,alpha=4\nablate L*H*:by=mean",
        "direction": "direction blocks.1.hook_resid_pre:along=L0N3.in+L1H0.O,do=set,"
        "value=1+-2e-1+0+0+0+0+0+0+0\ndirection embed:along=W_U:'a'-#5,folded=yes,rows=last",
        "sets": "direction 1_mlp_out:plus=1,minus=2-3,of=mean\ndirection L0H1:pca=1,do=swap",
        "directions": "accumulate\nplugin directions:at=embed+L0H1,labels=a,of=mean",
        "captures": "capture all\ncapture blocks.*.attn.hook_pattern:rows=-1\n"
        "capture hook_embed:rows=1+2",
        "models": "model EleutherAI-pythia@step3000\nmodel pythia-160m@step0,step1000",
        "wrong": "plugin none:a=b\nplugin logits:rows=9-1",
    }
    return {name: text.encode() + b"\n" for name, text in lines.items()}


def of_lens() -> dict[str, bytes]:
    """Returns the folder of a lens that fits the tiny model, and others."""
    entries = []
    for layer in range(3):
        entries.append((f"{layer}.weight", "F32", [16, 16], floats(256)))
        entries.append((f"{layer}.bias", "F32", [16], floats(16)))
    config = {"d_model": 16, "num_hidden_layers": 3, "bias": True}
    weights = [e for e in entries if e[0].endswith("weight")]
    return {
        "fits": compact(config) + PART + tensors(*entries),
        "no_bias": compact({**config, "bias": False}) + PART + tensors(*weights),
        "other": compact({**config, "model_hash": "00"}) + PART + tensors(*entries[:1]),
        "none": PART + tensors(),
    }


def of_dictionary() -> dict[str, bytes]:
    """Returns dictionaries of every layout and kind for the tiny model; a byte is the layout."""
    latents, width = 4, 16
    decoder = [
        ("W_dec", "F32", [latents, width], floats(latents * width, -4)),
        ("b_dec", "F32", [width], floats(width)),
    ]
    saelens = [("W_enc", "F32", [width, latents], floats(latents * width, -4)), *decoder]
    bias = ("b_enc", "F32", [latents], floats(latents))
    gates = [(n, "F16", [latents], bytes(2 * latents)) for n in ("b_gate", "r_mag", "b_mag")]
    rows = ("encoder.weight", "F32", [latents, width], floats(latents * width, -4))
    sparsify = [rows, ("encoder.bias", "F32", [latents], floats(latents)), *decoder]
    skip = ("W_skip", "F32", [width, width], floats(width * width))
    hook = {"d_in": width, "d_sae": latents, "hook_name": "blocks.1.hook_resid_post"}
    meta = {"hook_name": "blocks.1.ln2.hook_normalized", "hook_name_out": "blocks.1.hook_mlp_out"}
    old = {"hook_point": "blocks.{layer}.hook_resid_pre", "hook_point_layer": 1}
    top = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 2}}
    coder = {"d_in": width, "num_latents": latents, "k": 2}
    threshold = ("threshold", "BF16", [latents], bytes(2 * latents))
    file = [("W_enc", "F32", [latents, width], floats(latents * width, -4)), bias, *decoder]
    norm = {"normalize_activations": "layer_norm"}
    return {
        "standard": b"\0" + compact(hook | norm) + PART + tensors(*saelens, bias),
        "old": b"\0" + compact(old | top) + PART + tensors(*saelens, bias),
        "gated": b"\0"
        + compact(hook | {"architecture": "gated"})
        + PART
        + tensors(*saelens, *gates),
        "jumprelu": b"\0"
        + compact({"architecture": "jumprelu_skip_transcoder", "d_in": width, "metadata": meta})
        + PART
        + tensors(*saelens, bias, threshold, skip),
        "topk": b"\x01" + compact(coder) + PART + tensors(*sparsify),
        "transcoder": b"\x02"
        + compact(coder | {"transcode": True, "skip_connection": True})
        + PART
        + tensors(*sparsify, skip),
        "groupmax": b"\x03"
        + compact(coder | {"activation": "groupmax"})
        + PART
        + tensors(*sparsify),
        "file": b"\x04" + PART + tensors(*file, threshold),
    }


def of_vectors() -> dict[str, bytes]:
    """Returns vectors for editors and plugins."""
    one = tensors(("v", "F32", [16], floats(16)))
    rows = tensors(("v", "F16", [2, 16], b"\0\x3c" * 32), ("w", "F64", [1], b"\0" * 8))
    named = tensors(("blocks.0.attn.hook_z", "BF16", [16], b"\x80\x3f" * 16))
    two = tensors(("v", "F32", [2, 16], floats(32)))
    columns = tensors(("v", "F32", [16, 2], floats(32)))
    noted = tensors(("mean_difference", "F32", [16], floats(16)), model_hash="00", places="1")
    return {
        "steer": b"steer embed:file=@" + PART + one,
        "index": b"steer blocks.1.hook_resid_pre:file=@,tensor=v,index=1" + PART + rows,
        "basis": b"direction embed:file=@,tensor=v,index=0+1,do=set,value=1+2" + PART + two,
        "columns": b"direction embed:file=@,vectors=columns,do=swap" + PART + columns,
        "noted": b"direction L0H1:file=@,do=set,value=mean" + PART + noted,
        "mean": b"ablate L0H1:by=mean,file=@" + PART + named,
        "frozen": b"plugin frozen:map=block,layer=1,vector=@" + PART + one,
    }


def results_of(*arguments: str) -> bytes:
    """Returns the folder that the program writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        model = str(MODEL.relative_to(HERE.parent))
        command = [PROGRAM, *arguments, "--model", model, "--out", str(out), "--no-cache"]
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=HERE.parent,
        )
        results = json.loads((out / "results.json").read_text())
        results["command"] = "pythiascope analyze"  # the folder has another name each time
        if "time" in results:
            results["time"] = dict.fromkeys(results["time"], 1)
        return compact(results) + PART + (out / "tensors.safetensors").read_bytes()


def of_results() -> dict[str, bytes]:
    """Returns folders that the program wrote, as small as plugins allow."""
    run, top = ("analyze", "--tokens", "1,2,3"), ("--target", "top:2")
    return {
        "lens": results_of(*run, *top, "--plugin", "lens:rows=last,top=1,arrays=top"),
        "logits": results_of(*run, *top, "--plugin", "logits:level=layer,top=2"),
        "edges": results_of(*run, *top, "--plugin", "edges:top=2", "--plugin", "sampling"),
        "time": results_of(*run, "--time", "--plugin", "sampling"),
        "contrast": results_of(*run, "--contrast", "#4", "#5", "--plugin", "lens:top=1"),
        "effects": results_of(*run, "--ablate", "L0H1", "--plugin", "effects"),
        "generated": results_of("generate", "--tokens", "1,2,3", "--n", "2"),
        "corpus": results_of(
            "corpus", "fuzz/README.md", "--limit-tokens", "20", "--plugin", "sampling"
        ),
        "capture": results_of(*run, "--plugin", "ln", "--capture", "hook_embed:rows=-1"),
    }


def of_hub() -> dict[str, bytes]:
    """Returns answers of the hub."""

    def file(name: str, size: int = 5) -> dict[str, object]:
        return {"rfilename": name, "size": size, "blobId": "0" * 40}

    large = {**file("model.safetensors"), "lfs": {"sha256": "a" * 64, "size": 1 << 40}}
    whole = {"sha": "b" * 40, "config": {"model_type": "gpt_neox"}}
    shards = [file(f"pytorch_model-0000{i}-of-00002.bin") for i in (1, 2)]
    sharded = [file("config.json"), file("pytorch_model.bin.index.json"), *shards]
    refs = {"branches": [{"name": "main"}, {"name": "step1000"}], "tags": [{"name": "step0"}]}
    return {
        "whole": compact(
            {**whole, "siblings": [file("config.json"), large, file("tokenizer.json")]}
        ),
        "sharded": compact({**whole, "siblings": sharded}),
        "leads_out": compact({**whole, "siblings": [file("../config.json")]}),
        "revisions": b"R" + compact(refs),
    }


def of_record() -> dict[str, bytes]:
    """Returns records with the right text, and others."""
    digits = b"0123456789abcdef" * 2
    return {
        "right": b"@hash " + digits + b"\n",
        "long": b"@hash " + digits + b"0\n",
        "other": b"pythiascope source 1\nmodel /tmp/x\nconfig 00\nfile 1 2 3 a\nhash "
        + digits
        + b"\n",
        "none": b"@",
    }


def of_packed() -> dict[str, bytes]:
    """Returns changes of a file of packed weights."""
    return {
        "same": b"\1",
        "version": b"\0\0\x14\1\x63",
        "size": b"\0\0\x20\1\xff",
        "image": b"\1\x10\x40\4\0\0\xc0\x7f",
        "damaged": b"\0\x10\x40\4\0\0\xc0\x7f",
        "short": b"\3\x80",
    }


def of_state() -> dict[str, bytes]:
    """Returns states of every plugin: the session's own, and changed ones."""
    header = {"model": "@model", "sleef": "@sleef", "targets": ["next"], "target_ids": [-1, -1]}
    plugin = {"name": "logits", "version": "@version", "options": {}, "accumulators": []}
    header |= {"plugins": [plugin], "windows": 1, "tokens": 5}
    out = {f"own_{i}": bytes([i]) + PART + b"{}" + PART for i in range(12)}
    out["header"] = b"\0" + compact(header) + PART + b"{}" + PART + b"!"
    out["data"] = b"\0" + PART + PART + b"\xff" * 64
    out["nan"] = b"\3" + PART + PART + b"\0\0\0\0\0\0\xf8\x7f" * 8
    out["whole"] = (GOLDEN / "corpus" / "version_0_1_0.state").read_bytes()[:2000]
    return out


def elf(words: str, gnu: bool, name: bytes = b"psc_plugin_entry") -> bytes:
    """Returns a shared object of headers and tables alone; words: "I" for 32 bits, "Q" for 64."""
    wide = words == "Q"
    start, entry = (64, 56) if wide else (52, 32)
    at = start + 2 * entry  # the table of symbols: an empty one, and the function
    symbol = struct.pack("<IBBHQQ", 1, 18, 0, 1, 64, 4)
    if not wide:
        symbol = struct.pack("<IIIBBH", 1, 64, 4, 18, 0, 1)
    symbols = bytes(len(symbol)) + symbol
    names = b"\0" + name + b"\0"
    if gnu:
        value = 5381
        for byte in name:
            value = (value * 33 + byte) & 0xFFFFFFFF
        table = struct.pack(f"<IIII{words}II", 1, 1, 1, 0, 1, 1, value | 1)
    else:
        table = struct.pack("<IIIII", 1, 2, 1, 0, 0)
    tables = at + len(symbols), at + len(symbols) + len(names)
    dynamic = tables[1] + len(table)
    tags = [6, at, 5, tables[0], 10, len(names), 0x6FFFFEF5 if gnu else 4, tables[1], 0, 0]
    listed = struct.pack(f"<{len(tags)}{words}", *tags)
    size = dynamic + len(listed)
    segments = b""
    for kind, offset, length in ((1, 0, size), (2, dynamic, len(listed))):
        place = (offset, offset, offset, length, length)
        if wide:
            segments += struct.pack("<II6Q", kind, 4, *place, 8)
        else:
            segments += struct.pack("<8I", kind, *place, 4, 4)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    rest = (3, 62, 1, 0, start, 0, 0, start, entry, 2, 0, 0, 0)
    header = ident + struct.pack(f"<HHI3{words}I6H", *rest)
    return header + segments + symbols + names + table + listed


def of_plugin() -> dict[str, bytes]:
    """Returns shared objects with and without a plugin's symbol, and a bundle of Mach-O."""
    bundle = struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 8, 1, 72, 0, 0)
    bundle += struct.pack("<II16s4Q4I", 0x19, 72, b"__TEXT", 0, 104, 0, 104, 5, 5, 0, 0)
    fat = struct.pack(">7I", 0xCAFEBABE, 1, 0x01000007, 3, 28, len(bundle), 0)
    return {
        "gnu_64": elf("Q", True),
        "gnu_32": elf("I", True),
        "hash_64": elf("Q", False),
        "hash_32": elf("I", False),
        "other": elf("Q", True, b"psc_another_entry"),
        "bundle": bundle,
        "fat": fat + bundle,
    }


def run_call(
    n: int = 1,
    *,
    rows: int = 5,
    phase: int = 0,
    source: int = 0,
    first: int = 5,
    examples: bool = False,
    copy: tuple[int, ...] = (),
    metric: tuple[int, ...] = (),
) -> bytes:
    """Returns a run of n sequences of session 0, with what fuzz_api.c reads for it.

    Args:
        n: The sequences.
        rows: Of each sequence.
        phase: psc_phase.
        source: Of PSC_PHASE_SOURCE.
        first: The first token is first * 5 / 4.
        examples: The inputs are examples with the targets 7 - 9, aligned token by token.
        copy: Point, layer, rows, capacity in 16 floats, gradient.
        metric: The kind of each term.
    """
    out = bytes([3, 0, n, *range(first, first + 24), *([0, rows] * 3), 0])
    out += bytes([1, *range(8), *range(8), *range(8), *([0, 7, 9, 1] * 3)] if examples else [0])
    out += bytes([0, 0, phase, source, 0, 0]) + bytes([1, *copy] if copy else [0]) + b"\0\0"
    if not metric:
        return out + b"\0"
    terms = b"".join(bytes([kind, 32, 0, 7 + i, 0, 16, 1]) for i, kind in enumerate(metric))
    return out + b"\1" + terms.ljust(21, b"\0") + bytes([0, len(metric), 1, 0])


def of_api() -> dict[str, bytes]:
    """Returns sequences of calls; a session is: chunk, sequences, capacity, accumulate, cap."""
    opened = bytes([0, 0, 2, 40, 0, 1, 0])  # the first one has no byte of its kind
    corpus = bytes([0, 0, 0, 1, 40, 1, 1, 0])
    plugins = b"".join(bytes([5, 0, i, 0]) for i in (0, 1, 3))
    clear = b"".join(bytes([15, 0, i, 0]) + bytes(7) for i in range(2))
    write = bytes([11, 0, 2, 1])
    everything = b"".join(bytes([5, 0, i, 0]) for i in (25, 20, 24))
    phases = b"".join(run_call(2, phase=p, examples=True) + clear for p in (1, 2, 3))
    seeds = {
        "runs": opened + run_call() + bytes([8, 0, 0]) + run_call(2) + write,
        "plugins": opened + bytes([6, 0, 1]) + plugins + run_call() + write + bytes([11, 0, 4]),
        "accumulates": corpus[1:] + plugins + run_call() + bytes([12, 0, 0, 12, 0, 2, 12, 0, 3, 0]),
        "edits": opened + bytes([9, 0, 0, 1, 0, 0, 0, 0, 0, 3, 1, 0]) + run_call(),
        "corpus": bytes([1, 0, 8, 1, 0, 0, 0, 0]) + bytes([1, 1, 1] * 3 + [1, 2, 1, 3]),
        "model": opened + bytes([2, 1, 20, 1, 2, 3, 4, 0]) + clear,
        "metric": opened
        + bytes([8, 0, 8])
        + run_call(copy=(1, 1, 0, 5, 1), metric=(0, 1, 2))
        + write,
        "gradients": opened + bytes([9, 0, 0, 1, 0, 0, 0, 0, 1, 2, 1, 1]) + run_call(metric=(1,)),
        "examples": opened + bytes([6, 0, 8]) + everything + phases + write,
        "pairs": opened + bytes([6, 0, 8]) + plugins + bytes([13, 0, 0, 1, 0, 5, 0, 0, 0, 1]),
        "measure": opened + bytes([8, 0, 0, 14, 0, 5, 5, 1, 1, 14, 0, 0xF0, 1, 0, 0]),
    }
    turns = b"".join(run_call(phase=1, source=i, first=9 + i) + clear for i in range(2))
    turns += run_call(phase=2) + clear + run_call(phase=3) + write
    for i in range(26, 44):  # plugins with two sources
        seeds[f"plugin_{i}"] = opened + bytes([6, 0, 2, 5, 0, i, 0]) + turns
    for i in (26, 39, 40, 41):  # and over documents
        seeds[f"corpus_{i}"] = corpus[1:] + bytes([5, 0, i, 0]) + run_call() + bytes([12, 0, 3, 0])
    return seeds


def main() -> None:
    """Writes all seeds."""
    root = HERE / "seeds"
    total = 0
    for name, make in sorted(globals().items()):
        if not name.startswith("of_"):
            continue
        folder = root / name[3:]
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for seed, content in make().items():
            (folder / seed).write_bytes(content)
            total += len(content)
    print(f"{total} bytes of seeds in {root}")


if __name__ == "__main__":
    main()
