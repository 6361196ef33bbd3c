"""Model: the class that users meet."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from . import tokens as tk
from .errors import InputError, StateError
from .memory import pool
from .opened import OpenModel, cache_folder, embedded_folder
from .session import Session, Turn
from .tokens import Ids, Input, Tokens

__all__ = ["Model"]

Array = npt.NDArray[np.float32]


class Model:
    """A GPT-NeoX (Pythia) model.

    Args:
        folder: A Hugging Face folder; None: the embedded model.
        threads: 1 to 1024; 0: one per core. Results do not depend on it.
        isa: "reference", "avx2", "avx512", "neon"; None: the best available.
        chunk: Most rows per pass; 0: the library's choice. Results do not depend on it.
        cache: Keep packed weights in the program's cache folder, and map them from there.

    Raises:
        InputError: The folder is not a model, or an option is out of range.
        Unsupported: The architecture or the isa is not supported.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        threads: int = 0,
        isa: str | None = None,
        chunk: int = 0,
        cache: bool = True,
    ) -> None:
        path = embedded_folder() if folder is None else os.fspath(folder)
        opened = OpenModel(path, cache_dir=cache_folder() if cache else None)
        self._start(opened, threads, isa, chunk)

    def _start(self, opened: OpenModel, threads: int, isa: str | None, chunk: int) -> None:
        self._open = opened
        self._threads, self._isa, self._chunk = threads, isa, chunk
        self._turn = Turn()
        self._sessions: list[Session] = []
        self._closed = False

    def session(self, *, threads: int | None = None) -> Model:
        """Another Model over the same weights, whose runs do not wait for this one's.

        Args:
            threads: As of Model; None: the same as this one's.
        """
        other = Model.__new__(type(self))
        other._start(
            self._opened, self._threads if threads is None else threads, self._isa, self._chunk
        )
        return other

    @property
    def _opened(self) -> OpenModel:
        if self._closed:
            raise StateError("this model is closed; open it again")
        self._open.pointer  # noqa: B018 - refuses another process
        return self._open

    def close(self) -> None:
        """Closes the model; during a run, when the run is over. Arrays stay valid."""
        self._closed = True
        for session in self._sessions:
            session.close()
        self._sessions = []

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sessions ---

    def _new_session(self, **options: Any) -> Session:
        """A session with this model's threads, isa and turn; the caller closes it."""
        options = {"threads": self._threads, "isa": self._isa, "chunk": self._chunk, **options}
        return Session(self._opened, turn=self._turn, **options)

    def _session(self, n_sequences: int = 1, capacity: int = 0, chunk: int | None = None) -> Session:
        """A kept session with room for n_sequences of capacity tokens; 0: the whole context.

        chunk: at least so many rows per pass; None: this model's choice. The caller holds the turn.
        """
        capacity = capacity or self._opened.info.n_ctx
        self._sessions = [s for s in self._sessions if not s.retired]
        for session in self._sessions:
            fits = session.n_sequences >= n_sequences and session.capacity >= capacity
            if fits and not session.closed and session.chunk_fits(chunk):
                return session
        session = self._new_session(
            n_sequences=n_sequences, capacity=capacity, **({} if chunk is None else {"chunk": chunk})
        )
        self._sessions.insert(0, session)
        for old in self._sessions[3:]:
            old.close()
        del self._sessions[3:]
        return session

    # --- runs ---

    def __call__(
        self, input: Input, *, logits: str = "all", prepend_bos: bool = False
    ) -> Array:
        """Runs the model.

        Args:
            input: A text, ids [pos] or [batch, pos], or a list of texts or of ids.
            logits: "all" rows, or the "last" of each sequence.
            prepend_bos: Put the beginning-of-text token in front.

        Returns:
            Logits, f32 [batch, pos, d_vocab]; with "last" [batch, 1, d_vocab]. NaN on the right of
            shorter sequences.
        """
        if logits not in ("all", "last"):
            raise InputError(f'logits is {logits!r}; pass "all" or "last"')
        sequences, _ = self._sequences(input, prepend_bos)
        n_vocab = self._opened.info.d_vocab
        lengths = [len(s) if logits == "all" else 1 for s in sequences]
        with self._turn.hold():
            longest = max(len(s) for s in sequences)
            session = self._session(len(sequences), longest if len(sequences) > 1 else 0)
            out = pool.empty((sum(lengths), n_vocab))
            session.run(sequences, logits=logits, logits_out=out, bos=prepend_bos)
        if len(set(lengths)) == 1:
            return out.reshape(len(lengths), lengths[0], n_vocab)
        return _spread(out, lengths)

    def _sequences(self, input: Input, prepend_bos: bool = False) -> tuple[list[Tokens], bool]:
        return tk.sequences_of(self._opened, input, prepend_bos)

    # --- tokens ---

    def to_tokens(self, input: Input, prepend_bos: bool = False) -> Ids:
        """Ids of a text or a list of texts, int64 [batch, pos]; -1 on the right of shorter ones."""
        return tk.padded(self._sequences(input, prepend_bos)[0])

    def to_str_tokens(self, input: Input, prepend_bos: bool = False) -> Any:
        """The text of each token: list[str]; of a batch: list[list[str]]."""
        sequences, batch = self._sequences(input, prepend_bos)
        texts = [[tk.text_of(self._opened, int(i)) for i in s.rows["id"]] for s in sequences]
        return texts if batch else texts[0]

    def to_string(self, tokens: Any) -> Any:
        """The text of ids: str of [pos] or of one id, list[str] of [batch, pos]."""
        ids = np.asarray(tokens)
        if ids.ndim == 2:
            return [tk.decode(self._opened, row) for row in ids]
        return tk.decode(self._opened, ids.reshape(-1))

    def to_single_token(self, text: str) -> int:
        """The id of a text that is exactly one token.

        Raises:
            InputError: It is several tokens, or none.
        """
        found = tk.encode(self._opened, text)
        if len(found) != 1:
            raise InputError(f"{text!r} is {len(found)} tokens, not one; pass a text of one token")
        return int(found.rows["id"][0])

    def to_single_str_token(self, token: int) -> str:
        """The text of one id."""
        return tk.text_of(self._opened, int(token))

    @property
    def hash(self) -> str:
        """XXH3-128 of the model's files, 32 hex digits."""
        return (self._opened.info.hash or b"").decode()


def _spread(rows: Array, lengths: list[int]) -> Array:
    """Rows of ragged sequences as [batch, longest, ...], with NaN on the right."""
    out = pool.empty((len(lengths), max(lengths), *rows.shape[1:]))
    begin = 0
    for into, n in zip(out, lengths):
        into[:n] = rows[begin : begin + n]
        into[n:] = np.nan
        begin += n
    return out
