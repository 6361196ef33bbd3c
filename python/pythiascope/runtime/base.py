"""What every part of a Model stands on: the open model, its sessions, and whose turn it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .._c.paths import path_bytes
from ..errors import StateError
from . import tokens as tk
from .config import Config
from .opened import (
    OpenModel,
    cache_folder,
    cache_limit,
    check_one,
    embedded_folder,
    named_folder,
)
from .session import Session
from .tokens import Input, Tokens
from .turn import Turn

__all__ = ["ModelBase", "Steps"]

_KEPT = 3  # sessions that wait for their next run

Self = TypeVar("Self", bound="ModelBase")


class Change(Protocol):
    """Changes of a run's values, and the prompts that they need (instruments/interventions.py)."""

    @property
    def longest(self) -> int:
        """Tokens of the longest source prompt; 0 without any."""

    def load(self, session: Session) -> None:
        """Loads the editors into a session."""

    def run_before(self, session: Session, inputs: Sequence[Tokens], text: bytes | None) -> int:
        """Runs what the changes need first; returns the phase of the next run."""


class Steps:
    """The session of a generation, which the caller closes, and the runs in it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, inputs: list[Tokens], **options: Any) -> None:
        """Session.run(inputs, **options)."""
        self.session.run(inputs, **options)


class ModelBase:
    """The open model and its sessions. Model has the documentation of the arguments."""

    _open: OpenModel
    _how: dict[str, Any]  # the options of every session of this model
    _turn: Turn
    _sessions: list[Session]
    _closed: bool

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        threads: int = 0,
        isa: str | None = None,
        chunk: int = 0,
        cache: bool = True,
        check_plugins: bool = False,
        retained_cap: int = 0,
    ) -> None:
        if folder is None:
            path = embedded_folder()
        else:
            name = os.fsdecode(path_bytes(folder))
            check_one(name)
            path = named_folder(name)
        opened = (
            OpenModel(path, cache_dir=cache_folder(), cache_limit=cache_limit())
            if cache
            else OpenModel(path)
        )
        how: dict[str, Any] = {"threads": threads, "isa": isa, "chunk": chunk}
        how |= {"check_plugins": bool(check_plugins), "retained_cap": retained_cap}
        self._start(opened, how)

    def _start(self, opened: OpenModel, how: dict[str, Any]) -> None:
        self._open, self._how = opened, how
        self._turn = Turn()
        self._closed = False
        self._sessions = [self._new_session()]  # which checks the options

    def session(self: Self, *, threads: int | None = None, retained_cap: int | None = None) -> Self:
        """Another Model over the same weights, for another thread.

        Calls of one Model wait for each other; calls of two run at the same time.

        Args:
            threads: As of Model; None: as many as this one has.
            retained_cap: As of Model, in bytes; None: that of this one.

        Raises:
            InputError: An option is out of range.
            StateError: This model is closed, or belongs to another process.
        """
        other = type(self).__new__(type(self))
        chosen = {"threads": threads, "retained_cap": retained_cap}
        other._start(self._opened, self._how | {k: v for k, v in chosen.items() if v is not None})
        return other

    # --- life ---

    @property
    def _opened(self) -> OpenModel:
        """The open model, for calls that need no session.

        Raises:
            StateError: This model is closed, or belongs to another process.
        """
        if self._closed:
            raise StateError("this model is closed; open it again")
        self._open.check_process()
        return self._open

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._closed

    def close(self) -> None:
        """Closes the model; during a run, when the run is over.

        Arrays, caches and results stay valid. Other Models of session() stay open.
        """
        self._closed = True
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise StateError("a model cannot be pickled; open its folder in the other process")

    # --- facts ---

    @property
    def cfg(self) -> Config:
        """The configuration, under TransformerLens's names."""
        return self._open.config

    @property
    def hash(self) -> str:
        """XXH3-128 of the model's files, 32 hex digits."""
        return (self._opened.info.hash or b"").decode()

    @property
    def folder(self) -> str:
        """The folder, as it was opened."""
        return self._open.folder

    # --- sessions ---

    def _new_session(self, **options: Any) -> Session:
        """A session with this model's options and turn; the caller closes it."""
        return Session(self._opened, turn=self._turn, **{**self._how, **options})

    def _session(
        self, n_sequences: int = 1, capacity: int = 0, chunk: int | None = None
    ) -> Session:
        """A kept session with room for n_sequences of capacity tokens; 0: the whole context.

        chunk: at least so many rows per pass; None: this model's choice. The caller holds the turn.
        """
        self._opened  # noqa: B018 - refuses a closed model
        capacity = capacity or self.cfg.n_ctx
        kept = [s for s in self._sessions if not (s.retired or s.closed)]
        for session in kept:
            fits = session.n_sequences >= n_sequences and session.capacity >= capacity
            if fits and session.has_chunk(chunk):
                return session
        size = {} if chunk is None else {"chunk": chunk}
        session = self._new_session(n_sequences=n_sequences, capacity=capacity, **size)
        self._sessions = [session, *kept[: _KEPT - 1]]
        for old in kept[_KEPT - 1 :]:
            old.close()
        return session

    def _session_for(self, sequences: list[Tokens], chunk: int | None = None) -> Session:
        """A kept session with room for a run of these sequences. The caller holds the turn."""
        if len(sequences) == 1:
            return self._session(chunk=chunk)
        longest = max(len(tokens) for tokens in sequences)
        capacity = min(-(-longest // 64) * 64, self.cfg.n_ctx)
        return self._session(len(sequences), capacity, chunk)

    def _change(self, interventions: Any, source: Any, prepend_bos: bool) -> Change | None:
        """Interventions and source prompts for a session; None without any."""
        raise NotImplementedError

    def _steps(self, n_sequences: int, capacity: int, rows: int) -> Steps:
        """A session of its own for a run of so many rows and the steps after it."""
        return Steps(self._new_session(n_sequences=n_sequences, capacity=capacity))

    def _sequences(self, input: Input, prepend_bos: bool = False) -> tuple[list[Tokens], bool]:
        """The sequences that a user means, and whether they are a batch."""
        return tk.sequences_of(self._opened, input, prepend_bos)
