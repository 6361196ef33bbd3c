"""Scores: the log-likelihood of continuations, as the program's score has them, to the bit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..errors import InputError
from . import tokens as tk
from .base import ModelBase
from .session import Session
from .tokens import Ids, Tokens

__all__ = ["Score", "scores_of"]

_SEQUENCES = 64  # continuations per pass
_MOST_CACHE = 1 << 30  # bytes of keys and values, unless one sequence has more
_SPACE = b" \t\n\r\v\f"

Text = Union[str, Sequence[int], npt.NDArray[Any]]


class Score(NamedTuple):
    """What a model says of one continuation.

    Attributes:
        sum: ln p of the continuation after its prefix, in nats: the sum of log_p.
        log_p: f64 [n], ln p of each token.
        ids: int64 [n], the tokens.
        n_greedy: How many of them have the largest logit; of equal ones only the lowest id.
        bytes: UTF-8 bytes of the continuation as given; 0 for ids.
    """

    sum: float
    log_p: npt.NDArray[np.float64]
    ids: Ids
    n_greedy: int
    bytes: int

    @property
    def is_greedy(self) -> bool:
        """Whether greedy generation after the prefix would give this continuation."""
        return self.n_greedy == len(self.ids)


def scores_of(
    model: ModelBase,
    requests: Iterable[tuple[Text, Text]],
    prepend_bos: bool,
    load: Sequence[Callable[[Session], None]] = (),
) -> list[Score]:
    """The score of each (prefix, continuation); load: what loads each editor into a session."""
    try:
        given = enumerate(requests)
    except TypeError:
        raise InputError("requests is not a list of pairs (prefix, continuation)") from None
    split = [_split(model, i, request, prepend_bos) for i, request in given]
    if not split:
        return []
    return _run(model, split, load)


def _split(model: ModelBase, i: int, request: Any, bos: bool) -> tuple[Tokens, int, int]:
    """The tokens of both together, the first of the continuation, and its bytes."""
    try:
        prefix, continuation = request
        if isinstance(request, str):  # of two characters
            raise TypeError
    except (TypeError, ValueError):
        raise InputError(f"request {i} is not a pair (prefix, continuation)") from None
    if isinstance(prefix, str) and isinstance(continuation, str):
        tokens, begin = _split_text(model, i, prefix, continuation, bos)
        return tokens, begin, len(tk.utf8(continuation))
    first, ids = _ids(i, prefix), _ids(i, continuation)
    if not ids:
        raise InputError(f"the continuation of request {i} is empty")
    if bos or not first:
        first = [_bos(model, i), *first]
    (tokens,), _ = model._sequences([*first, *ids])
    return tokens, len(first), 0


def _ids(i: int, given: Any) -> list[int]:
    try:
        ids = np.asarray(given)
    except ValueError:
        ids = np.zeros((), object)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu") or -1 in ids:
        raise InputError(f"request {i} needs two texts or two lists of whole-number ids")
    return [int(one) for one in ids]


def _split_text(
    model: ModelBase, i: int, prefix: str, continuation: str, bos: bool
) -> tuple[Tokens, int]:
    if not continuation:
        raise InputError(f"the continuation of request {i} is empty")
    end = len(tk.utf8(prefix).rstrip(_SPACE))
    tokens = tk.encode(model._opened, prefix + continuation, bos)
    begin = int(np.searchsorted(tokens.rows["end"], end, side="right"))
    if begin == 0 and not bos:
        _bos(model, i)
        return _split_text(model, i, prefix, continuation, True)
    return tokens, begin


def _bos(model: ModelBase, i: int) -> int:
    if model._opened.bos < 0:
        raise InputError(
            f"nothing precedes the continuation of request {i}, and the model has no "
            "beginning-of-text token; pass a prefix"
        )
    return model._opened.bos


def _run(
    model: ModelBase,
    split: list[tuple[Tokens, int, int]],
    load: Sequence[Callable[[Session], None]],
) -> list[Score]:
    n_ctx, longest = model.cfg.n_ctx, max(len(tokens) for tokens, _, _ in split)
    for i, (tokens, _, _) in enumerate(split):
        if len(tokens) > n_ctx + 1:
            raise InputError(
                f"request {i} has {len(tokens)} tokens, but the model's context takes {n_ctx} and "
                "one to predict"
            )
    array = (c.psc_score_request * len(split))()
    for one, (tokens, begin, _) in zip(array, split):
        one.tokens = ctypes.cast(tokens.rows.ctypes.data, ctypes.POINTER(c.psc_token))
        one.n, one.begin = len(tokens), begin
    out = (c.psc_score * len(split))()
    log_p = np.empty(sum(len(tokens) - begin for tokens, begin, _ in split))
    capacity = min(-(-(longest - 1) // 64) * 64, n_ctx)
    each = 8 * model.cfg.n_layers * model.cfg.d_model * capacity
    n = max(1, min(_SEQUENCES, len(split), _MOST_CACHE // each))
    with model._turn.hold(), ExitStack() as exits:
        if load:
            session = model._new_session(n_sequences=n, capacity=capacity, accumulate=True)
            exits.callback(session.close)
        else:
            session = model._session(n, capacity)
        for one_load in load:
            one_load(session)
        session.score(out, array, log_p)
    scores, at = [], 0
    for one, (tokens, begin, size) in zip(out, split):
        own = log_p[at : at + one.n]
        scores.append(Score(one.sum, own, tokens.ids[begin:], one.n_greedy, size))
        at += one.n
    return scores
