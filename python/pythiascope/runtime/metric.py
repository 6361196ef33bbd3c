"""Metrics: a scalar of the logits, whose gradient a run can take."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..checks import whole
from ..errors import InputError
from .tokens import Tokens

__all__ = ["Metric"]


class _Term(NamedTuple):
    """A weight times a function of one row's logits."""

    kind: int
    token: str | int
    pos: int
    batch: int
    weight: float
    logits: npt.NDArray[np.float32] | None = None


class Metric:
    """A weighted sum of terms, each of one row's logits; a scalar in nats.

    Metrics add up, subtract, and take a factor: the difference of two logits is
    Metric.logit(" he") - Metric.logit(" she"), a mean over rows is a sum divided by their number.
    """

    def __init__(self, terms: Sequence[_Term] = (), loss: float = 0.0) -> None:
        """logit, log_prob, kl and loss make metrics."""
        self._terms = tuple(terms)
        self._loss = loss  # the factor of the mean loss

    @classmethod
    def logit(cls, token: str | int, pos: int = -1, batch: int = 0) -> Metric:
        """The logit of a token at a position of a sequence; a negative one counts from the end.

        Args:
            token: An id, or a text of exactly one token.
            pos: The row.
            batch: The sequence's number in the batch.
        """
        return cls([_Term(c.PSC_METRIC_LOGIT, token, pos, batch, 1.0)])

    @classmethod
    def log_prob(cls, token: str | int, pos: int = -1, batch: int = 0) -> Metric:
        """The log-probability of a token; arguments as for logit."""
        return cls([_Term(c.PSC_METRIC_LOG_P, token, pos, batch, 1.0)])

    @classmethod
    def kl(cls, logits: npt.ArrayLike, pos: int = -1, batch: int = 0) -> Metric:
        """The divergence KL(softmax(logits) || softmax of the run's) of another run's logits.

        Args:
            logits: [d_vocab].
            pos: The row of this run.
            batch: The sequence's number in the batch.
        """
        row = np.array(logits, dtype=np.float32)
        if row.ndim != 1:
            raise InputError(f"logits has {row.ndim} axes; pass those of one row, [d_vocab]")
        return cls([_Term(c.PSC_METRIC_KL, 0, pos, batch, 1.0, row)])

    @classmethod
    def loss(cls) -> Metric:
        """The mean cross entropy of the next token over all rows that have one."""
        return cls(loss=1.0)

    def __add__(self, other: Metric) -> Metric:
        if not isinstance(other, Metric):
            return NotImplemented
        return Metric(self._terms + other._terms, self._loss + other._loss)

    def __radd__(self, other: int) -> Metric:
        return self if other == 0 else NotImplemented  # sum() begins with 0

    def __mul__(self, factor: float) -> Metric:
        by = float(factor)
        return Metric([t._replace(weight=t.weight * by) for t in self._terms], self._loss * by)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Metric:
        return self * (1.0 / divisor)

    def __neg__(self) -> Metric:
        return self * -1.0

    def __sub__(self, other: Metric) -> Metric:
        return self + -other

    def __repr__(self) -> str:
        return f"<Metric of {len(self._terms)} terms{' and the loss' if self._loss else ''}>"

    def made(
        self, inputs: Sequence[Tokens], d_vocab: int, token_id: Callable[[str], int]
    ) -> MadeMetric:
        """The library's structure for a run of these sequences.

        Args:
            inputs: The tokens of each sequence.
            d_vocab: Of the model.
            token_id: The id of a text.

        Raises:
            InputError: A term names a row, a sequence or a token that does not exist.
        """
        starts = np.cumsum([0] + [len(tokens.rows) for tokens in inputs])
        terms = [_placed(term, inputs, starts, d_vocab, token_id) for term in self._terms]
        if self._loss:
            terms += _losses(inputs, starts, self._loss)
        if not terms:
            raise InputError("the metric has no terms; make one, such as Metric.loss()")
        return MadeMetric(terms, [term.logits for term in self._terms])


class MadeMetric:
    """A metric of one run: its structure, what that points to, and its value after the run."""

    def __init__(self, terms: list[c.psc_metric_term], kept: list[Any]) -> None:
        self._kept = kept
        self._terms = (c.psc_metric_term * len(terms))(*terms)
        self._value = ctypes.c_double(float("nan"))
        self.structure = c.psc_metric(n_terms=len(terms))
        self.structure.terms = self._terms
        self.structure.value = ctypes.pointer(self._value)

    @property
    def value(self) -> float:
        """The metric; NaN before the run."""
        return self._value.value


def _placed(
    term: _Term,
    inputs: Sequence[Tokens],
    starts: npt.NDArray[np.int64],
    d_vocab: int,
    token_id: Callable[[str], int],
) -> c.psc_metric_term:
    batch = whole("the metric's batch", term.batch, 0, len(inputs) - 1)
    n = len(inputs[batch].rows)
    pos = whole("the metric's pos", term.pos, -n, n - 1)
    made = c.psc_metric_term(kind=term.kind, row=int(starts[batch]) + pos % n, weight=term.weight)
    if term.logits is not None:
        if len(term.logits) != d_vocab:
            raise InputError(f"the metric's logits are {len(term.logits)}, not {d_vocab}")
        made.logits = term.logits.ctypes.data
    else:
        token = token_id(term.token) if isinstance(term.token, str) else term.token
        made.token = whole("the metric's token", token, 0, d_vocab - 1)
    return made


def _losses(
    inputs: Sequence[Tokens], starts: npt.NDArray[np.int64], factor: float
) -> list[c.psc_metric_term]:
    count = sum(len(tokens.rows) - 1 for tokens in inputs)
    if count < 1:
        raise InputError("a loss needs a sequence of at least two tokens")
    return [
        c.psc_metric_term(
            kind=c.PSC_METRIC_LOG_P, row=int(start) + at, token=int(token), weight=-factor / count
        )
        for start, tokens in zip(starts, inputs)
        for at, token in enumerate(tokens.rows["id"][1:])
    ]
