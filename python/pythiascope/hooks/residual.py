"""The residual stream of a cache as a sum: stacks of what wrote it, and what that adds to logits.

Axes and labels are TransformerLens's. A stack is [components, batch, pos, d_model]; an axis that
the cache lost (remove_batch_dim, an int as pos_slice) is missing. Sums run in float64 and are
rounded once to float32, so a stack adds up to the stream within the rounding of its entries.

Weights are raw. Where TransformerLens's answer depends on its folding:
- apply_ln with a cached scale is (x - mean) / scale, without gamma and beta, as with any folding.
- recomputed normalization (accumulated_resid up to the end) is the whole ln_final with gamma and
  beta, so `@ model.W_U + model.b_U` gives logits; with folded weights it is without both.
- logit_attrs multiplies W_U's columns by ln_final's gamma, as fold_ln=True does; center_unembed,
  which subtracts each column's mean over the vocabulary, is not done. The attributions of a full
  decomposition add up to logit - b_U - beta . W_U.
- center_writing_weights and fold_value_biases are not done: each write has its own mean, and a
  head's values have their bias.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .lookup import Lookup
from .slices import Slice, SliceInput
from .stacks import Floats, normalize


class ResidualStream(Lookup):
    """The decompositions of a cache. ActivationCache inherits it."""

    memory_limit: int = 8 << 30
    """Most bytes of one stack; a larger one raises OutOfMemory before any work."""

    @overload
    def accumulated_resid(
        self,
        layer: int | None = ...,
        incl_mid: bool = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        mlp_input: bool = ...,
        return_labels: Literal[False] = ...,
    ) -> Floats: ...
    @overload
    def accumulated_resid(
        self,
        layer: int | None = ...,
        incl_mid: bool = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        mlp_input: bool = ...,
        *,
        return_labels: Literal[True],
    ) -> tuple[Floats, list[str]]: ...
    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        mlp_input: bool = False,
        return_labels: bool = False,
    ) -> Floats | tuple[Floats, list[str]]:
        """The stream before each layer up to `layer`: [layers, batch, pos, d_model].

        Args:
            layer: The last layer whose input is taken, 0..n_layers; n_layers, -1 and None take
                the end of the stream, too.
            incl_mid: Also takes the stream between attention and MLP (sequential models only).
            apply_ln: Normalizes each entry as the reader of `layer` does: with the cached scale
                of its ln1 (ln2 with mlp_input), without gamma and beta. At the end of the stream
                each entry passes through the whole ln_final, so `@ W_U + b_U` is the logit lens.
            pos_slice: A Slice or what it takes, over positions.
            mlp_input: Ends with the input of the layer's MLP (sequential models only).
            return_labels: Also returns the labels "0_pre", "0_mid", ..., "final_post".
        """
        pos, last = Slice(pos_slice), self.model.cfg.n_layers
        layer = self._layer(layer)
        labels, entries = [], []
        for index in range(layer + 1):
            if index == last:
                labels.append("final_post")
                entries.append(self["resid_post", last - 1])
                continue
            labels.append(f"{index}_pre")
            entries.append(self["resid_pre", index])
            if (incl_mid and index < layer) or (mlp_input and index == layer):
                labels.append(f"{index}_mid")
                entries.append(self["resid_mid", index])
        stack = np.stack([pos.apply(entry, -2) for entry in entries])
        if apply_ln:
            stack = self.apply_ln_to_stack(
                stack,
                layer,
                mlp_input=mlp_input,
                pos_slice=pos,
                has_batch_dim=self.has_batch_dim,
                recompute_ln=layer == last,
            )
        return (stack, labels) if return_labels else stack

    @overload
    def decompose_resid(
        self,
        layer: int | None = ...,
        mlp_input: bool = ...,
        mode: Literal["all", "mlp", "attn"] = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        incl_embeds: bool = ...,
        return_labels: Literal[False] = ...,
    ) -> Floats: ...
    @overload
    def decompose_resid(
        self,
        layer: int | None = ...,
        mlp_input: bool = ...,
        mode: Literal["all", "mlp", "attn"] = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        incl_embeds: bool = ...,
        *,
        return_labels: Literal[True],
    ) -> tuple[Floats, list[str]]: ...
    def decompose_resid(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        mode: Literal["all", "mlp", "attn"] = "all",
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        incl_embeds: bool = True,
        return_labels: bool = False,
    ) -> Floats | tuple[Floats, list[str]]:
        """What the embedding, the attentions and the MLPs wrote: [components, batch, pos, d_model].

        The components add up to the stream before `layer`, unless a hook edited the stream.

        Args:
            layer: Takes the writes of the layers before it, 0..n_layers; n_layers, -1 and None
                take all.
            mlp_input: Also takes the layer's own attention (sequential models only).
            mode: "all", or only "attn" or "mlp".
            apply_ln: Normalizes by the cached scale of what reads the stream there; no gamma.
            pos_slice: A Slice or what it takes, over positions.
            incl_embeds: Starts with the embedding.
            return_labels: Also returns the labels "embed", "0_attn_out", "0_mlp_out", ...
        """
        if mode not in ("all", "mlp", "attn"):
            raise InputError(f"mode is 'all', 'mlp' or 'attn', not {mode!r}")
        pos = Slice(pos_slice)
        layer = self._layer(layer, mlp_input)
        labels, entries = [], []
        if incl_embeds:
            labels.append("embed")
            entries.append(self["hook_embed"])
        for index in range(layer):
            for kind in ("attn", "mlp") if mode == "all" else (mode,):
                labels.append(f"{index}_{kind}_out")
                entries.append(self[f"{kind}_out", index])
        if mlp_input and mode != "mlp":
            labels.append(f"{layer}_attn_out")
            entries.append(self["attn_out", layer])
        if not entries:
            raise InputError("a decomposition of layer 0 without embeddings has no component")
        stack = np.stack([pos.apply(entry, -2) for entry in entries])
        if apply_ln:
            stack = self.apply_ln_to_stack(
                stack, layer, mlp_input=mlp_input, pos_slice=pos, has_batch_dim=self.has_batch_dim
            )
        return (stack, labels) if return_labels else stack

    def stack_activation(
        self, activation_name: str, layer: int | None = -1, sublayer_type: str | None = None
    ) -> Floats:
        """One activation of every layer before `layer`: [layers, ...].

        stack_activation("z") has z of all layers; sublayer_type is the kind in a shorthand, as
        "ln1" for "scale". layer -1, None and n_layers take all layers.
        """
        names = [(activation_name, index, sublayer_type) for index in range(self._layer(layer))]
        if not names:
            raise InputError("stack_activation before layer 0 has no entry")
        return np.stack([self[name] for name in names])

    def apply_ln_to_stack(
        self,
        residual_stack: ArrayLike,
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
        recompute_ln: bool = False,
    ) -> Floats:
        """A stack [components, ..., d_model] as the LayerNorm of a reader takes it.

        Each entry is centered and divided by the cached scale of that LayerNorm, without gamma
        and beta: what a component adds to the reader's normalized input.

        Args:
            residual_stack: Components; their rows must be those of the cached scale, after slices.
            layer: The reader, 0..n_layers; n_layers, -1 and None are ln_final.
            mlp_input: The reader is the layer's MLP (ln2), not its attention (ln1).
            pos_slice: The positions that residual_stack has; only the scale is sliced.
            batch_slice: Taken of the scale, and of residual_stack when it has_batch_dim.
            has_batch_dim: Whether residual_stack is [components, batch, ...].
            recompute_ln: With ln_final only: the whole ln_final, gamma and beta included, with
                each entry's own mean and scale.
        """
        layer = self._layer(layer, mlp_input)
        stack, batch = np.asarray(residual_stack), Slice(batch_slice)
        if stack.ndim < 2 or stack.shape[-1] != self.model.cfg.d_model:
            raise InputError(
                f"a residual stack is [components, ..., {self.model.cfg.d_model}], not "
                f"{list(stack.shape)}"
            )
        if has_batch_dim:
            stack = batch.apply(stack, 1)
        if recompute_ln and layer == self.model.cfg.n_layers:
            return np.stack([self.model.ln_final(entry) for entry in stack])
        scale = self._scale(layer, mlp_input, Slice(pos_slice), batch)
        rows = self._rows_of(stack, scale)
        out = np.empty((len(stack), *rows, stack.shape[-1]), dtype=np.float32)
        for entry, result in zip(stack, out):
            result[...] = normalize(entry, scale)
        return out

    def logit_attrs(
        self,
        residual_stack: ArrayLike,
        tokens: str | int | ArrayLike,
        incorrect_tokens: str | int | ArrayLike | None = None,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
    ) -> Floats:
        """What each component adds to the logits of tokens: [components, batch, pos].

        Each component passes through ln_final with the cached scale, its gamma included, and is
        multiplied by the tokens' columns of W_U. The figures of all components add up to the
        logit less b_U and less beta . W_U.

        Args:
            residual_stack: [components, batch, pos, d_model], or without the axes that slices took.
            tokens: A text of one token, an id, or ids: [batch] gives one per sequence, [pos] one
                per position, [batch, pos] one for each; [1, pos] when batch and pos are equal.
            incorrect_tokens: The attributions are those to the difference, tokens less these.
            pos_slice: The positions that residual_stack has; only the scale is sliced.
            batch_slice: Taken of the scale, and of residual_stack when it has_batch_dim.
            has_batch_dim: Whether residual_stack is [components, batch, ...].
        """
        directions = self.model.tokens_to_residual_directions(tokens).astype(np.float64)
        if incorrect_tokens is not None:
            others = self.model.tokens_to_residual_directions(incorrect_tokens)
            if others.shape != directions.shape:
                raise InputError(
                    "tokens and incorrect_tokens have the same shape, not "
                    f"{list(directions.shape[:-1])} and {list(others.shape[:-1])}"
                )
            directions = directions - others
        directions -= directions.mean(axis=-1, keepdims=True)  # centers the components instead
        stack, batch = np.asarray(residual_stack), Slice(batch_slice)
        if stack.ndim < 2 or stack.shape[-1] != self.model.cfg.d_model:
            raise InputError(
                f"a residual stack is [components, ..., {self.model.cfg.d_model}], not "
                f"{list(stack.shape)}"
            )
        if has_batch_dim:
            stack = batch.apply(stack, 1)
        scale = self._scale(self.model.cfg.n_layers, False, Slice(pos_slice), batch)
        rows = self._rows_of(stack, scale)
        per_sequence = has_batch_dim and batch.mode != "int" and stack.ndim == 4
        if per_sequence and directions.ndim == 2 and len(directions) == stack.shape[1]:
            directions = directions[:, None]
        try:
            rows = np.broadcast_shapes(rows, directions.shape[:-1])
        except ValueError:
            raise InputError(
                f"tokens {list(directions.shape[:-1])} do not fit rows {list(rows)}"
            ) from None
        out = np.empty((len(stack), *rows), dtype=np.float32)
        for number, entry in enumerate(stack):
            wide = entry.astype(np.float64)
            out[number] = np.einsum("...d,...d->...", wide, directions) / scale[..., 0]
        return out

    def _layer(self, layer: int | None, mlp_input: bool = False) -> int:
        """A layer as 0..n_layers; InputError otherwise."""
        n_layers = self.model.cfg.n_layers
        if layer is None or layer == -1:
            layer = n_layers
        if not 0 <= layer <= n_layers:
            raise InputError(f"layer is 0 to {n_layers}, or -1 for {n_layers}, not {layer}")
        if mlp_input and layer == n_layers:
            raise InputError(
                f"mlp_input is for layers 0 to {n_layers - 1}: no MLP reads the end of the stream"
            )
        return layer

    def _scale(self, layer: int, mlp_input: bool, pos: Slice, batch: Slice) -> NDArray[Any]:
        """The cached scale [..., 1] of a reader of the stream."""
        ln = "ln_final" if layer == self.model.cfg.n_layers else f"ln{2 if mlp_input else 1}"
        scale = self["scale", layer, ln] if ln != "ln_final" else self["ln_final.hook_scale"]
        scale = pos.apply(scale, -2)
        return batch.apply(scale, 0) if self.has_batch_dim else scale

    def _rows_of(self, stack: NDArray[Any], scale: NDArray[Any]) -> tuple[int, ...]:
        """The axes between components and d_model; InputError when the scale has others."""
        try:
            return np.broadcast_shapes(stack.shape[1:-1], scale.shape[:-1])
        except ValueError:
            raise InputError(
                f"a stack over rows {list(stack.shape[1:-1])} does not fit a cache over rows "
                f"{list(scale.shape[:-1])}; give the stack's pos_slice, batch_slice and "
                "has_batch_dim"
            ) from None
