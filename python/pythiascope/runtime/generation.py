"""Generation: draws tokens one by one, as the program's generate does, to the same draws.

prompt -> run -> logits of the last row -> draw -> run of that token -> ...
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from .._c import structures as c
from .._c.library import call, library
from ..checks import whole
from ..errors import InputError
from .base import Change, ModelBase, Steps
from .drawing import DrawnToken, GrowingText, Strategy
from .text import TextMethods
from .tokens import Input, Tokens, bytes_of, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..instruments.interventions import Interventions
    from ..results.results import Result
    from .session import Session

__all__ = ["DrawnToken", "Generation", "Strategy"]


class _Sequence:
    """One prompt and what was drawn after it."""

    def __init__(self, number: int, prompt: Tokens, most: int, strategy: Strategy) -> None:
        self.number = number
        self.left = most  # tokens that may still be drawn
        self.next = prompt  # to be run
        self.whole = prompt.text  # with what was drawn; None for ids
        self.sampler = strategy.sampler()
        self.text = GrowingText(strategy.stop)


def steps_of(
    model: ModelBase,
    prompts: Sequence[Tokens],
    most: int,
    strategy: Strategy,
    change: Change | None = None,
    load: Callable[[Session], None] | None = None,
) -> Iterator[DrawnToken]:
    """Draws up to `most` tokens after each prompt, all prompts in step.

    A step with id -1 ends a sequence and holds the rest of its text. Every sequence has the draws
    that it would have alone. change: interventions, under which all rows are computed. load: loads
    plugins, whose results the steps then have.
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
        if load is not None:
            load(session)
        while live:
            runnable = [s for s in live if s.left > 0]
            drawn = _draw(steps, runnable) if runnable else {}
            result = _result(session) if load is not None and runnable else None
            for s in list(live):
                token = drawn.get(s.number)
                step, ended = _step(model, s, token[0] if token else -1, strategy)
                if token and step.id >= 0:
                    step = step._replace(rank=token[1], p=token[2], logit=token[3], result=result)
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
            text=sequences[0].whole if len(sequences) == 1 else None,
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


def _result(session: Session) -> Result:
    """What the plugins found in the last run."""
    from ..results.results import Result

    return Result(session.take_results())


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
    if s.whole is not None:
        s.next.rows["start"] = len(s.whole)
        s.whole += raw or b""
        s.next.rows["end"] = len(s.whole)
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
        plugins: Any = (),
        target: Any = None,
        contrast: Any = None,
    ) -> Iterator[DrawnToken]:
        """As generate, as an iterator over Steps, one per token; batches, too.

        A step with id -1 ends its sequence and holds the rest of its text. The model is free for
        other calls between two steps.

        plugins, target and contrast are those of run: each step then has the plugins' result. They
        see the prompts' rows first, then one row per sequence; some need a whole text in one run,
        and fail at the second step.
        """
        from ..instruments.growing import growing

        strategy = Strategy.of(temperature, top_k, top_p, min_p, seed, stop_at_eos, stop)
        most = whole("max_new_tokens", max_new_tokens, 0, (1 << 31) - 1)
        prompts, _ = self._sequences(input, prepend_bos)
        change = self._change(interventions, source, prepend_bos)
        prompts, load = growing(self._opened, prompts, plugins, target, contrast)
        return steps_of(self, prompts, most, strategy, change, load)

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
