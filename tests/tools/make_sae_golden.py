#!/usr/bin/env python3
"""Small random dictionaries of every published layout, run by the libraries that define them.

    make_sae_golden.py        writes tests/golden/sae

Each dictionary is a folder as its library saves it, and NAME.safetensors beside it has what that
library computes of activations x of a small random model (gptneox_float64, rounded to f32):
  x [T, d_in]  acts [T, F]  out [T, d_out]  y [T, d_out], the value that out stands for, and tokens
For hook_z, x and out are flat: head by head. transformers' modules must have the same x and y
before anything is written. Latents of top-k and thresholds must be clear of a tie.
"""

import json
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
try:
    import numpy as np
    import torch
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder
    from dictionary_learning import AutoEncoder, GatedAutoEncoder, JumpReluAutoEncoder
    from dictionary_learning.dictionary import AutoEncoderNew
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from sae_lens import SAE, registry
    from sae_lens.saes.sae import SAEMetadata
    from safetensors.torch import load_file, save_file
    from sparsify import SparseCoder, SparseCoderConfig
    from transformers import GPTNeoXModel
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "golden" / "sae"
sys.path.insert(0, str(ROOT.parent / "tools"))
from convert_dictionary_learning import convert  # noqa: E402

TOKENS = [3, 41, 7, 19, 60, 12, 75, 33, 2]
N, F, K = 32, 53, 5  # width, latents (no multiple of a panel), active latents of top-k
CLEAR = 2e-5  # the least distance of a pre-activation from a decision
MODEL = ROOT / "golden" / "parity" / "parallel_f32"


# Activations ----------------------------------------------------------------------------------


def activations():
    """The float64 run of the model under our names, and the MLPs' inputs, with gamma and beta."""
    model = Model(str(MODEL))
    run = model.forward(TOKENS)
    for layer in range(model.config["n_layers"]):
        name = f"layers.{layer}.post_attention_layernorm"
        run[f"mlp_in.{layer}"] = (
            run[f"blocks.{layer}.ln2.hook_normalized"] * model.weights[name + ".weight"]
            + model.weights[name + ".bias"]
        )
    check_modules(run)
    return {k: torch.tensor(np.asarray(v), dtype=torch.float32) for k, v in run.items()}


def check_modules(run):
    """layers.1 is the layer's output and layers.1.mlp the MLP's, not the stream's."""
    model = GPTNeoXModel.from_pretrained(str(MODEL), dtype=torch.float64)
    model.eval()
    seen = {}

    def keep(name):
        def hook(module, given, out):
            seen[name] = (given[0][0], (out[0] if isinstance(out, tuple) else out)[0])

        return hook

    model.layers[1].register_forward_hook(keep("layer"))
    model.layers[1].mlp.register_forward_hook(keep("mlp"))
    model.layers[1].attention.register_forward_hook(keep("attention"))
    with torch.no_grad():
        model(torch.tensor([TOKENS]))
    pairs = [
        ("layer", 1, "blocks.1.hook_resid_post"),
        ("mlp", 1, "blocks.1.hook_mlp_out"),
        ("mlp", 0, "mlp_in.1"),
        ("attention", 1, "blocks.1.hook_attn_out"),
    ]
    for module, side, name in pairs:
        value = seen[module][side].reshape(len(TOKENS), -1).numpy()
        worst = np.abs(value - run[name]).max()
        assert worst < 1e-5, (module, name, worst)  # transformers rotates in f32


# Random dictionaries --------------------------------------------------------------------------


def fill(sae, seed, scale):
    """Random parameters: about a quarter of the latents above 0 at activations of this scale."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sae.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if name in ("W_enc", "encoder.weight", "W_dec", "decoder.weight", "W_skip"):
            p.data = (r / p.shape[-1 if "." in name else 0] ** 0.5).to(p.dtype)
        elif name == "threshold":
            p.data = (0.2 + 0.4 * r.abs()) * scale
        elif name == "r_mag":
            p.data = 0.3 * r
        elif name in ("b_dec", "bias", "decoder_bias", "decoder.bias"):
            p.data = 0.1 * r * scale
        else:
            p.data = (0.2 * r - 0.5) * scale
    return sae


def clear(pre, k=0, threshold=0.0):
    """Whether no decision of pre [T, F] is close: sign, threshold, or place k against k+1."""
    least = (pre - threshold).abs().min()
    if k:
        s = pre.sort(-1, descending=True).values
        least = torch.minimum(least, (s[:, k - 1] - s[:, k]).min())
    return least > CLEAR


def keep(name, x, acts, out, y):
    """Writes NAME.safetensors; T rows."""
    rows = len(TOKENS)
    flat = {"x": x, "acts": acts, "out": out, "y": y}
    tensors = {
        k: v.detach().reshape(rows, -1).float().contiguous().clone() for k, v in flat.items()
    }
    assert (tensors["acts"] != 0).any(1).all(), f"{name}: a row without latents"
    save_file(tensors | {"tokens": torch.tensor(TOKENS)}, str(OUT / f"{name}.safetensors"))


# SAELens --------------------------------------------------------------------------------------

SAELENS = {  # name -> architecture, hook, hook_out, further keys of the config
    "standard": ("standard", "blocks.1.hook_resid_pre", None, {}),
    "standard_mlp": ("standard", "blocks.1.hook_mlp_out", None, {"apply_b_dec_to_input": False}),
    "layer_norm": (
        "standard",
        "blocks.0.hook_resid_post",
        None,
        {"normalize_activations": "layer_norm"},
    ),
    "constant_norm": (
        "standard",
        "blocks.0.hook_mlp_out",
        None,
        {"normalize_activations": "constant_norm_rescale"},
    ),
    "average_in": (
        "standard",
        "blocks.1.hook_resid_post",
        None,
        {"normalize_activations": "expected_average_only_in"},
    ),
    "hook_z": ("standard", "blocks.1.attn.hook_z", None, {"reshape_activations": "hook_z"}),
    "jumprelu": ("jumprelu", "blocks.1.hook_resid_post", None, {}),
    "topk": ("topk", "blocks.1.hook_resid_post", None, {"k": K}),
    "topk_rescaled": (
        "topk",
        "blocks.0.hook_mlp_out",
        None,
        {"k": K, "rescale_acts_by_decoder_norm": True},
    ),
    "gated": ("gated", "blocks.1.hook_attn_out", None, {}),
    "transcoder": ("transcoder", "blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out", {}),
    "skip_transcoder": (
        "skip_transcoder",
        "blocks.1.ln2.hook_normalized",
        "blocks.1.hook_mlp_out",
        {},
    ),
    "jumprelu_transcoder": (
        "jumprelu_transcoder",
        "blocks.1.ln2.hook_normalized",
        "blocks.1.hook_mlp_out",
        {},
    ),
    "jumprelu_skip_transcoder": (
        "jumprelu_skip_transcoder",
        "blocks.0.ln2.hook_normalized",
        "blocks.0.hook_mlp_out",
        {},
    ),
    "abstopk": ("abstopk", "blocks.1.hook_resid_post", None, {"k": K}),
}


def value_of(run, name):
    """TransformerLens without processing has gamma and beta inside ln2.hook_normalized."""
    return (
        run["mlp_in." + name.split(".")[1]] if name.endswith("ln2.hook_normalized") else run[name]
    )


def saelens_clear(sae, x):
    """The decisions of any SAELens dictionary, from its own pre-activations."""
    pre = []
    sae.hook_sae_acts_pre.add_hook(lambda value, hook: pre.append(value.detach().clone()))
    sae.encode(x)
    sae.reset_hooks()
    if sae.cfg.architecture() == "gated":
        gate = sae.process_sae_in(x) @ sae.W_enc + sae.b_gate
        return clear(gate) and clear(pre[0])
    if sae.cfg.architecture() == "abstopk":
        return clear(pre[0].abs(), k=sae.cfg.k)
    if sae.cfg.architecture() == "topk":
        scale = sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else 1
        return clear(pre[0] * scale, k=sae.cfg.k)
    return clear(pre[0], threshold=getattr(sae, "threshold", torch.tensor(0.0)))


def random_saelens(run, architecture, hook, out, more):
    x = value_of(run, hook)
    classes = registry.get_sae_class(architecture)
    for seed in range(100):
        cfg = {"d_in": N, "d_sae": F, "apply_b_dec_to_input": out is None} | more
        if out:
            cfg["d_out"] = N
        sae = classes[0](classes[1](**cfg))
        sae.cfg.metadata = SAEMetadata(
            model_name="parallel_f32", hook_name=hook, **({"hook_name_out": out} if out else {})
        )
        normal = more.get("normalize_activations") in ("layer_norm", "constant_norm_rescale")
        fill(sae, seed, 1.0 if normal else float(x.std()))
        if saelens_clear(sae, x):
            return sae
    raise SystemExit(f"{architecture}: no seed is clear of ties")


def write_saelens(run):
    for name, (architecture, hook, out, more) in SAELENS.items():
        sae = random_saelens(run, architecture, hook, out, more)
        sae.save_model(OUT / name)
        keep_saelens(run, name, hook, out)


def keep_saelens(run, name, hook, out):
    """Read as a user reads it, so that the loader's defaults are the library's."""
    sae, x = SAE.load_from_disk(OUT / name), value_of(run, hook)
    assert sae.cfg.metadata.hook_name == hook and saelens_clear(sae, x), name
    with torch.no_grad():
        keep(name, x, sae.encode(x), sae(x), value_of(run, out or hook))


OLD = {  # layouts of cfg.json before version 6: name -> (weights of, hook, cfg)
    "old_hook_point": (
        "standard",
        "blocks.1.hook_resid_pre",
        {
            "model_name": "parallel_f32",
            "hook_point": "blocks.1.hook_resid_pre",
            "hook_point_layer": 1,
            "hook_point_head_index": None,
            "normalize_activations": False,
        },
    ),
    "old_hook_name": (
        "topk",
        "blocks.1.hook_resid_post",
        {
            "architecture": "standard",
            "model_name": "parallel_f32",
            "hook_name": "blocks.1.hook_resid_post",
            "hook_layer": 1,
            "hook_head_index": None,
            "activation_fn_str": "topk",
            "activation_fn_kwargs": {"k": K},
            "apply_b_dec_to_input": True,
            "finetuning_scaling_factor": False,
            "normalize_activations": "none",
            "sae_lens_training_version": "3.20.0",
        },
    ),
}


def write_centered(run):
    """Of a model loaded with center_writing_weights: its rows of the stream lack their mean."""
    hook = "blocks.1.hook_resid_post"
    x = run[hook]
    mean = x.mean(1, keepdim=True)
    sae = random_saelens(run | {hook: x - mean}, "standard", hook, None, {})
    sae.cfg.metadata.model_from_pretrained_kwargs = {"center_writing_weights": True}
    sae.save_model(OUT / "centered")
    with torch.no_grad():
        keep("centered", x, sae.encode(x - mean), sae(x - mean) + mean, x)


def write_old(run):
    for name, (source, hook, cfg) in OLD.items():
        (OUT / name).mkdir()
        tensors = load_file(str(OUT / source / "sae_weights.safetensors"))
        if name == "old_hook_point":  # files of that time have it; ones mean nothing
            tensors["scaling_factor"] = torch.ones(F)
            cfg["finetuning_scaling_factor"] = False
        else:  # halves, which the loader widens
            tensors = {key: value.half() for key, value in tensors.items()}
        save_file(tensors, str(OUT / name / "sae_weights.safetensors"))
        write_json(
            OUT / name / "cfg.json",
            cfg
            | {
                "d_in": N,
                "d_sae": F,
                "dtype": "torch.float32" if "point" in name else "float32",
                "device": "cpu",
                "context_size": 64,
                "prepend_bos": True,
            },
        )
        keep_saelens(run, name, hook, None)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


# sparsify -------------------------------------------------------------------------------------

SPARSIFY = {  # folder -> x, y, latents, config, further cfg keys of files published earlier
    "sparsify_topk/layers.1": ("blocks.1.hook_resid_post", None, F, {"activation": "topk"}),
    "sparsify_topk/layers.0.mlp": ("blocks.0.hook_mlp_out", None, F, {"activation": "topk"}),
    "sparsify_groupmax/layers.0.attention": (
        "blocks.0.hook_attn_out",
        None,
        11 * K,
        {"activation": "groupmax"},
    ),
    "sparsify_transcoder/layers.0.mlp": (
        "mlp_in.0",
        "blocks.0.hook_mlp_out",
        F,
        {"transcode": True},
    ),
    "sparsify_skip/layers.1.mlp": (
        "mlp_in.1",
        "blocks.1.hook_mlp_out",
        F,
        {"transcode": True, "skip_connection": True},
    ),
}


def sparsify_clear(coder, x):
    """Of top-k the k+1 largest, of groupmax the two largest of each group."""
    pre = (x - (0 if coder.cfg.transcode else coder.b_dec)) @ coder.encoder.weight.T
    pre = pre + coder.encoder.bias
    if coder.cfg.activation == "groupmax":
        s = pre.unflatten(-1, (K, -1)).sort(-1, descending=True).values
        return clear(pre) and (s[..., 0] - s[..., 1]).min() > CLEAR
    return clear(pre, k=K)


def dense(acts, indices, size):
    return torch.zeros(acts.shape[0], size).scatter_(1, indices, acts)


def write_sparsify(run):
    for name, (hook, out, size, more) in SPARSIFY.items():
        x = run[hook]
        for seed in range(100):
            coder = SparseCoder(N, SparseCoderConfig(num_latents=size, k=K, **more))
            if sparsify_clear(fill(coder, seed, float(x.std())), x):
                break
        else:
            raise SystemExit(f"{name}: no seed is clear of ties")
        coder.save_to_disk(OUT / name)
        keep_sparsify(run, name, hook, out)
    # A file as published in 2024: no activation, a signed, the number of latents by the factor.
    name = "sparsify_old/layers.1"
    shutil.copytree(OUT / "sparsify_topk/layers.1", OUT / name)
    tensors = load_file(str(OUT / name / "sae.safetensors"))
    for key in ("encoder.weight", "encoder.bias", "W_dec"):
        tensors[key] = tensors[key][:N].contiguous()
    save_file(tensors, str(OUT / name / "sae.safetensors"))
    write_json(
        OUT / name / "cfg.json",
        {
            "expansion_factor": 1,
            "normalize_decoder": True,
            "num_latents": 0,
            "k": K,
            "signed": False,
            "d_in": N,
        },
    )
    keep_sparsify(run, name, "blocks.1.hook_resid_post", None)
    write_sparsify_skip_old(run)


def write_sparsify_skip_old(run):
    """A transcoder of 2024: cfg.json says nothing of transcode, and b_dec is subtracted."""
    name, x = "sparsify_skip_old/layers.1.mlp", run["mlp_in.1"]
    for seed in range(100):
        coder = SparseCoder(N, SparseCoderConfig(num_latents=F, k=K, skip_connection=True))
        if sparsify_clear(fill(coder, seed, float(x.std())), x):
            break
    else:
        raise SystemExit(f"{name}: no seed is clear of ties")
    coder.save_to_disk(OUT / name)
    cfg = {"expansion_factor": 32, "normalize_decoder": True, "num_latents": F, "k": K}
    write_json(
        OUT / name / "cfg.json", cfg | {"multi_topk": False, "skip_connection": True, "d_in": N}
    )
    keep_sparsify(run, name, "mlp_in.1", "blocks.1.hook_mlp_out")


# circuit-tracer -------------------------------------------------------------------------------


def write_files(run):
    """layer_L.safetensors of a set: layer 0 has a skip connection, layer 1 thresholds."""
    (OUT / "files").mkdir()
    for layer in range(2):
        x, name = run[f"mlp_in.{layer}"], f"files/layer_{layer}.safetensors"
        for seed in range(100):
            act = JumpReLU(torch.full((F,), 0.3 * float(x.std())), 0.1) if layer else torch.relu
            coder = SingleLayerTranscoder(
                N, F, act, layer, skip_connection=layer == 0, device="cpu", dtype=torch.float32
            )
            fill(coder, seed, float(x.std()))
            if layer:
                act.threshold.data.fill_(0.3 * float(x.std()))
            limit = act.threshold if layer else 0.0
            if clear(coder.encode(x, apply_activation_function=False), threshold=limit):
                break
        else:
            raise SystemExit(f"{name}: no seed is clear of ties")
        coder.to_safetensors(str(OUT / name))
        with torch.no_grad():
            f = coder.encode(x)
            y = run[f"blocks.{layer}.hook_mlp_out"]
            keep(name.replace("/", "."), x, f, coder.decode(f, x), y)
    write_yaml(OUT / "files")


def write_yaml(folder):
    (folder / "config.yaml").write_text(
        "model_kind: transcoder_set\nfeature_input_hook: mlp.hook_in\n"
        "feature_output_hook: hook_mlp_out\n"
    )


def keep_sparsify(run, name, hook, out):
    coder, x, y = SparseCoder.load_from_disk(OUT / name), run[hook], run[out or hook]
    assert sparsify_clear(coder, x), name
    with torch.no_grad():
        r = coder(x, y)
    keep(
        name.replace("/", "."),
        x,
        dense(r.latent_acts, r.latent_indices, coder.num_latents),
        r.sae_out,
        y,
    )


# dictionary_learning --------------------------------------------------------------------------

LEARNED = {  # name -> class, its arguments, how a file names the submodule, hook
    "learned_relu": (AutoEncoder, (), "resid_post_layer_1", "blocks.1.hook_resid_post"),
    "learned_new": (AutoEncoderNew, (), "resid_post_layer_1", "blocks.1.hook_resid_post"),
    "learned_topk": (AutoEncoderTopK, (K,), "resid_post_layer_1", "blocks.1.hook_resid_post"),
    "learned_batch_topk": (BatchTopKSAE, (K,), "resid_post_layer_1", "blocks.1.hook_resid_post"),
    "learned_matryoshka": (
        MatryoshkaBatchTopKSAE,
        (K, [20, F - 20]),
        "resid_post_layer_1",
        "blocks.1.hook_resid_post",
    ),
    "learned_gated": (GatedAutoEncoder, (), "mlp_out_layer_0", "blocks.0.hook_mlp_out"),
    "learned_jumprelu": (
        JumpReluAutoEncoder,
        (),
        "attention_out_layer_1",
        "blocks.1.hook_attn_out",
    ),
}


def learned_clear(sae, x):
    if isinstance(sae, GatedAutoEncoder):
        e = (x - sae.decoder_bias) @ sae.encoder.weight.T
        return clear(e + sae.gate_bias) and clear(e * sae.r_mag.exp() + sae.mag_bias)
    if hasattr(sae, "W_enc"):
        shift = sae.b_dec if isinstance(sae, MatryoshkaBatchTopKSAE) else 0
        return clear((x - shift) @ sae.W_enc + sae.b_enc, threshold=sae.threshold)
    bias = getattr(sae, "b_dec", getattr(sae, "bias", torch.tensor(0.0)))
    pre = (x - bias) @ sae.encoder.weight.T + sae.encoder.bias
    if isinstance(sae, BatchTopKSAE):
        return clear(pre, threshold=sae.threshold)
    return clear(pre, k=K if isinstance(sae, AutoEncoderTopK) else 0)


def write_learned(run, scratch):
    for name, (kind, arguments, submodule, hook) in LEARNED.items():
        x = run[hook]
        for seed in range(100):
            sae = fill(kind(N, F, *arguments), seed, float(x.std()))
            if hasattr(sae, "threshold") and kind is not JumpReluAutoEncoder:
                sae.threshold.fill_(0.4 * float(x.std()))
            if learned_clear(sae, x):
                break
        else:
            raise SystemExit(f"{name}: no seed is clear of ties")
        source = scratch / name
        source.mkdir(parents=True)
        torch.save(sae.state_dict(), source / "ae.pt")
        trainer = {
            "dict_class": kind.__name__,
            "activation_dim": N,
            "dict_size": F,
            "layer": int(submodule[-1]),
            "lm_name": "some/parallel_f32",
            "submodule_name": submodule,
        } | ({"k": K} if arguments else {})
        write_json(source / "config.json", {"trainer": trainer, "buffer": {"ctx_len": 64}})
        convert(source, OUT / name)
        with torch.no_grad():
            f = sae.encode(x)
            keep(name, x, f, sae.decode(f), x)
        other = SAE.load_from_disk(OUT / name)
        with torch.no_grad():
            assert (other.encode(x) - f).abs().max() < 1e-5, name
            assert (other(x) - sae(x)).abs().max() < 1e-5, name
            assert other.cfg.metadata.hook_name == hook


def main():
    torch.set_num_threads(1)
    run = activations()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    write_saelens(run)
    write_centered(run)
    write_old(run)
    write_files(run)
    write_sparsify(run)
    with tempfile.TemporaryDirectory() as scratch:
        write_learned(run, pathlib.Path(scratch))
    print(f"wrote {len(list(OUT.glob('*.safetensors')))} dictionaries under {OUT}")


if __name__ == "__main__":
    main()
