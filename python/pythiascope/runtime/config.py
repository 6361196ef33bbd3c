"""The configuration of a model, under the names of TransformerLens's HookedTransformerConfig."""

from __future__ import annotations

import math
import os
from typing import Any, NoReturn

from .._c import structures as c

__all__ = ["Config"]


class Config:
    """What a model is; it cannot be changed.

    Attributes:
        model_name: "EleutherAI/pythia-160m@step3000" in a cache, else the last part of the folder.
        original_architecture: "GPTNeoXForCausalLM".
        n_layers, n_heads, d_model, d_head, d_mlp, d_vocab, d_vocab_out, n_ctx: Extents.
        n_params: Weights of attention and MLP, without biases and embeddings.
        act_fn: The MLP's activation as config.json has it, such as "gelu" or "gelu_fast".
        eps: Of the LayerNorms, inside the root.
        normalization_type: "LN": weights are raw, nothing is folded into them.
        positional_embedding_type: "rotary".
        rotary_dim, rotary_base, rotary_pct: The rotary embedding; rotary_dim of d_head are rotated.
        rope_type, rope_factor: "default", "linear", "dynamic" or "yarn", and its factor (1).
        rotary_adjacent_pairs: False: pairs are (i, i + rotary_dim / 2).
        parallel_attn_mlp: Whether attention and MLP read the same residual stream.
        attn_scale: Scores are divided by it, sqrt(d_head).
        use_attn_scale, attention_dir, attn_only, gated_mlp, final_rms: As TransformerLens has them.
        default_prepend_bos: False; a call puts the token in front only when it is asked to.
        dtype: The type of the weights' files, as config.json has it; sums are f32 and f64.
        device: "cpu".
        tie_word_embeddings: Whether the unembedding is the embedding.
        attention_bias: Whether attention has biases.
        bos_id: The beginning-of-text token; -1: none.
        eos_ids: The end-of-text tokens.
    """

    model_name: str
    original_architecture: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    d_vocab_out: int
    n_ctx: int
    n_params: int
    act_fn: str
    eps: float
    normalization_type: str
    positional_embedding_type: str
    rotary_dim: int
    rotary_base: float
    rotary_pct: float
    rope_type: str
    rope_factor: float
    rotary_adjacent_pairs: bool
    parallel_attn_mlp: bool
    attn_scale: float
    use_attn_scale: bool
    attention_dir: str
    attn_only: bool
    gated_mlp: bool
    final_rms: bool
    default_prepend_bos: bool
    dtype: str
    device: str
    tie_word_embeddings: bool
    attention_bias: bool
    bos_id: int
    eos_ids: tuple[int, ...]

    def __init__(self, model: c.psc_result_model) -> None:
        values = self.__dict__
        values["model_name"] = os.fsdecode(model.name or b"")
        values["original_architecture"] = "GPTNeoXForCausalLM"
        for name in ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "d_vocab", "n_ctx"):
            values[name] = getattr(model, name)
        values["d_vocab_out"] = model.d_vocab
        per_layer = 4 * model.d_model * model.d_head * model.n_heads
        values["n_params"] = model.n_layers * (per_layer + 2 * model.d_model * model.d_mlp)
        values["act_fn"] = (model.activation or b"").decode()
        values["eps"] = model.layer_norm_eps
        values["normalization_type"] = "LN"
        values["positional_embedding_type"] = "rotary"
        values["rotary_dim"] = model.rotary_dims
        values["rotary_base"] = model.rotary_base
        values["rotary_pct"] = model.rotary_pct
        values["rope_type"] = (model.rope_type or b"").decode()
        values["rope_factor"] = model.rope_factor
        values["rotary_adjacent_pairs"] = False
        values["parallel_attn_mlp"] = bool(model.parallel_residual)
        values["attn_scale"] = math.sqrt(model.d_head)
        values["use_attn_scale"] = True
        values["attention_dir"] = "causal"
        values["attn_only"] = values["gated_mlp"] = values["final_rms"] = False
        values["default_prepend_bos"] = False
        values["dtype"] = (model.dtype or b"").decode()
        values["device"] = "cpu"
        values["tie_word_embeddings"] = bool(model.tied)
        values["attention_bias"] = bool(model.attention_bias)
        values["bos_id"] = model.bos_id
        values["eos_ids"] = tuple(model.eos_ids[: model.n_eos])

    def to_dict(self) -> dict[str, Any]:
        """All values by name, as a new dict."""
        return dict(self.__dict__)

    def __repr__(self) -> str:
        lines = "".join(f"    {name}={value!r},\n" for name, value in self.__dict__.items())
        return f"Config(\n{lines})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.items()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cfg.{name} cannot be set: a model's configuration never changes")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cfg.{name} cannot be deleted: a model's configuration never changes")
