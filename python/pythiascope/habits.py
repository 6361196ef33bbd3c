"""Names that users of TransformerLens and PyTorch try first, and what to use here instead.

An AttributeError adds these; nothing else reads them.
"""

from __future__ import annotations

__all__ = ["hint_of_model", "hint_of_package"]

_RUN = "call the model: model(text)"
_WEIGHTS = "use model.W_Q[layer], model.ln_final_w and their like; dir(model) lists them"
_CPU = "leave it out: pythiascope runs on the CPU, in float32"
_GRADIENT = "use model.run_with_cache(text, incl_bwd=True, metric=pythiascope.Metric.loss())"
_SPLIT = "heads have no input of their own; edit hook_resid_pre"
_TOKENS = "use model.to_tokens, model.to_string and model.to_str_tokens; cfg.eos_ids has the ends"
_FOLDER = "use pythiascope.Model(name), a folder or a name like EleutherAI/pythia-160m"
_RAW = "leave it out: weights are those of the file, neither folded nor centered"

_MODEL = {
    "forward": _RUN,
    "eval": "leave it out: there is no training mode",
    "train": "there is no training mode",
    "to": _CPU,
    "cpu": _CPU,
    "cuda": _CPU,
    "half": _CPU,
    "float": _CPU,
    "device": "use model.cfg.device",
    "parameters": _WEIGHTS,
    "named_parameters": _WEIGHTS,
    "state_dict": _WEIGHTS,
    "blocks": "use model.W_Q[layer] for weights and blocks.0.attn.hook_q for hooks",
    "embed": "use model.W_E[ids]",
    "QK": "use model.W_Q[layer] and model.W_K[layer], or model.weights()",
    "OV": "use model.W_V[layer] and model.W_O[layer], or model.weights()",
    "W_pos": "positions are rotary, so there is no matrix of them",
    "pos_embed": "positions are rotary, so there is no matrix of them",
    "tokenizer": _TOKENS,
    "loss_fn": 'use model(text, return_type="loss")',
    "zero_grad": _GRADIENT,
    "backward": _GRADIENT,
    "requires_grad_": _GRADIENT,
    "all_head_labels": 'the axis labels of a result have them: result["contributions"].coords',
    "all_composition_scores": "use model.weights()",
    "set_use_attn_in": _SPLIT,
    "set_use_split_qkv_input": _SPLIT,
    "set_use_hook_mlp_in": "the MLP has no input of its own; edit hook_resid_pre",
    "process_weights_": _RAW,
    "from_pretrained": _FOLDER,
    "mod_dict": "use model.hook_dict",
    "check_hooks_to_add": "use model.hook_dict",
    "remove_all_hook_fns": "use model.reset_hooks()",
}
_PACKAGE = {
    "HookedTransformer": _FOLDER,
    "HookedTransformerConfig": "use model.cfg",
    "TransformerBridge": _FOLDER,
    "FactoredMatrix": "use model.weights()",
    "SVDInterpreter": "use model.weights()",
    "patching": "use model.sweep(text, do='patch', source=other)",
    "head_detector": 'use model.attention(text)["tl_detect"]',
    "evals": "use model.corpus(documents, plugins)",
    "from_pretrained": _FOLDER,
    "load": _FOLDER,
    "utils": "use pythiascope.get_act_name and the methods of Model",
}


def hint_of_model(name: str) -> str:
    """What to use instead of an attribute that Model does not have, as the rest of a sentence."""
    return f"; {_MODEL[name]}" if name in _MODEL else ""


def hint_of_package(name: str) -> str:
    """What to use instead of a name that the package does not have."""
    return f"; {_PACKAGE[name]}" if name in _PACKAGE else ""
