"""Hooks of a model: add_hook, reset_hooks, hooks(), run_with_hooks."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ..errors import InputError
from ..runtime.base import ModelBase, Steps
from ..runtime.metric import MadeMetric, Metric
from .calls import Entry, HookedSession, HookFunction, HookPoint, takes_keyword
from .names import Names

if TYPE_CHECKING:
    from ..runtime.base import Change
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session
    from ..runtime.tokens import Input, Tokens

FwdHooks = Sequence["tuple[str | Callable[[str], bool], HookFunction]"]


class Hooks(ModelBase):
    """Hooks of a model. Model inherits it."""

    _entries: tuple[Entry, ...]
    _extra: tuple[Entry, ...]  # of the run_with_hooks that holds the turn
    _entries_lock: threading.RLock
    _hooked: HookedSession | None
    _metric: Metric | None = None  # of the run_with_hooks that holds the turn

    def _start(self, opened: OpenModel, how: dict[str, Any]) -> None:
        self._entries, self._extra = (), ()
        self._entries_lock = threading.RLock()
        self._hooked = None
        super()._start(opened, how)

    def close(self) -> None:
        """Closes the model; during a run, when the run is over.

        Arrays, caches and results stay valid. Other Models of session() stay open.
        """
        super().close()
        hooked, self._hooked = self._hooked, None
        if hooked is not None:
            hooked.session.close()

    @functools.cached_property
    def names(self) -> Names:
        """The names of this model's hooks."""
        return Names(self.cfg.n_layers, self.cfg.parallel_attn_mlp)

    @functools.cached_property
    def hook_dict(self) -> Mapping[str, HookPoint]:
        """The model's hook points by name, in the order of a pass."""
        return {name: HookPoint(name) for name in self.names.hooks}

    def hook_points(self) -> list[HookPoint]:
        """The model's hook points, in the order of a pass."""
        return list(self.hook_dict.values())

    def add_hook(
        self,
        name: str | Callable[[str], bool],
        hook: HookFunction,
        dir: str = "fwd",
        is_permanent: bool = False,
        level: object = None,
        prepend: bool = False,
    ) -> None:
        """Adds a function to hooks for all later passes, until reset_hooks.

        Args:
            name: A hook, under any of its names, or a function that chooses names.
            hook: fn(array, hook); see run_with_hooks.
            dir: "fwd", or "bwd" for the gradient there, in passes with a metric.
            is_permanent: Stays until reset_hooks(including_permanent=True).
            level: Any value, by which reset_hooks(level=...) finds the hook again.
            prepend: Runs before the functions that are there already.

        Raises:
            InputError: The name is unknown, or hook cannot be called. Near names are listed.
        """
        if dir not in ("fwd", "bwd"):
            raise InputError(f"dir is 'fwd' or 'bwd', not {dir!r}")
        entries = self._made([(name, hook)], is_permanent, level, dir == "bwd")
        with self._entries_lock:
            self._entries = entries + self._entries if prepend else self._entries + entries

    def add_perma_hook(
        self, name: str | Callable[[str], bool], hook: HookFunction, dir: str = "fwd"
    ) -> None:
        """add_hook with is_permanent=True."""
        self.add_hook(name, hook, dir, is_permanent=True)

    def reset_hooks(
        self,
        clear_contexts: bool = True,
        direction: str = "both",
        including_permanent: bool = False,
        level: object = None,
    ) -> None:
        """Removes the hooks of add_hook and of open model.hooks contexts.

        Args:
            clear_contexts: Also empties every HookPoint's ctx.
            direction: "fwd", "bwd" (those of gradients) or "both".
            including_permanent: Removes permanent hooks, too.
            level: Only those that were added with this level; None: all.
        """
        if direction not in ("fwd", "bwd", "both"):
            raise InputError(f"direction is 'fwd', 'bwd' or 'both', not {direction!r}")
        if clear_contexts:
            self.clear_contexts()
        with self._entries_lock:
            self._entries = tuple(
                entry
                for entry in self._entries
                if (entry.permanent and not including_permanent)
                or (level is not None and entry.level != level)
                or direction == ("fwd" if entry.gradient else "bwd")
            )

    def clear_contexts(self) -> None:
        """Gives every hook point a new, empty ctx."""
        for point in self.hook_dict.values():
            point.clear_context()

    @contextmanager
    def hooks(
        self,
        fwd_hooks: FwdHooks = (),
        bwd_hooks: FwdHooks = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[Any]:
        """Functions for the passes inside a with statement, also those of other threads.

        The arguments are those of run_with_hooks.
        """
        level = object()
        entries = self._made(fwd_hooks, False, level) + self._made(bwd_hooks, False, level, True)
        with self._entries_lock:
            self._entries += entries
        try:
            yield self
        finally:
            if reset_hooks_end:
                self.reset_hooks(clear_contexts, level=level)

    def run_with_hooks(
        self,
        input: Input,
        *,
        fwd_hooks: FwdHooks = (),
        bwd_hooks: FwdHooks = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        metric: Metric | None = None,
        **options: Any,
    ) -> Any:
        """model(input, **options) with functions at hooks.

        fn(array, hook) is called once per hook with all rows, in the order of a pass; several at
        one hook run in the order of the list, after those of add_hook. array is a float32 view of
        the pass's own memory, [batch, pos, ...]; scores and pattern are [batch, head, query, key].
        fn may write to it, return None, or return another array of its shape. The view is valid
        during the call only: keep array.copy(). hook has name, layer() and ctx.

        Args:
            input: As for model(input).
            fwd_hooks: Pairs (name or function of names, fn).
            bwd_hooks: The same for gradients, which come after the pass, last layer first. What fn
                writes or returns takes the gradient's place for all that is before it.
            reset_hooks_end: False leaves the functions in place for later passes.
            clear_contexts: Empties every HookPoint's ctx afterwards.
            metric: What is differentiated, with bwd_hooks; None: Metric.loss().
            options: Of model(input).

        Returns:
            What model(input) returns.

        Raises:
            InputError: A name is unknown, or the function returned no array of the shape.
            StateError: The function kept its view, or started a run of this model.
            Exception: Whatever fn raised, with its own traceback.
        """
        if metric is None and bwd_hooks:
            metric = Metric.loss()
        if not reset_hooks_end:
            with self.hooks(fwd_hooks, bwd_hooks, False, clear_contexts):
                return self.run_with_hooks(input, metric=metric, **options)
        entries = self._made(fwd_hooks, False, None) + self._made(bwd_hooks, False, None, True)
        with self._turn.hold():
            former, self._extra = (self._extra, self._metric), entries
            self._metric = metric
            try:
                return cast("Any", self)(input, **options)
            finally:
                self._extra, self._metric = former
                if clear_contexts:
                    self.clear_contexts()

    def _made_metric(self, metric: Metric | None, sequences: list[Tokens]) -> MadeMetric:
        """A metric's structure for these sequences; None: that of the loss."""
        if metric is not None and not isinstance(metric, Metric):
            raise InputError(f"a metric is a Metric, such as Metric.logit(' he'), not {metric!r}")
        single = cast("Any", self).to_single_token
        return (metric or Metric.loss()).made(sequences, self.cfg.d_vocab, single)

    def _made(
        self, hooks: FwdHooks, permanent: bool, level: object, gradient: bool = False
    ) -> tuple[Entry, ...]:
        """The entries of (name, function) pairs. InputError for what is no such pair."""
        entries = []
        for pair in hooks:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not callable(pair[1]):
                raise InputError(
                    f"a hook is a pair (name, function of (array, hook)), not {pair!r}"
                )
            keyword = takes_keyword(pair[1])
            for name, hook in self.names.select(pair[0]):
                point = self.hook_dict[hook.name]
                seen = point if name == hook.name else HookPoint(name, point)
                entries.append(Entry(hook, seen, pair[1], keyword, permanent, level, gradient))
        return tuple(entries)

    def _pass(self, sequences: list[Tokens], change: Change | None = None, **options: Any) -> None:
        """Session.run(sequences, **options) in a kept session, with the hooks of the moment.

        change: interventions, whose plugins need a session of their own. At one place Python's
        hooks come before them. They do not see source prompts and the unchanged prompt.
        """
        with self._turn.hold():
            entries = self._entries + self._extra
            if self._metric is not None and options.get("metric") is None:
                options["metric"] = self._made_metric(self._metric, sequences)
            if change is not None:
                self._changed_pass(entries, sequences, change, options)
                return
            if not entries:
                self._session_for(sequences).run(sequences, **options)
                return
            hooked = self._room(sequences)
            self._hooked = None  # a session that failed has no other pass
            try:
                hooked.run(entries, sequences, options)
            except BaseException:
                hooked.discard()
                raise
            if self.closed:
                hooked.session.close()
            else:
                self._hooked = hooked

    def _changed_pass(
        self,
        entries: tuple[Entry, ...],
        sequences: list[Tokens],
        change: Change,
        options: dict[str, Any],
    ) -> None:
        rows = sum(map(len, sequences))
        longest = max(change.longest, *map(len, sequences))
        size = {"chunk": max(512, 1 << (rows - 1).bit_length())} if entries else {}
        session = self._new_session(n_sequences=len(sequences), capacity=longest, **size)
        hooked = HookedSession(session)
        try:
            change.load(session)
            options["phase"] = change.run_before(session, sequences, None)
            if entries:
                hooked.run(entries, sequences, options)
            else:
                session.run(sequences, **options)
        except BaseException:
            hooked.discard()
            raise
        session.close()

    def _steps(self, n_sequences: int, capacity: int, rows: int) -> Steps:
        """A session for generation; with hooks, a pass has room for all rows of the prompts."""
        size = {"chunk": max(512, 1 << (rows - 1).bit_length())} if self._entries else {}
        session = self._new_session(n_sequences=n_sequences, capacity=capacity, **size)
        return _HookedSteps(session, self)

    def _room(self, sequences: list[Tokens]) -> HookedSession:
        """The kept session for hooks, or a larger one. The caller holds the turn."""
        self._opened  # noqa: B018 - refuses a closed model
        rows = sum(map(len, sequences))
        longest = self.cfg.n_ctx if len(sequences) == 1 else max(map(len, sequences))
        hooked = self._hooked
        if hooked is not None and not hooked.session.closed:
            session = hooked.session
            if session.n_sequences >= len(sequences) and session.capacity >= longest:
                if session.has_chunk(rows):
                    return hooked
            session.close()
        self._hooked = None
        session = self._new_session(
            n_sequences=len(sequences),
            capacity=min(-(-longest // 64) * 64, self.cfg.n_ctx),
            chunk=max(512, 1 << (rows - 1).bit_length()),
        )
        self._hooked = HookedSession(session)
        return self._hooked


class _HookedSteps(Steps):
    """Runs of a generation with the hooks that the model has at the time of each."""

    def __init__(self, session: Session, model: Hooks) -> None:
        super().__init__(session)
        self._model = model
        self._hooked: HookedSession | None = None

    def run(self, inputs: list[Tokens], **options: Any) -> None:
        """Session.run(inputs, **options)."""
        with self.session.turn.hold():
            entries = self._model._entries
            if self._hooked is None and not entries:
                self.session.run(inputs, **options)
                return
            if self._hooked is None:
                self._hooked = HookedSession(self.session)
            try:
                self._hooked.run(entries, inputs, options)
            except BaseException:
                self._hooked.discard()
                raise
