"""A cache's residual stream by head and by neuron.

Axes, labels and order are TransformerLens's: components first, heads as "L0H3", neurons as
"L0N12", then embedding and biases. Nothing is kept in the cache, unlike there, except by
compute_head_results.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .names import position_axis
from .residual import ResidualStream
from .slices import Slice, SliceInput
from .stacks import Floats, Stack


class Components(ResidualStream):
    """The decompositions into heads and neurons. ActivationCache inherits it."""

    def compute_head_results(self) -> None:
        """Adds what each head writes, blocks.{l}.attn.hook_result [batch, pos, head, d_model].

        It is z times W_O, without the output bias. Layers that have it keep it.
        """
        cfg = self.model.cfg
        for layer in range(cfg.n_layers):
            name = f"blocks.{layer}.attn.hook_result"
            if name in self.cache_dict:
                continue
            z = self["z", layer]
            stack = Stack((*z.shape[:-2], cfg.d_model), self.memory_limit)
            stack.heads(layer, z, self.model.W_O[layer])
            self.cache_dict[name] = np.ascontiguousarray(np.moveaxis(stack.build(), 0, -2))

    @overload
    def stack_head_results(
        self,
        layer: int | None = ...,
        return_labels: Literal[False] = ...,
        incl_remainder: bool = ...,
        pos_slice: SliceInput = ...,
        apply_ln: bool = ...,
    ) -> Floats: ...
    @overload
    def stack_head_results(
        self,
        layer: int | None = ...,
        *,
        return_labels: Literal[True],
        incl_remainder: bool = ...,
        pos_slice: SliceInput = ...,
        apply_ln: bool = ...,
    ) -> tuple[Floats, list[str]]: ...
    def stack_head_results(
        self,
        layer: int | None = -1,
        return_labels: bool = False,
        incl_remainder: bool = False,
        pos_slice: SliceInput = None,
        apply_ln: bool = False,
    ) -> Floats | tuple[Floats, list[str]]:
        """What every head of the layers before `layer` writes: [heads, batch, pos, d_model].

        Args:
            layer: 0..n_layers; n_layers, -1 and None take all layers.
            return_labels: Also returns the labels "L0H0", "L0H1", ...
            incl_remainder: Ends with the stream after those layers less the heads; at layer 0
                with the whole stream.
            pos_slice: A Slice or what it takes, over positions.
            apply_ln: Normalizes by the cached scale of layer's ln1 or of ln_final; no gamma.
        """
        pos, layer = Slice(pos_slice), self._layer(layer)
        stack = self._stack(layer, pos, apply_ln)
        self._heads(stack, layer, pos)
        rest = pos.apply(self["resid_post", layer - 1], -2) if incl_remainder else None
        built = stack.build(rest)
        return (built, stack.labels) if return_labels else built

    def get_neuron_results(
        self,
        layer: int,
        neuron_slice: SliceInput = None,
        pos_slice: SliceInput = None,
        project_output_onto: ArrayLike | None = None,
    ) -> Floats:
        """What each neuron of one layer writes: [batch, pos, neurons, d_model].

        project_output_onto [d_model] or [d_model, outputs] replaces the last axis by products.
        An int as neuron_slice drops the axis of neurons.
        """
        neurons, pos = Slice(neuron_slice), Slice(pos_slice)
        stack = self._stack(layer, pos, False, project_output_onto)
        self._neurons(stack, layer, pos, Slice.unwrap(neurons))
        built = stack.build()
        if neurons.mode == "int":
            one: Floats = built[0]
            return one
        return np.moveaxis(built, 0, -1 if stack.squeeze else -2)

    @overload
    def stack_neuron_results(
        self,
        layer: int | None = ...,
        pos_slice: SliceInput = ...,
        neuron_slice: SliceInput = ...,
        return_labels: Literal[False] = ...,
        incl_remainder: bool = ...,
        apply_ln: bool = ...,
        project_output_onto: ArrayLike | None = ...,
        mlp_input: bool = ...,
    ) -> Floats: ...
    @overload
    def stack_neuron_results(
        self,
        layer: int | None = ...,
        pos_slice: SliceInput = ...,
        neuron_slice: SliceInput = ...,
        *,
        return_labels: Literal[True],
        incl_remainder: bool = ...,
        apply_ln: bool = ...,
        project_output_onto: ArrayLike | None = ...,
        mlp_input: bool = ...,
    ) -> tuple[Floats, list[str]]: ...
    def stack_neuron_results(
        self,
        layer: int | None = -1,
        pos_slice: SliceInput = None,
        neuron_slice: SliceInput = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        project_output_onto: ArrayLike | None = None,
        mlp_input: bool = False,
    ) -> Floats | tuple[Floats, list[str]]:
        """What every neuron of the layers before `layer` writes: [neurons, batch, pos, d_model].

        All neurons of many rows take much memory; see memory_limit. An int as neuron_slice takes
        one neuron per layer.

        Args:
            layer: 0..n_layers; n_layers, -1 and None take all layers.
            pos_slice: A Slice or what it takes, over positions.
            neuron_slice: The same over each layer's neurons.
            return_labels: Also returns the labels "L0N0", "L0N1", ...
            incl_remainder: Ends with the stream at `layer` less the neurons; at layer 0 with the
                whole stream.
            apply_ln: Normalizes by the cached scale of what reads the stream there; no gamma.
            project_output_onto: [d_model] or [d_model, outputs]; replaces the last axis by
                products with it, after apply_ln. The stack's full size is never allocated.
            mlp_input: The reader is the layer's MLP (sequential models only).
        """
        pos, layer = Slice(pos_slice), self._layer(layer, mlp_input)
        stack = self._stack(layer, pos, apply_ln, project_output_onto, mlp_input)
        for index in range(layer):
            self._neurons(stack, index, pos, Slice.unwrap(neuron_slice))
        name = ("resid_mid", layer) if mlp_input else ("resid_post", layer - 1)
        built = stack.build(pos.apply(self[name], -2) if incl_remainder else None)
        return (built, stack.labels) if return_labels else built

    @overload
    def get_full_resid_decomposition(
        self,
        layer: int | None = ...,
        mlp_input: bool = ...,
        expand_neurons: bool = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        return_labels: Literal[False] = ...,
        project_output_onto: ArrayLike | None = ...,
    ) -> Floats: ...
    @overload
    def get_full_resid_decomposition(
        self,
        layer: int | None = ...,
        mlp_input: bool = ...,
        expand_neurons: bool = ...,
        apply_ln: bool = ...,
        pos_slice: SliceInput = ...,
        *,
        return_labels: Literal[True],
        project_output_onto: ArrayLike | None = ...,
    ) -> tuple[Floats, list[str]]: ...
    def get_full_resid_decomposition(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        expand_neurons: bool = True,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        return_labels: bool = False,
        project_output_onto: ArrayLike | None = None,
    ) -> Floats | tuple[Floats, list[str]]:
        """The stream before `layer` by head, neuron, embedding and bias, in this order.

        [components, batch, pos, d_model]; the components add up to the stream, unless a hook
        edited it. With expand_neurons=False each layer's MLP is one component "0_mlp_out".
        The last component "bias" is the sum of the output biases that the others lack. The other
        arguments are those of stack_neuron_results.
        """
        pos, layer = Slice(pos_slice), self._layer(layer, mlp_input)
        stack = self._stack(layer, pos, apply_ln, project_output_onto, mlp_input)
        self._heads(stack, layer + mlp_input, pos)
        for index in range(layer):
            if expand_neurons:
                self._neurons(stack, index, pos, Slice())
            else:
                stack.component(f"{index}_mlp_out", pos.apply(self["mlp_out", index], -2))
        stack.component("embed", pos.apply(self["hook_embed"], -2))
        bias = self.model.accumulated_bias(layer, mlp_input, include_mlp_biases=expand_neurons)
        stack.component("bias", bias)
        built = stack.build()
        return (built, stack.labels) if return_labels else built

    def _stack(
        self,
        layer: int,
        pos: Slice,
        apply_ln: bool,
        project: ArrayLike | None = None,
        mlp_input: bool = False,
    ) -> Stack:
        """An empty stack over the chosen rows, for the reader of the stream at `layer`."""
        rows = self._rows(pos)
        stack = Stack((*rows, self.model.cfg.d_model), self.memory_limit)
        stack.projection(project)
        if apply_ln:
            stack.scale = self._scale(layer, mlp_input, pos, Slice())
        return stack

    def _rows(self, pos: Slice) -> tuple[int, ...]:
        """The axes [batch, pos] after the slice, from any entry that has them."""
        for name in ("hook_embed", *self.cache_dict):
            hook = self.model.names.hooks.get(name)
            if name in self.cache_dict and hook is not None and hook.shape != "HK":
                axis = position_axis(hook.shape)
                return pos.apply(self.cache_dict[name], axis).shape[: axis + 1]
        raise InputError("the cache holds no entry with positions; cache hook_embed, too")

    def _heads(self, stack: Stack, layers: int, pos: Slice) -> None:
        """Announces all heads of the first layers."""
        for layer in range(layers):
            name = f"blocks.{layer}.attn.hook_result"
            if name in self.cache_dict:
                result: NDArray[Any] = pos.apply(self.cache_dict[name], -3)
                for head in range(result.shape[-2]):
                    stack.component(f"L{layer}H{head}", result[..., head, :])
            else:
                stack.heads(layer, pos.apply(self["z", layer], -3), self.model.W_O[layer])

    def _neurons(self, stack: Stack, layer: int, pos: Slice, neurons: Slice) -> None:
        """Announces a layer's neurons."""
        post = neurons.apply(pos.apply(self["post", layer], -2), -1)
        w_out = neurons.apply(self.model.W_out[layer], 0)
        stack.neurons(layer, post, w_out, neurons.indices(self.model.cfg.d_mlp).tolist())
