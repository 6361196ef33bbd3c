"""Facts beside the arrays: what targets stand for, and the time of the work."""

from __future__ import annotations

from typing import NamedTuple

from .._c import structures as c
from ..errors import StateError
from .sections import Reader, text_of


class TargetToken(NamedTuple):
    """A token that a target names, as the model's logits at the row have it.

    id is the token, text its text (None without one), rank 1 for the most probable token, p the
    model's probability from 0 to 1, logit the logit.
    """

    id: int
    text: str | None
    rank: int
    p: float
    logit: float


class ResolvedTarget(NamedTuple):
    """A target at one row, with the token behind "top:1" or "next".

    row is an index of Result.tokens. minus is the second token of a contrast, None without.
    """

    name: str
    row: int
    token: TargetToken
    minus: TargetToken | None


class Time(NamedTuple):
    """What `--time` measured: seconds, tokens per second (NaN without tokens), bytes."""

    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else text_of(raw)


def read_targets(reader: Reader) -> list[ResolvedTarget]:
    """The targets of the results, in their order."""
    out: list[ResolvedTarget] = []
    t = c.psc_result_target()
    for i in range(reader.count("psc_results_target_count")):
        reader.get("psc_results_target_at", t, i)
        token = TargetToken(t.id, _text(t.text), t.rank, t.p, t.logit)
        minus = None
        if t.minus_id >= 0:
            minus = TargetToken(
                t.minus_id, _text(t.minus_text), t.minus_rank, t.minus_p, t.minus_logit
            )
        out.append(ResolvedTarget(text_of(t.name), t.row, token, minus))
    return out


def read_time(reader: Reader) -> Time | None:
    """What --time measured; None without."""
    time = c.psc_result_time()
    try:
        reader.get("psc_results_get_time", time)
    except StateError:
        return None
    return Time(time.seconds, time.tokens_per_second, time.peak_memory_bytes)
