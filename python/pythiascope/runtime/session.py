"""One session of the C library: runs, callbacks, exceptions, interrupts.

The rules of a run. The C code works without Python's lock. One thread runs a session at a time;
others wait. A callback cannot start another run of the same Model. An exception in a callback ends
the run and comes out of it with its own traceback. Ctrl-C ends the run; then Python's own handler
runs, so that KeyboardInterrupt comes out and the session stays usable. A session of another
process, after a fork, refuses every call.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.library import call, check, library
from .._c.paths import path_bytes
from ..checks import whole
from ..errors import HostCallFailed, InputError, StateError, error_of
from .metric import MadeMetric
from .opened import OpenModel, check_process
from .tokens import Tokens, c_text
from .turn import Control, Turn, entry, in_main_thread

__all__ = ["OwnedResults", "Session"]

_INT32 = (1 << 31) - 1
_ROWS = {"all": c.PSC_ROWS_ALL, "last": c.PSC_ROWS_LAST}


class Session:
    """One psc_session. Internal: Model and its parts use it.

    Args:
        model: The model, which the session keeps open.
        threads: 1 to 1024; 0: one per core.
        isa: "reference", "avx2", "avx512", "neon"; None: the best available.
        chunk: Most rows per pass; 0: the library's choice.
        n_sequences: Sequences of a run.
        capacity: Most tokens per sequence; 0: the model's context.
        shared_tokens: Tokens of all sequences together, each rounded up to a multiple of 16; a run
            then begins its sequences anew. 0: capacity for each.
        accumulate: Runs are documents of a corpus.
        retained_cap: Most bytes that plugins may retain in a run; 0: 2 GiB.
        check_plugins: A hook that writes to what it only observes is an error.
        overlap: Runs may repeat tokens; plugins that would count them twice are refused.
        part: Of a corpus in parts, for the names of shards: (i, n); (0, n): the merge of all.
        turn: Shared by sessions that must not run at once; None: its own.

    Raises:
        InputError: A number is out of range.
        Unsupported: The processor lacks the isa.
    """

    def __init__(
        self,
        model: OpenModel,
        *,
        threads: int = 0,
        isa: str | None = None,
        chunk: int = 0,
        n_sequences: int = 1,
        capacity: int = 0,
        shared_tokens: int = 0,
        accumulate: bool = False,
        retained_cap: int = 0,
        check_plugins: bool = False,
        overlap: bool = False,
        part: tuple[int, int] = (0, 0),
        turn: Turn | None = None,
    ) -> None:
        options = c.psc_session_options(
            threads=whole("threads", threads, 0, 1024),
            isa=None if isa is None else c_text(isa),
            chunk=whole("chunk", chunk, 0, _INT32),
            n_sequences=whole("n_sequences", n_sequences, 1, _INT32),
            capacity=whole("capacity", capacity, 0, _INT32),
            shared_tokens=whole("shared_tokens", shared_tokens, 0, _INT32),
            accumulate=int(accumulate),
            retained_cap=whole("retained_cap", retained_cap, 0, (1 << 64) - 1),
            check_plugins=int(check_plugins),
            overlap=int(overlap),
            part=part[0],
            n_parts=part[1],
        )
        pointer = ctypes.c_void_p()
        call("psc_session_open", ctypes.byref(pointer), model.pointer, ctypes.byref(options))
        model.take_share()
        self.model = model
        self.turn = turn or Turn()
        self.n_sequences = n_sequences
        self.capacity = capacity or model.info.n_ctx
        self._pid = os.getpid()
        self._pointer = pointer
        self._library = library()
        self.control = Control()
        self._stop = c.psc_run_options_stop(self.control.stop)
        self._kept: list[Any] = []  # what the library may call or read until the session closes
        self._hooks: list[Any] = []  # callbacks of observe and edit
        self._chunk = chunk
        self._shared = shared_tokens > 0
        self.completed = False  # whether the last run or report came to its end
        self._own_logits = True  # the library's memory holds those of the last run
        self.retired = False  # a view of its memory lives: it never runs again
        self._closing = False
        self._closed = threading.Lock()

    # --- life ---

    @property
    def pointer(self) -> ctypes.c_void_p:
        """The psc_session.

        Raises:
            StateError: The session is closed, or another process opened it.
        """
        check_process(self._pid)
        if self._closing:
            raise StateError("this session is closed; open the model again")
        if self.retired:
            raise StateError("this session is retired: a view of its memory was kept")
        return self._pointer

    def has_chunk(self, rows: int | None) -> bool:
        """Whether a pass has room for so many rows; None: any session will do."""
        return rows is None or self._chunk >= rows

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._closing

    def retire(self, buffers: Sequence[object] = ()) -> None:
        """Ends the session's use because views of its memory live on.

        It never runs again, and closes when the last of the buffers is gone, whoever closes it
        before.

        Args:
            buffers: The bases of the views; anything that can be weakly referenced.
        """
        self.retired = True
        for buffer in buffers:
            weakref.finalize(buffer, _keep_until_now, self).atexit = False

    def close(self) -> None:
        """Closes the session; during a run, when the run is over."""
        if self.retired:
            return  # __del__ closes it, after the last view
        self._closing = True
        if self.turn.inside():
            return  # in a callback: the run closes it
        if self.turn.lock.acquire(blocking=False):
            try:
                self._close_now()
            finally:
                self.turn.lock.release()

    def _close_now(self) -> None:
        if not self._closed.acquire(blocking=False):
            return
        self._closing = True
        former, self.control.failure = self.control.failure, None
        if os.getpid() == self._pid:
            outer, thread = self.turn.inside(), threading.get_ident()
            try:
                if not outer:
                    self.turn.closers.add(thread)  # plugins close: callbacks
                self._library.psc_session_close(ctypes.byref(self._pointer))
            finally:  # Ctrl-C may have come meanwhile
                if not outer:
                    self.turn.closers.discard(thread)
        self._hooks.clear()
        self._kept.clear()
        self.model.give_back()
        failure, self.control.failure = self.control.failure, former
        if failure is not None:
            raise failure

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self._close_now()

    # --- setting up later runs ---

    def plugin(self, name_or_path: str, options: Mapping[str, str] = {}) -> None:
        """Loads a plugin: a built-in by its name, or a shared object by its path."""
        array, n = _options(options)
        self.guarded("psc_session_plugin_options", path_bytes(name_or_path), None, array, n)

    def plugin_object(
        self, plugin: c.psc_plugin, options: Mapping[str, str] = {}, keep: Any = None
    ) -> None:
        """Loads a plugin whose structure and callbacks live in this process.

        Args:
            plugin: The structure; the session keeps it, and what it refers to.
            options: Its options.
            keep: Whatever else must live until the session closes.
        """
        array, n = _options(options)
        self._kept.append((plugin, keep))
        self.guarded("psc_session_plugin_object", ctypes.byref(plugin), array, n)

    def keep_exception(self, failure: BaseException) -> None:
        """For callbacks: the call in progress ends and raises this; the first one kept wins.

        The callback then returns a nonzero status to the library.
        """
        self.control.keep(failure)

    def target(self, text: str) -> None:
        """Adds a target: a text of exactly one token, #ID, next, or top:K."""
        with self.turn.hold():
            call("psc_session_target", self.pointer, c_text(text))

    def contrast(self, a: str, b: str) -> None:
        """Adds the target z_a - z_b."""
        with self.turn.hold():
            call("psc_session_contrast", self.pointer, c_text(a), c_text(b))

    def capture(self, point: str) -> None:
        """Keeps a hook point's tensor in the results of later runs."""
        with self.turn.hold():
            call("psc_session_capture", self.pointer, c_text(point))

    def observe(
        self,
        point: int,
        fn: Callable[[c.psc_event], Any],
        *,
        layers: Sequence[int] | None = None,
        rows: tuple[int, int] | None = None,
    ) -> None:
        """Shows a point's events to fn(event), which may raise to end the run.

        Args:
            point: A psc_point.
            fn: Receives the raw event, valid during the call.
            layers: Ascending; None: all.
            rows: Positions begin <= p < end; None: all.
        """
        self._hook("psc_session_observe", point, fn, layers, rows)

    def edit(
        self,
        point: int,
        fn: Callable[[c.psc_event], Any],
        *,
        layers: Sequence[int] | None = None,
        rows: tuple[int, int] | None = None,
        gradient: bool = False,
    ) -> None:
        """As observe, for a function that may write to the tensor.

        gradient: of runs with a metric, the gradient there instead of the value.
        """
        self._hook("psc_session_edit", point, fn, layers, rows, gradient)

    def _hook(
        self,
        name: str,
        point: int,
        fn: Callable[[c.psc_event], Any],
        layers: Sequence[int] | None,
        rows: tuple[int, int] | None,
        gradient: bool = False,
    ) -> None:
        control = self.control

        @entry
        def callback(event: Any, _: Any) -> int:
            return control.guard(fn, event.contents)

        thunk = c.psc_event_fn(callback)
        chosen = c.psc_filter(gradient=int(gradient))
        if layers is not None:
            chosen.layers = (ctypes.c_int32 * len(layers))(*layers)
            chosen.n_layers = len(layers)
        if rows is not None:
            chosen.rows, chosen.row_begin, chosen.row_end = c.PSC_ROWS_RANGE, rows[0], rows[1]
        with self.turn.hold():
            self._hooks.append(thunk)
            call(name, self.pointer, point, ctypes.byref(chosen), thunk, None)

    def unhook_all(self) -> None:
        """Removes all hooks of observe and edit."""
        with self.turn.hold():
            self._library.psc_session_unhook(self.pointer, None)
            self._hooks.clear()

    # --- runs ---

    def length(self, sequence: int = 0) -> int:
        """The number of tokens in a sequence."""
        with self.turn.hold():
            return int(self._library.psc_session_length(self.pointer, sequence))

    def truncate(self, sequence: int = 0, n: int = 0) -> None:
        """Drops a sequence's tokens from position n on."""
        with self.turn.hold():
            self._library.psc_session_truncate(self.pointer, sequence, n)

    def clear(self) -> None:
        """Empties all sequences."""
        with self.turn.hold():
            for sequence in range(self.n_sequences):
                self._library.psc_session_truncate(self.pointer, sequence, 0)

    def run(
        self,
        inputs: Sequence[Tokens],
        *,
        sequences: Sequence[int] | None = None,
        append: bool = False,
        logits: str | None = None,
        logits_out: npt.NDArray[np.float32] | None = None,
        text: bytes | None = None,
        copies: Sequence[Any] = (),
        phase: int = 0,
        source: int = 0,
        bos: bool = False,
        documents: Any = None,
        repeated: Any = None,
        sentences: Any = None,
        stop_at_layer: int = 0,
        metric: MadeMetric | None = None,
        progress: Callable[[float, str], Any] | None = None,
        patience: int = 1,
    ) -> None:
        """Runs tokens.

        Args:
            inputs: The tokens of each sequence.
            sequences: Their numbers, ascending; None: 0, 1, ...
            append: Append to the sequences; otherwise all sequences are emptied first.
            logits: "all" rows, the "last" of each sequence, or None.
            logits_out: f32, C-contiguous: receives the logits [rows, d_vocab], until the next run.
            text: The UTF-8 text of the tokens' byte ranges.
            copies: psc_copy structures.
            phase: psc_phase.
            source: The number of the prompt in PSC_PHASE_SOURCE.
            bos: Record that a beginning-of-text token was put in front.
            documents: A ctypes array of psc_document, one per input.
            repeated: A ctypes array of c_int32: how many first tokens of each an earlier one had.
            sentences: A ctypes array of psc_sentence.
            stop_at_layer: Compute only the layers before it; 0: all; -1: only hook_embed.
            metric: Its gradient is computed after the forward pass.
            progress: Called as progress(done, what); done is 0 to 1.
            patience: So many Ctrl-C end the run; after fewer, KeyboardInterrupt comes out when the
                run is over (see `completed`).

        Raises:
            PythiascopeError: As the library says; also whatever a callback raises.
        """
        array = (c.psc_input * len(inputs))()
        for i, tokens in enumerate(inputs):
            array[i].sequence = i if sequences is None else sequences[i]
            array[i].n = len(tokens.rows)
            array[i].tokens = ctypes.cast(tokens.rows.ctypes.data, ctypes.POINTER(c.psc_token))
        options = c.psc_run_options(
            no_logits=int(logits is None),
            logits=_ROWS[logits or "last"],
            text=text,
            text_bytes=len(text or b""),
            phase=phase,
            source=source,
            bos=int(bos),
            n_copies=len(copies),
            stop_at_layer=stop_at_layer,
        )
        if in_main_thread():
            options.stop = self._stop
        if copies:
            options.copies = (c.psc_copy * len(copies))(*copies)
        if logits_out is not None:
            options.logits_memory = logits_out.ctypes.data
            options.logits_capacity = logits_out.size
        if documents is not None:
            options.documents = documents
        if repeated is not None:
            options.repeated = repeated
        if metric is not None:
            options.metric = ctypes.pointer(metric.structure)
        if sentences is not None:
            options.sentences, options.n_sentences = sentences, len(sentences)
        with self.turn.hold():
            pointer = self.pointer
            if not append and not self._shared:  # a run of shared tokens empties them itself
                self.clear()
            self.control.patience = patience
            if progress is not None:
                options.progress = self._progress(progress)
            self._own_logits = logits_out is None
            self._run("psc_session_run", pointer, array, len(inputs), ctypes.byref(options))

    def score(self, out: Any, requests: Any, log_p: npt.NDArray[np.float64]) -> None:
        """Scores requests; all sequences are empty afterwards.

        Args:
            out: A ctypes array of psc_score, one per request.
            requests: A ctypes array of psc_score_request.
            log_p: f64, C-contiguous: receives ln p of each token of each continuation.

        Raises:
            PythiascopeError: As the library says.
        """
        options = c.psc_score_options(log_p_capacity=log_p.size)
        options.log_p = log_p.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        if in_main_thread():
            options.stop = c.psc_score_options_stop(self.control.stop)
        with self.turn.hold():
            pointer = self.pointer
            self.control.patience = 1
            self._run(
                "psc_session_score", out, pointer, requests, len(requests), ctypes.byref(options)
            )

    def pairs(self, pairs: ctypes.c_void_p, options: c.psc_pairs_run_options) -> OwnedResults:
        """Runs the plugins over a set of pairs; all sequences are empty afterwards.

        Raises:
            PythiascopeError: As the library says; also whatever a callback raises.
        """
        if in_main_thread():
            options.stop = c.psc_pairs_run_options_stop(self.control.stop)
        results = ctypes.c_void_p()
        with self.turn.hold():
            pointer = self.pointer
            self.control.patience = 1
            self._run("psc_pairs_run", ctypes.byref(results), pointer, pairs, ctypes.byref(options))
        return OwnedResults(results, self.model)

    def _progress(self, progress: Callable[[float, str], Any]) -> Any:
        control = self.control

        @entry
        def callback(done: float, what: bytes | None, _: Any) -> int:
            return control.guard(progress, done, (what or b"").decode("utf-8", "replace"))

        return c.psc_progress_fn(callback)

    def report(self, totals: c.psc_corpus_totals | None = None) -> None:
        """Calls every plugin's report over the totals of a session that accumulates."""
        with self.turn.hold():
            given = ctypes.byref(totals) if totals is not None else None
            self.control.patience = 1
            stop = self._stop if in_main_thread() else c.psc_run_options_stop()
            self._run("psc_session_report_until", self.pointer, given, stop, None)

    def guarded(self, name: str, *arguments: Any) -> None:
        """Calls a function of the library in which callbacks may run, under a run's rules."""
        with self.turn.hold():
            self._run(name, self.pointer, *arguments)

    def _run(self, name: str, *arguments: Any) -> None:
        control, error = self.control, c.psc_error()
        function = getattr(self._library, name)
        control.failure, self.completed = None, False
        watched = control.watch()
        try:
            self.turn.runner = threading.get_ident()
            status = function(*arguments, ctypes.byref(error))
            self.completed = status == c.PSC_OK
        finally:
            self.turn.runner = 0
            if watched:
                control.unwatch()
            if self._closing and not self.retired:
                self._close_now()
        failure, control.failure = control.failure, None
        if isinstance(failure, HostCallFailed):
            sentence = (error.message or b"").decode("utf-8", "replace")
            raise error_of(status, sentence).with_traceback(failure.__traceback__)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        check_process(self._pid)
        check(status, error)

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """A copy of the logits [d_vocab] of a row of the last run.

        Raises:
            StateError: The last run did not ask for them, or put them into logits_out.
        """
        with self.turn.hold():
            address = self._library.psc_session_logits(self.pointer, row)
            if not address or not self._own_logits:
                raise StateError(f"the last run has no logits of row {row}")
            raw = ctypes.string_at(address, self.model.info.d_vocab * 4)
            values: npt.NDArray[np.float32] = np.frombuffer(raw, np.float32).copy()
            return values

    def take_results(self) -> OwnedResults:
        """Moves the last run's or report's results out of the session."""
        with self.turn.hold():
            pointer = ctypes.c_void_p()
            call("psc_session_take_results", ctypes.byref(pointer), self.pointer)
            return OwnedResults(pointer, self.model)


class OwnedResults:
    """The results of a run, which outlive their session and keep their model open.

    Results of a folder need no model.
    """

    def __init__(self, pointer: ctypes.c_void_p, model: OpenModel | None) -> None:
        if model is not None:
            model.take_share()
        self._pid = os.getpid()
        self._pointer = pointer
        self._library = library()
        self._model = model

    @property
    def pointer(self) -> ctypes.c_void_p:
        """The psc_results."""
        return self._pointer

    def __del__(self) -> None:
        if hasattr(self, "_model"):
            if os.getpid() == self._pid:
                self._library.psc_results_close(ctypes.byref(self._pointer))
            if self._model is not None:
                self._model.give_back()


def _keep_until_now(session: Session) -> None:
    """The argument of a finalizer, which keeps the session alive."""


def _options(options: Mapping[str, str]) -> tuple[Any, int]:
    array = (c.psc_option * max(len(options), 1))()
    for i, (key, value) in enumerate(options.items()):
        if not isinstance(value, str):
            raise InputError(f"the option {key} is a {type(value).__name__}; pass it as a text")
        array[i].key, array[i].value = c_text(key), c_text(value)
    return array, len(options)
