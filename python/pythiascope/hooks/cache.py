"""Caches of a pass: run_with_cache and ActivationCache.

The library copies each tensor of the pass into an array of the cache. Axes are TransformerLens's:
[batch, pos, ...], scores and pattern [batch, head, query, key]. Sequences of different lengths are
padded on the right: rows are NaN; keys past a sequence's end are -inf in scores and 0 in pattern,
as all keys past a row's own position.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from .._c import structures
from .._c.memory import pool
from ..checks import whole
from ..errors import InputError
from ..runtime.loss import losses_of
from ..runtime.metric import MadeMetric, Metric
from .components import Components
from .hooks import Hooks
from .names import Hook, NamesFilter, position_axis
from .slices import Slice, SliceInput

if TYPE_CHECKING:
    from ..instruments.interventions import Interventions
    from ..model import Model
    from ..runtime.base import Change
    from ..runtime.opened import OpenModel
    from ..runtime.tokens import Input, Tokens

Floats = NDArray[np.float32]


class ActivationCache(Components):
    """The tensors of one pass, by name. Its arrays own their memory and outlive the model.

    cache["blocks.3.attn.hook_z"], cache["z", 3], cache["z", 3, "attn"], cache["z", -1] and
    cache["embed"] take TransformerLens's names and shorthand, and those of TransformerLens 4.

    Attributes:
        cache_dict: The arrays by name, in the order of the pass.
        model: The model of the pass; the decompositions need its weights.
        has_batch_dim: Whether arrays have a batch axis.
        metric: The value of the metric whose gradient the cache has; None without one.
    """

    metric: float | None = None

    def remove_batch_dim(self) -> ActivationCache:
        """Drops the batch axis of all arrays, in place; returns the cache itself.

        InputError when the batch has several sequences. Without a batch axis it does nothing.
        """
        if self.has_batch_dim:
            for name, array in self.cache_dict.items():
                if len(array) != 1:
                    raise InputError(
                        f"{name} has a batch of {len(array)} sequences; only a batch of one can "
                        "lose its axis"
                    )
            self.cache_dict = {name: array[0] for name, array in self.cache_dict.items()}
            self.has_batch_dim = False
        return self

    def apply_slice_to_batch_dim(self, batch_slice: SliceInput) -> ActivationCache:
        """Another cache with some of the sequences; an int drops the batch axis.

        Its arrays share memory with this one's, except for a list or an array as batch_slice.
        """
        chosen = Slice(batch_slice)
        if not self.has_batch_dim and chosen.mode != "identity":
            raise InputError("this cache has no batch axis to slice")
        arrays = {name: chosen.apply(array, 0) for name, array in self.cache_dict.items()}
        cache = ActivationCache(arrays, self.model, self.has_batch_dim and chosen.mode != "int")
        cache.metric = self.metric
        return cache


class Caching(Hooks):
    """Passes that keep tensors. Model inherits it."""

    use_attn_result: bool = False
    """Whether attn.hook_result, n_heads times the residual stream, is in caches by default."""

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Sets use_attn_result."""
        self.use_attn_result = bool(use_attn_result)

    @overload
    def run_with_cache(
        self,
        input: Input,
        *,
        names_filter: NamesFilter = ...,
        pos_slice: SliceInput = ...,
        stop_at_layer: int | None = ...,
        remove_batch_dim: bool = ...,
        return_cache_object: Literal[True] = ...,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
        incl_bwd: bool = ...,
        metric: Metric | None = ...,
        recompute: bool = ...,
    ) -> tuple[Floats, ActivationCache]: ...
    @overload
    def run_with_cache(
        self,
        input: Input,
        *,
        names_filter: NamesFilter = ...,
        pos_slice: SliceInput = ...,
        stop_at_layer: int | None = ...,
        remove_batch_dim: bool = ...,
        return_cache_object: bool = ...,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
        incl_bwd: bool = ...,
        metric: Metric | None = ...,
        recompute: bool = ...,
        return_type: str | None = ...,
        loss_per_token: bool = ...,
    ) -> tuple[Any, Any]: ...
    def run_with_cache(
        self,
        input: Input,
        *,
        names_filter: NamesFilter = None,
        pos_slice: SliceInput = None,
        stop_at_layer: int | None = None,
        remove_batch_dim: bool = False,
        return_cache_object: bool = True,
        prepend_bos: bool = False,
        interventions: Interventions = (),
        source: Any = (),
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        incl_bwd: bool = False,
        metric: Metric | None = None,
        recompute: bool = False,
    ) -> tuple[Any, Any]:
        """Runs the model and keeps the tensors of the pass. Hooks take part; edits are kept.

        Args:
            input: A text, ids, or a batch of them, as for model(input).
            names_filter: What to keep: None for everything but attn.hook_result and hook_logits;
                a name, with "blocks.*." for all layers; a sequence of names; or a function of
                names. See use_attn_result.
            pos_slice: The positions to keep, a Slice or what it takes; an int keeps its axis. Of
                scores and pattern it chooses queries.
            stop_at_layer: Computes the layers before this one only; negative ones count from the
                end, 0 is the embedding alone. The first result is then the residual stream there,
                [batch, pos, d_model].
            remove_batch_dim: The cache's arrays have no batch axis; for one sequence only.
            return_cache_object: False returns a dict of arrays instead of an ActivationCache.
            prepend_bos: Puts the beginning-of-text token in front.
            interventions: Changes, such as ablate("L0H3"); the cache has the changed values.
            source: Source prompts, numbered from 1, for interventions.
            return_type: "logits", "loss", "both", or None, for which logits are not computed.
            loss_per_token: As for model(input).
            incl_bwd: Also keeps the gradient of the metric at each of these tensors, named
                "blocks.3.hook_resid_post_grad"; cache.metric is the metric's value. Past a row's
                own position the gradients of scores and pattern are 0.
            metric: What is differentiated, such as Metric.logit(" Oz"); None: Metric.loss().
            recompute: The gradient computes queries and the MLP's pre-activations again instead of
                keeping them: less memory, 0.4 of a forward pass more time, the same bits.

        Returns:
            Logits, float32 [batch, pos, d_vocab], or what return_type says; and the cache.

        Raises:
            InputError: A name is unknown (near ones are listed), or an argument is wrong.
            MemoryError: The tensors do not fit in memory.
        """
        if return_type not in ("logits", "loss", "both", None):
            raise InputError(f'return_type is {return_type!r}; pass "logits", "loss", "both", None')
        sequences, _ = self._sequences(input, prepend_bos)
        _check_batch(sequences, remove_batch_dim)
        stop, end = _stop(stop_at_layer, self.cfg.n_layers)
        hooks = self._chosen(names_filter, max(stop, 0) if end else None)
        result = end or "hook_logits" if return_type is not None else ""
        positions = Slice.unwrap(pos_slice)
        change = self._change(interventions, source, prepend_bos)
        if (metric is not None or recompute) and not incl_bwd:
            given = "recompute" if metric is None else "a metric"
            raise InputError(f"{given} needs incl_bwd=True")
        made = self._made_metric(metric, sequences) if incl_bwd else None
        if made is not None:
            made.structure.recompute = int(recompute)
        out, arrays = self._kept(
            sequences, hooks, positions, result, stop, prepend_bos, change, made
        )
        if return_type in ("loss", "both") and not end:
            losses = losses_of(out, sequences)
            loss = losses if loss_per_token else float(np.nanmean(losses))
            out = loss if return_type == "loss" else (out, loss)
        if remove_batch_dim:
            arrays = {name: array[0] for name, array in arrays.items()}
        if not return_cache_object:
            return out, arrays
        cache = ActivationCache(arrays, cast("Model", self), not remove_batch_dim)
        cache.metric = None if made is None else made.value
        return out, cache

    def _chosen(self, names_filter: NamesFilter, layers: int | None) -> list[Hook]:
        """What to keep of a pass over the first layers; None: over all."""
        hooks = self.names.filtered(names_filter, self.use_attn_result)
        if layers is None or not (names_filter is None or callable(names_filter)):
            return hooks  # a name beyond the end is the library's to refuse
        return [h for h in hooks if h.name == "hook_embed" or 0 <= h.layer < layers]

    def _kept(
        self,
        sequences: list[Tokens],
        hooks: list[Hook],
        positions: Slice,
        result: str,
        stop: int,
        bos: bool,
        change: Change | None,
        metric: MadeMetric | None,
    ) -> tuple[Any, dict[str, Floats]]:
        """Runs a pass: the tensor called result at all positions ("": None), and those of hooks."""
        tensors = _Tensors(self._opened, [len(tokens) for tokens in sequences], positions)
        full = _Tensors(self._opened, tensors.lengths, Slice())
        logits = full.logits() if result == "hook_logits" else None
        for hook in hooks:
            if hook.name != "hook_logits" or logits is None:
                tensors.add(hook)
            if metric is not None:
                tensors.add(hook, True)
        if result and logits is None:
            full.add(self.names.hooks[result])
        self._pass(
            sequences,
            change,
            copies=tensors.copies + full.copies,
            logits=None if logits is None else "all",
            logits_out=logits,
            stop_at_layer=stop,
            metric=metric,
            bos=bos,
        )
        arrays = tensors.arrays()
        if logits is None:
            return full.arrays().get(result), arrays
        out = full.finished(self.names.hooks[result], logits)
        if any(hook.name == result for hook in hooks):
            arrays[result] = positions.apply(out, 1)
        return out, arrays


def _check_batch(sequences: list[Tokens], remove_batch_dim: bool) -> None:
    if remove_batch_dim and len(sequences) != 1:
        raise InputError(f"remove_batch_dim needs a batch of one sequence, not of {len(sequences)}")


def _stop(stop_at_layer: int | None, n_layers: int) -> tuple[int, str]:
    """psc_run_options.stop_at_layer, and the name of the residual stream there; "": the end."""
    if stop_at_layer is None:
        return 0, ""
    layer = whole("stop_at_layer", stop_at_layer, -n_layers, n_layers)
    layer += n_layers if layer < 0 else 0
    return (layer, f"blocks.{layer - 1}.hook_resid_post") if layer else (-1, "hook_embed")


class _Tensors:
    """Arrays for the tensors of one pass, and the copies that fill them.

    Sequences of one length fill an array directly; others fill a flat one, which finished() pads.
    """

    def __init__(self, model: OpenModel, lengths: list[int], positions: Slice) -> None:
        """lengths: of the sequences. positions: of the longest one, as the arrays have them."""
        info = model.info
        self.lengths = lengths
        self._extents = {
            "1": 1,
            "N": info.d_model,
            "H": info.n_heads,
            "D": info.d_head,
            "M": info.d_mlp,
            "V": info.d_vocab,
        }
        self._longest = max(lengths)
        self._even = min(lengths) == self._longest
        indices = positions.indices(self._longest)
        self._begin = int(indices.min()) if indices.size else 0
        self._end = int(indices.max()) + 1 if indices.size else 0
        in_order = np.array_equal(indices, np.arange(self._begin, self._end))
        self._indices = None if in_order else indices - self._begin
        self._counts = [min(max(n, self._begin), self._end) - self._begin for n in lengths]
        self._filled: dict[str, tuple[Hook, Floats]] = {}
        self.copies: list[structures.psc_copy] = []

    def add(self, hook: Hook, gradient: bool = False) -> None:
        """Announces a tensor, or its gradient. MemoryError when there is no room for it."""
        if hook.shape == "HK":
            heads = self._extents["H"]
            rows = [heads * n * keys for n, keys in zip(self._counts, self.lengths)]
            shape: tuple[int, ...] = (len(rows), heads, self._counts[0], self._longest)
            size = sum(rows)
        else:
            rest = tuple(self._extents[letter] for letter in hook.shape)
            shape = (len(self._counts), self._counts[0], *rest)
            size = sum(self._counts) * math.prod(rest)
        array = pool.empty(shape if self._even else (size,))
        if gradient:
            hook = hook._replace(name=hook.name + "_grad")
        self._filled[hook.name] = hook, array
        if size:
            self.copies.append(
                structures.psc_copy(
                    point=hook.point,
                    layer=hook.layer,
                    rows=structures.PSC_ROWS_RANGE,
                    row_begin=self._begin,
                    row_end=self._end,
                    out=array.__array_interface__["data"][0],
                    capacity=size,
                    gradient=int(gradient),
                )
            )

    def logits(self) -> Floats:
        """An array for the logits of all rows."""
        return pool.empty((sum(self.lengths), self._extents["V"]))

    def arrays(self) -> dict[str, Floats]:
        """The arrays by name, after the run. It can be called once."""
        found = {}
        for name in list(self._filled):
            hook, array = self._filled.pop(name)  # a flat array goes as soon as it is padded
            found[name] = self.finished(hook, array)
        return found

    def finished(self, hook: Hook, array: Floats) -> Floats:
        """A filled array with its batch axis, padding and chosen positions."""
        if not self._even:
            array = self._padded(hook, array)
        elif array.ndim == 2:
            array = array.reshape(len(self.lengths), self._longest, -1)
        if self._indices is None:
            return array
        return np.take(array, self._indices, axis=position_axis(hook.shape))

    def _padded(self, hook: Hook, flat: Floats) -> Floats:
        flat, first = flat.reshape(-1), 0
        rest = tuple(self._extents[letter] for letter in hook.shape if letter != "K")
        n_rows = self._end - self._begin
        if hook.shape == "HK":
            out = pool.empty((len(self.lengths), *rest, n_rows, self._longest))
            absent = -np.inf if hook.name.endswith("scores") else 0
            for into, n, keys in zip(out, self._counts, self.lengths):
                size = rest[0] * n * keys
                into[:, :n, :keys] = flat[first : first + size].reshape(rest[0], n, keys)
                into[:, :n, keys:] = absent
                into[:, n:] = np.nan
                first += size
            return out
        out = pool.empty((len(self.lengths), n_rows, *rest))
        for into, n in zip(out, self._counts):
            size = n * math.prod(rest)
            into[:n] = flat[first : first + size].reshape(n, *rest)
            into[n:] = np.nan
            first += size
        return out
