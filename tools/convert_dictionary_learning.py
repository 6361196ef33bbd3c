#!/usr/bin/env python3
"""Converts a dictionary of dictionary_learning (ae.pt, config.json) to SAELens's layout.

    tools/convert_dictionary_learning.py FROM TO       TO/cfg.json, TO/sae_weights.safetensors

Of the dictionaries of pythia-70m-deduped that came with the library, resid_out_layer3/10_32768 and
the like, the path names the hook point, and the tensors are an AutoEncoder's.

Needs torch and safetensors. The classes are AutoEncoder, AutoEncoderNew, AutoEncoderTopK,
BatchTopKSAE, MatryoshkaBatchTopKSAE, GatedAutoEncoder and JumpReluAutoEncoder. ae.pt is read
without running code from it. The tensors keep their values and their type.
"""

import argparse
import json
import os
import pathlib
import re
import sys

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

SUBMODULES = {
    "resid_post": "hook_resid_post",
    "resid_out": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "mlp_out": "hook_mlp_out",
    "attention_out": "hook_attn_out",
    "attn_out": "hook_attn_out",
}

# Names that the reader knows (docs/plugins/sae.md, docs/hooks.md).
POINT = re.compile(
    r"hook_embed|embed_in|ln_final(\.hook_normalized)?|final_layer_norm"
    r"|blocks\.\d+\.(hook_(resid_(pre|mid|post)|attn_out|mlp_out|mlp_in|in|out)"
    r"|attn\.hook_(q|k|v|z|rot_q|rot_k|in|out)|mlp\.hook_(pre|post|in|out)|ln[12]\.hook_normalized)"
    r"|(gpt_neox\.)?layers[._]\d+([._](attention(\.dense)?|input_layernorm|post_attention_layernorm"
    r"|mlp(\.(dense_h_to_4h|act|dense_4h_to_h))?))?"
)

# Of each class: the architecture, whether b_dec is subtracted from the input, {ours: theirs}.
# A name that ends in .T is transposed: nn.Linear keeps [out, in].
LINEAR = {"W_enc": "encoder.weight.T", "W_dec": "decoder.weight.T"}
PLAIN = LINEAR | {"b_enc": "encoder.bias"}
CLASSES = {
    "AutoEncoder": ("standard", True, PLAIN | {"b_dec": "bias"}),
    "AutoEncoderNew": ("standard", False, PLAIN | {"b_dec": "decoder.bias"}),
    "AutoEncoderTopK": ("topk", True, PLAIN | {"b_dec": "b_dec"}),
    "BatchTopKSAE": ("jumprelu", True, PLAIN | {"b_dec": "b_dec", "threshold": "threshold"}),
    "MatryoshkaBatchTopKSAE": (
        "jumprelu",
        True,
        {n: n for n in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")},
    ),
    "GatedAutoEncoder": (
        "gated",
        True,
        LINEAR
        | {"b_dec": "decoder_bias", "r_mag": "r_mag", "b_gate": "gate_bias", "b_mag": "mag_bias"},
    ),
    "JumpReluAutoEncoder": (
        "jumprelu",
        False,
        {n: n for n in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")},
    ),
}


def fail(message):
    sys.exit(f"convert_dictionary_learning: {message}")


def is_count(value, least):
    return type(value) is int and value >= least  # True is an int, too


def trainer_of_state(folder, state):
    """What config.json would say of an AutoEncoder in a folder like resid_out_layer3/10_32768."""
    weight = state.get("encoder.weight")
    names = {"encoder.weight", "encoder.bias", "decoder.weight", "bias"}
    if set(state) != names or not torch.is_tensor(weight) or weight.ndim != 2:
        fail(f"{folder}/config.json has no trainer, and ae.pt is not an AutoEncoder's")
    trainer = {
        "dict_class": "AutoEncoder",
        "activation_dim": weight.shape[1],
        "dict_size": weight.shape[0],
    }
    for part in reversed(folder.resolve().parts):
        if part == "embed":
            return trainer | {"submodule_name": "embed", "layer": 0}
        if found := re.fullmatch(r"((?:resid|attn|mlp)_out)_layer_?(\d+)", part):
            return trainer | {"submodule_name": part, "layer": int(found[2])}
    return trainer


def has_trainer(folder):
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # read_trainer says what is wrong
    return not isinstance(config, dict) or "trainer" in config


def read_trainer(folder):
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"cannot read {path}: {error}")
    trainer = config.get("trainer") if isinstance(config, dict) else None
    buffer = config.get("buffer") if isinstance(config, dict) else None
    io = buffer.get("io", "out") if isinstance(buffer, dict) else "out"
    if io != "out":
        fail(f"{path} has io {io!r}: only dictionaries of a module's output are supported")
    if not isinstance(trainer, dict):
        fail(f'{path} has no object "trainer"')
    if str(trainer.get("dict_class")) not in CLASSES:
        fail(f"{path} has the class {trainer.get('dict_class')!r}; known are {', '.join(CLASSES)}")
    for key in ("activation_dim", "dict_size"):
        if not is_count(trainer.get(key), 1):
            fail(f'{path} has no positive whole number "{key}"')
    return trainer


def read_state(folder):
    path = folder / "ae.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types
        why = (str(error).splitlines() or [""])[0].split(". ")[0]
        fail(f"cannot read {path} as tensors: {type(error).__name__} {why}".rstrip())
    if not isinstance(state, dict):
        fail(f"{path} is not a state dict")
    return state


def hook_of(trainer, point):
    """The hook point: --point, or what the trainer's submodule_name and layer say."""
    if point:
        if not POINT.fullmatch(point):
            fail(f"--point {point} is no hook point; name one like blocks.3.hook_resid_post")
        return point
    if trainer.get("submodule_name") == "embed":
        return "hook_embed"
    layer, name = trainer.get("layer"), trainer.get("submodule_name")
    if not is_count(layer, 0):
        fail('config.json has no whole number "layer"; give --point blocks.L.hook_resid_post')
    kind = re.sub(r"_layer_?\d+$", "", name) if isinstance(name, str) else "resid_post"
    if kind not in SUBMODULES:
        fail(
            f"the submodule {name!r} is not known; give --point, such as "
            f"blocks.{layer}.hook_mlp_out"
        )
    return f"blocks.{layer}.{SUBMODULES[kind]}"


def tensors_of(state, trainer):
    n, size = trainer["activation_dim"], trainer["dict_size"]
    shapes = {"W_enc": (n, size), "W_dec": (size, n), "b_dec": (n,)}
    out = {}
    for ours, theirs in CLASSES[trainer["dict_class"]][2].items():
        value = state.get(theirs.removesuffix(".T"))
        if not torch.is_tensor(value) or not value.is_floating_point():
            fail(f"ae.pt has no tensor {theirs.removesuffix('.T')}")
        value = value.T if theirs.endswith(".T") else value
        if ours == "threshold" and value.ndim == 0:  # one for all latents
            if value < 0:
                fail("ae.pt has the threshold of a run that never set one (below 0)")
            value = value.expand(size)
        shape = shapes.get(ours, (size,))
        if tuple(value.shape) != shape:
            fail(f"{theirs} gives the shape {tuple(value.shape)}, it should be {shape}")
        if not torch.isfinite(value).all():
            fail(f"{theirs} has a value that is not finite")
        out[ours] = value.contiguous().clone()
    return out


def number_of_active(state, trainer):
    k = trainer.get("k", state.get("k"))
    k = int(k) if torch.is_tensor(k) and k.numel() == 1 else k
    if not is_count(k, 1) or k > trainer["dict_size"]:
        fail(f"k is {k!r}; config.json must give it as 1 to {trainer['dict_size']}")
    return k


def config_of(state, trainer, tensors, point):
    architecture, subtracts, _ = CLASSES[trainer["dict_class"]]
    hook = hook_of(trainer, point)
    model = str(trainer.get("lm_name", "")).rsplit("/", 1)[-1]
    config = {
        "architecture": architecture,
        "d_in": trainer["activation_dim"],
        "d_sae": trainer["dict_size"],
        "dtype": str(tensors["W_enc"].dtype).split(".")[-1],
        "device": "cpu",
        "apply_b_dec_to_input": subtracts,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0", "model_name": model, "hook_name": hook},
    }
    if architecture == "topk":
        config |= {"k": number_of_active(state, trainer), "rescale_acts_by_decoder_norm": False}
    return config


def convert(source, target, point=None):
    state = read_state(source)
    trainer = read_trainer(source) if has_trainer(source) else trainer_of_state(source, state)
    tensors = tensors_of(state, trainer)
    config = config_of(state, trainer, tensors, point)
    try:
        target.mkdir(parents=True, exist_ok=True)
        # cfg.json comes last: a folder without it is no dictionary.
        (target / "cfg.json").unlink(missing_ok=True)
        save_file(tensors, str(target / "sae_weights.safetensors"))
        written = target / "cfg.json.part"
        written.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        os.replace(written, target / "cfg.json")
    except (OSError, SafetensorError) as error:
        fail(f"cannot write {target}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path, metavar="FROM")
    parser.add_argument("target", type=pathlib.Path, metavar="TO")
    parser.add_argument("--point", help="the hook point, where config.json does not name it")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target, arguments.point)


if __name__ == "__main__":
    main()
