"""Generation: draws tokens one by one, as the program's generate does, to the same draws.

prompt -> run -> logits of the last row -> draw -> run of that token -> ...
"""

from __future__ import annotations

import codecs
import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from .._c import structures as c
from .._c.library import call, library
from ..checks import whole
from ..errors import InputError
from .base import Change, ModelBase, Steps
from .text import TextMethods
from .tokens import Input, Tokens, bytes_of, padded

if TYPE_CHECKING:
    from ..instruments.interventions import Interventions

__all__ = ["DrawnToken", "Generation", "Strategy"]


class DrawnToken(NamedTuple):
    """One drawn token.

    Attributes:
        sequence: The number of the prompt.
        id: The token.
        text: The characters that became certain with it; their concatenation is the text.
        rank: Among the model's logits before it; 1 is the most probable. 0 for the id -1.
        p: The model's probability, before temperature and filters; NaN for the id -1.
        logit: The model's logit; NaN for the id -1.
    """

    sequence: int
    id: int
    text: str
    rank: int = 0
    p: float = float("nan")
    logit: float = float("nan")


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


class _Text:
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


class _Sequence:
    """One prompt and what was drawn after it."""

    def __init__(self, number: int, prompt: Tokens, most: int, strategy: Strategy) -> None:
        self.number = number
        self.left = most  # tokens that may still be drawn
        self.next = prompt  # to be run
        self.sampler = strategy.sampler()
        self.text = _Text(strategy.stop)


def steps_of(
    model: ModelBase,
    prompts: Sequence[Tokens],
    most: int,
    strategy: Strategy,
    change: Change | None = None,
) -> Iterator[DrawnToken]:
    """Draws up to `most` tokens after each prompt, all prompts in step.

    A step with id -1 ends a sequence and holds the rest of its text. Every sequence has the draws
    that it would have alone. change: interventions, under which all rows are computed.
    """
    n_ctx = model.cfg.n_ctx
    longest = max(len(prompt) for prompt in prompts)
    if longest > n_ctx:
        raise InputError(
            f"the prompt has {longest} tokens, more than the model's context of {n_ctx}"
        )
    rooms = [min(most, n_ctx - len(prompt) + 1) for prompt in prompts]  # the last is not run
    capacity = max(len(p) + room for p, room in zip(prompts, rooms))
    live = [
        _Sequence(i, prompt, room, strategy) for i, (prompt, room) in enumerate(zip(prompts, rooms))
    ]
    capacity = min(max(capacity, change.longest if change else 0), n_ctx)
    steps = model._steps(len(prompts), capacity, sum(map(len, prompts)))
    session = steps.session
    try:
        if change is not None:
            change.load(session)
            change.run_before(session, prompts, None)
            session.clear()
        while live:
            runnable = [s for s in live if s.left > 0]
            drawn = _draw(steps, runnable) if runnable else {}
            for s in list(live):
                token = drawn.get(s.number)
                step, ended = _step(model, s, token[0] if token else -1, strategy)
                if token and step.id >= 0:
                    step = step._replace(rank=token[1], p=token[2], logit=token[3])
                yield step
                if ended:
                    live.remove(s)
    finally:
        session.close()


def _draw(steps: Steps, sequences: Sequence[_Sequence]) -> dict[int, tuple[int, int, float, float]]:
    """Runs what is new of each sequence and draws a token from the logits of its last row.

    Returns id, rank, p and logit by the sequence's number.
    """
    session = steps.session
    with session.turn.hold():
        steps.run(
            [s.next for s in sequences],
            sequences=[s.number for s in sequences],
            append=True,
            logits="last",
            bos=sequences[0].next.bos,
        )
        out = {}
        fact = c.psc_generated_token()
        row = -1
        for s in sequences:
            row += len(s.next)
            token = ctypes.c_int32()
            logits = library().psc_session_logits(session.pointer, row)
            call(
                "psc_session_sample",
                ctypes.byref(token),
                session.pointer,
                ctypes.byref(s.sampler),
                logits,
            )
            where = ctypes.byref(fact), session.pointer, row, token.value
            call("psc_session_token", *where)
            out[s.number] = token.value, fact.rank, fact.p, fact.logit
        return out


def _step(
    model: ModelBase, s: _Sequence, token: int, strategy: Strategy
) -> tuple[DrawnToken, bool]:
    """The step of a drawn token, and whether the sequence ends with it; -1: it has ended."""
    opened = model._opened
    if token == -1 or (strategy.stop_at_eos and opened.ends(token)):
        return DrawnToken(s.number, -1, s.text.put(b"", final=True)[0]), True
    raw = bytes_of(opened, token)
    text, stopped = s.text.put(f"#{token} ".encode() if raw is None else raw)
    s.left -= 1
    s.next = Tokens.of_ids([token])
    return DrawnToken(s.number, token, text), stopped


class Generation(TextMethods):
    """Generation with all strategies, at once or as a stream."""

    @overload
    def generate(
        self,
        input: Input,
        max_new_tokens: int = ...,
        *,
        do_sample: bool | None = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        seed: int = ...,
        stop_at_eos: bool = ...,
        stop: str | Sequence[str] = ...,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
        with_prompt: bool = ...,
        stream: Literal[True],
    ) -> Iterator[str]: ...

    @overload
    def generate(
        self,
        input: str,
        max_new_tokens: int = ...,
        *,
        do_sample: bool | None = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        seed: int = ...,
        stop_at_eos: bool = ...,
        stop: str | Sequence[str] = ...,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
        with_prompt: bool = ...,
        stream: Literal[False] = ...,
    ) -> str: ...

    @overload
    def generate(
        self,
        input: Input,
        max_new_tokens: int = ...,
        *,
        do_sample: bool | None = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        seed: int = ...,
        stop_at_eos: bool = ...,
        stop: str | Sequence[str] = ...,
        prepend_bos: bool = ...,
        interventions: Interventions = ...,
        source: Any = ...,
        with_prompt: bool = ...,
        stream: Literal[False] = ...,
    ) -> Any: ...

    def generate(
        self,
        input: Input,
        max_new_tokens: int = 64,
        *,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        stop_at_eos: bool = True,
        stop: str | Sequence[str] = (),
        prepend_bos: bool = False,
        interventions: Interventions = (),
        source: Any = (),
        with_prompt: bool = True,
        stream: bool = False,
    ) -> Any:
        """Continues a text, or each text of a batch, token by token.

        The draws are those of the program's generate: the same seed gives the same text. A prompt
        in a batch gets the text that it gets alone. Hooks of add_hook and model.hooks take part:
        first with all positions of the prompts, then with one position per sequence that goes on.

        Args:
            input: A text, ids [pos] or [batch, pos], or a list of texts or of ids.
            max_new_tokens: Most tokens to add; fewer when the context is full.
            do_sample: False: the most likely token, whatever temperature says. True: draw, at
                temperature 1 without another. None: as temperature says.
            temperature: 0 always takes the most likely token. None: 0, or 1 with top_k, top_p or
                min_p.
            top_k: Draw from the top_k most likely tokens.
            top_p: Then from the smallest set with this probability mass.
            min_p: Then from tokens with at least min_p times the top probability.
            seed: Of the draws.
            stop_at_eos: End with the eos_token_id of generation_config.json, or else of
                config.json, as transformers does. It is not part of the text.
            stop: A text or texts that end a sequence; they are not part of its text.
            prepend_bos: Put the beginning-of-text token in front of each prompt.
            interventions: Changes of every run, such as ablate("L0H3"). Means and source values
                are those of the prompt.
            source: Source prompts, numbered from 1, for interventions.
            with_prompt: Put the prompt in front of what is returned, as TransformerLens does. A
                stream never has it.
            stream: Return an iterator over pieces of the new text, of one prompt; each piece is
                whole characters.

        Returns:
            For a text a text, for a list of texts a list; for ids int64 [pos] or [batch, pos], with
            -1 on the right of shorter sequences.

        Raises:
            InputError: An option is out of range, or a prompt is longer than the context.
        """
        if do_sample is not None:
            temperature = (1.0 if temperature is None else temperature) if do_sample else 0.0
        strategy = Strategy.of(temperature, top_k, top_p, min_p, seed, stop_at_eos, stop)
        most = whole("max_new_tokens", max_new_tokens, 0, (1 << 31) - 1)
        prompts, batch = self._sequences(input, prepend_bos)
        change = self._change(interventions, source, prepend_bos)
        if stream:
            if len(prompts) != 1:
                raise InputError("a stream has one prompt; use generate_steps for a batch")
            return (
                step.text for step in steps_of(self, prompts, most, strategy, change) if step.text
            )
        steps = steps_of(self, prompts, most, strategy, change)
        if all(prompt.text is not None for prompt in prompts):
            texts = self._texts(prompts, steps, with_prompt)
            return texts if batch else texts[0]
        ids = _ids(prompts, steps, with_prompt)
        return ids if batch else ids[0]

    def generate_steps(
        self,
        input: Input,
        max_new_tokens: int = 64,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        stop_at_eos: bool = True,
        stop: str | Sequence[str] = (),
        prepend_bos: bool = False,
        interventions: Interventions = (),
        source: Any = (),
    ) -> Iterator[DrawnToken]:
        """As generate, as an iterator over Steps, one per token; batches, too.

        A step with id -1 ends its sequence and holds the rest of its text. The model is free for
        other calls between two steps.
        """
        strategy = Strategy.of(temperature, top_k, top_p, min_p, seed, stop_at_eos, stop)
        most = whole("max_new_tokens", max_new_tokens, 0, (1 << 31) - 1)
        prompts, _ = self._sequences(input, prepend_bos)
        change = self._change(interventions, source, prepend_bos)
        return steps_of(self, prompts, most, strategy, change)

    def _texts(
        self, prompts: Sequence[Tokens], steps: Iterable[DrawnToken], with_prompt: bool
    ) -> list[str]:
        heads = [(p.text or b"").decode() if with_prompt else "" for p in prompts]
        texts = [[head] for head in heads]
        for step in steps:
            texts[step.sequence].append(step.text)
        return ["".join(parts) for parts in texts]


def _ids(prompts: Sequence[Tokens], steps: Iterable[DrawnToken], with_prompt: bool) -> Any:
    rows = [list(prompt.rows["id"]) if with_prompt else [] for prompt in prompts]
    for step in steps:
        if step.id >= 0:
            rows[step.sequence].append(step.id)
    return padded([Tokens.of_ids(np.array(row, np.int64)) for row in rows])
