"""What generation draws and how: tokens, the strategy, the text that grows."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._c import structures as c
from ..checks import whole
from ..errors import InputError

if TYPE_CHECKING:
    from ..results.results import Result


class DrawnToken(NamedTuple):
    """One drawn token.

    Attributes:
        sequence: The number of the prompt.
        id: The token.
        text: The characters that became certain with it; their concatenation is the text.
        rank: Among the model's logits before it; 1 is the most probable. 0 for the id -1.
        p: The model's probability, before temperature and filters; NaN for the id -1.
        logit: The model's logit; NaN for the id -1.
        result: With plugins: what they found in the run from which the token was drawn, of the
            prompts at first, then of one token per sequence. All sequences share it.
    """

    sequence: int
    id: int
    text: str
    rank: int = 0
    p: float = float("nan")
    logit: float = float("nan")
    result: Result | None = None


class Strategy(NamedTuple):
    """How tokens are drawn and when to stop; see Model.generate."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    stop_at_eos: bool
    stop: tuple[str, ...]

    @classmethod
    def of(
        cls,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        min_p: float | None,
        seed: int,
        stop_at_eos: bool,
        stop: str | Iterable[str],
    ) -> Strategy:
        """Checks what a user gives; None: off.

        Raises:
            InputError: A value is out of its range.
        """
        if temperature is None:
            given = any(value is not None for value in (top_k, top_p, min_p))
            temperature = 1.0 if given else 0.0
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        for what, value in (("temperature", temperature), ("top_p", top_p), ("min_p", min_p)):
            if value is not None and not isinstance(value, (int, float, np.number)):
                raise InputError(f"{what} is {value!r}; pass a number")
        wrong = None
        if not 0 <= temperature < float("inf"):
            wrong = f"temperature is {temperature}; pass a finite number of at least 0"
        elif top_p is not None and not 0 < top_p <= 1:
            wrong = f"top_p is {top_p}; pass a number above 0 and at most 1"
        elif min_p is not None and not 0 <= min_p <= 1:
            wrong = f"min_p is {min_p}; pass a number from 0 to 1"
        elif not all(isinstance(one, str) for one in stops):
            wrong = f"stop is {stop!r}; pass a text or a list of texts"
        elif not all(stops):
            wrong = "stop has an empty text; leave it out"
        if wrong:
            raise InputError(wrong)
        seed = whole("seed", seed, 0, (1 << 63) - 1)
        top_k = 0 if top_k is None else whole("top_k", top_k, 1, (1 << 31) - 1)
        return cls(float(temperature), top_k, top_p or 0.0, min_p or 0.0, seed, stop_at_eos, stops)

    def sampler(self) -> c.psc_sampler:
        """A sampler at the beginning of its draws."""
        sampler = c.psc_sampler(seed=self.seed)
        sampler.strategy.temperature = self.temperature
        sampler.strategy.top_k = self.top_k
        sampler.strategy.top_p = self.top_p
        sampler.strategy.min_p = self.min_p
        return sampler


class GrowingText:
    """The growing text of one sequence: whole characters, up to a stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""  # may be the beginning of a stop text

    def put(self, raw: bytes, final: bool = False) -> tuple[str, bool]:
        """The characters that became certain, and whether a stop text came."""
        self._held += self._decoder.decode(raw, final)
        found = [self._held.find(stop) for stop in self._stops]
        ends = [at for at in found if at >= 0]
        if ends:
            return self._held[: min(ends)], True
        keep = 0 if final else self._to_keep()
        certain = self._held[: len(self._held) - keep]
        self._held = self._held[len(certain) :]
        return certain, False

    def _to_keep(self) -> int:
        """The length of the longest end that begins a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for n in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stops):
                return n
        return 0
