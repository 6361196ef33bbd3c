#!/usr/bin/env python3
"""Converts a lens of the tuned-lens library (config.json, params.pt) for the plugin `lens`.

    tools/convert_tuned_lens.py FROM TO       TO/config.json, TO/params.safetensors

Needs torch and safetensors. The parameters keep their type; the names become "l.weight" and
"l.bias", without any prefix. params.pt is read without running code from it.
"""
import argparse
import json
import pathlib
import re
import sys

try:
    import torch
    from safetensors.torch import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None


def fail(message):
    sys.exit(f"convert_tuned_lens: {message}")


def read_config(folder):
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"cannot read {folder}/config.json: {error}")
    for key in ("d_model", "num_hidden_layers"):
        if not isinstance(config.get(key), int):
            fail(f"{folder}/config.json has no whole number \"{key}\"")
    return config


def read_state(folder):
    found = [folder / name for name in ("params.pt", "ckpt.pt") if (folder / name).exists()]
    if not found:
        fail(f"{folder} has no params.pt")
    try:
        state = torch.load(found[0], map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types
        fail(f"cannot read {found[0]}: {error}")
    if not isinstance(state, dict):
        fail(f"{found[0]} is not a state dict")
    return state


def translators(state, config):
    size, layers = config["d_model"], config["num_hidden_layers"]
    out = {}
    for key, value in state.items():
        match = re.search(r"(?:^|\.)(\d+)\.(weight|bias)$", key)
        if not match or not torch.is_tensor(value):
            continue  # older files also hold the unembedding
        name = f"{int(match[1])}.{match[2]}"
        if name in out:
            fail(f"two tensors are named {name}")
        out[name] = value.contiguous().clone()
    wanted = {"weight": (size, size)} | ({"bias": (size,)} if config.get("bias", True) else {})
    for layer in range(layers):
        for kind, shape in wanted.items():
            tensor = out.get(f"{layer}.{kind}")
            if tensor is None:
                fail(f"{layer}.{kind} is missing")
            if tuple(tensor.shape) != shape:
                fail(f"{layer}.{kind} has the shape {tuple(tensor.shape)}, it should be {shape}")
    return {name: value for name, value in out.items() if int(name.split(".")[0]) < layers}


def convert(source, target):
    config = read_config(source)
    tensors = translators(read_state(source), config)
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(target / "params.safetensors"))
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path, metavar="FROM")
    parser.add_argument("target", type=pathlib.Path, metavar="TO")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
