"""Model: the class that users meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from ._c import structures as c
from ._c.memory import pool
from .checks import whole, yes_or_no
from .corpora.corpus import Corpora
from .errors import InputError, StateError
from .hooks.cache import Caching
from .instruments.instruments import Instruments
from .runtime.generation import Generation
from .runtime.loss import losses_of
from .runtime.scoring import Score, Text, scores_of
from .runtime.tokens import Input, Tokens
from .runtime.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .instruments.interventions import Interventions
    from .runtime.base import Change

__all__ = ["Model"]

Array = npt.NDArray[np.float32]
Losses = npt.NDArray[np.float64]


class Model(Generation, Caching, Weights, Instruments, Corpora):
    """A GPT-NeoX (Pythia) model.

    Args:
        folder: A Hugging Face folder, or a name in the Hugging Face cache on this machine, such as
            "EleutherAI/pythia-160m" or "EleutherAI/pythia-160m@step3000"; None: the embedded model.
        threads: 1 to 1024; 0: one per core. Results do not depend on it.
        isa: "reference", "avx2", "avx512", "neon"; None: the best available. Results do not depend
            on it.
        chunk: Most rows per pass; 0: the library's choice. Results do not depend on it.
        cache: Keep packed weights in the program's cache folder, and map them from there.
        check_plugins: A plugin or hook that writes to a tensor that it only observes is a
            PluginError that names it. For a plugin's author: it costs time.
        retained_cap: Most bytes that plugins, gradients and captures may keep in a run; 0: 2 GiB.
            More than that is OutOfMemory.

    Raises:
        InputError: The folder is not a model, or an option is out of range.
        IOFailure: A file cannot be read, or no model has this name on this machine.
        Unsupported: The architecture or the isa is not supported.
    """

    @overload
    def __call__(
        self,
        input: Input,
        return_type: Literal["logits"] = ...,
        *,
        loss_per_token: bool = ...,
        prepend_bos: bool = ...,
        stop_at_layer: int | None = ...,
        logits: str = ...,
        interventions: Interventions = ...,
        source: Any = ...,
    ) -> Array: ...

    @overload
    def __call__(
        self,
        input: Input,
        return_type: Literal["loss"],
        *,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
    ) -> float: ...

    @overload
    def __call__(
        self,
        input: Input,
        return_type: str | None,
        *,
        loss_per_token: bool = ...,
        prepend_bos: bool = ...,
        stop_at_layer: int | None = ...,
        logits: str = ...,
        interventions: Interventions = ...,
        source: Any = ...,
    ) -> Any: ...

    def __call__(
        self,
        input: Input,
        return_type: str | None = "logits",
        *,
        loss_per_token: bool = False,
        prepend_bos: bool = False,
        stop_at_layer: int | None = None,
        logits: str = "all",
        interventions: Interventions = (),
        source: Any = (),
    ) -> Any:
        """Runs the model.

        Args:
            input: A text, ids [pos] or [batch, pos], or a list of texts or of ids. A list is a
                batch: one run of several sequences.
            return_type: "logits"; "loss", the mean cross entropy of the next token in nats;
                "both"; or None: a pass for the hooks, without logits.
            loss_per_token: Return the loss of each row, not its mean.
            prepend_bos: Put the beginning-of-text token in front of each sequence.
            stop_at_layer: Compute only the layers before it, and return the residual stream there
                instead of logits.
            logits: Those of "all" rows, or of the "last" row of each sequence.
            interventions: Changes of the run, such as ablate("L0H3").
            source: Source prompts, numbered from 1, for interventions.

        Returns:
            Logits, f32 [batch, pos, d_vocab], with NaN on the right of shorter sequences; with
            logits="last" [batch, 1, d_vocab]. Losses: a float, or f64 [batch, pos - 1]. "both": a
            pair. A residual stream: f32 [batch, pos, d_model].

        Raises:
            InputError: The input has no tokens, too many, or ids outside the vocabulary.
        """
        if return_type not in ("logits", "loss", "both", None):
            raise InputError(f'return_type is {return_type!r}; pass "logits", "loss", "both", None')
        if logits not in ("all", "last") or (logits == "last" and return_type in ("loss", "both")):
            raise InputError(f'logits is {logits!r}; pass "all", or "last" without a loss')
        sequences, _ = self._sequences(input, prepend_bos)
        change = self._change(interventions, source, prepend_bos)
        if stop_at_layer is not None:
            return self._residual(sequences, stop_at_layer, prepend_bos, change)
        if return_type is None:
            self._pass(sequences, change, bos=prepend_bos)
            return None
        out = self._logits(sequences, logits, prepend_bos, change)
        if return_type == "logits":
            return out
        losses = losses_of(out, sequences)
        loss = losses if loss_per_token else float(np.nanmean(losses))
        return loss if return_type == "loss" else (out, loss)

    def score(
        self,
        requests: Iterable[tuple[Text, Text]],
        *,
        prepend_bos: bool = False,
        interventions: Interventions = (),
    ) -> list[Score]:
        """The log-likelihood of continuations.

        Prefix and continuation are tokenized as one text. White space at the prefix's end belongs
        to the continuation, as does a token that begins in one and ends in the other. Requests that
        begin alike are computed together; a score depends on its request alone.

        Args:
            requests: Pairs (prefix, continuation): two texts, or two lists of ids.
            prepend_bos: Put the beginning-of-text token in front of each; without it only where
                nothing precedes a continuation.
            interventions: Changes of the model for all requests, such as ablate("L0H3"); their
                values come from files, as over a corpus.

        Returns:
            A Score per request.

        Raises:
            InputError: A request is no pair, a continuation is empty, a request is longer than the
                context, an id is outside the vocabulary, or an intervention needs another prompt.
            StateError: The model has hooks, which would see shared beginnings once.
        """
        if self._entries or self._extra:
            raise StateError("score takes no hooks; remove them by reset_hooks")
        from .corpora.states import as_edits

        load = [edit.load for edit in as_edits(interventions, "score")]
        return scores_of(self, requests, yes_or_no("prepend_bos", prepend_bos), load)

    def _logits(
        self, sequences: list[Tokens], rows: str, bos: bool, change: Change | None
    ) -> Array:
        lengths = [len(s) if rows == "all" else 1 for s in sequences]
        out = pool.empty((sum(lengths), self.cfg.d_vocab))
        self._pass(sequences, change, logits=rows, logits_out=out, bos=bos)
        return in_batch(out, lengths)

    def _residual(
        self, sequences: list[Tokens], layer: int, bos: bool, change: Change | None
    ) -> Array:
        """The residual stream in front of a layer; negative: counted from the last."""
        n_layers = self.cfg.n_layers
        layer = whole("stop_at_layer", layer, -n_layers, n_layers)
        layer += n_layers if layer < 0 else 0
        lengths = [len(s) for s in sequences]
        out = pool.empty((sum(lengths), self.cfg.d_model))
        copy = c.psc_copy(
            point=c.PSC_HOOK_RESID_POST if layer else c.PSC_HOOK_EMBED,
            layer=layer - 1,
            out=out.ctypes.data,
            capacity=out.size,
        )
        self._pass(sequences, change, copies=[copy], stop_at_layer=layer or -1, bos=bos)
        return in_batch(out, lengths)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.cfg.n_layers} layers of {self.cfg.d_model}"
        return f"<pythiascope.Model {self.cfg.model_name}: {state}>"


def in_batch(rows: Array, lengths: list[int]) -> Array:
    """Rows of sequences, one after the other, as [batch, longest, ...]; NaN where there is none.

    Args:
        rows: [sum of lengths, ...]; when all lengths are equal the result is a view of it.
        lengths: Of the sequences.
    """
    if len(set(lengths)) == 1:
        return rows.reshape(len(lengths), lengths[0], *rows.shape[1:])
    out = pool.empty((len(lengths), max(lengths), *rows.shape[1:]))
    begin = 0
    for into, n in zip(out, lengths):
        into[:n] = rows[begin : begin + n]
        into[n:] = np.nan
        begin += n
    return out
