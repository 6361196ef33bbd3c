"""Documents as windows of tokens: psc_corpus.h, over files or over an iterable of documents."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.library import call, library, take_text
from .._c.paths import path_bytes
from ..errors import InputError
from ..runtime.opened import OpenModel

_ID_LIMIT = 1 << 31
_END = object()


class Options(NamedTuple):
    """How documents become windows; as the program's options."""

    window: int
    bos: bool
    shard: tuple[int, int]
    by_size: bool
    strict: bool
    field: str
    limit: int
    sample: int
    seed: int
    stride: int  # 0: windows do not overlap


class Source:
    """An iterable of documents, asked for one at a time by the C library."""

    def __init__(self, documents: Iterable[Any]) -> None:
        self._items = iter(documents)
        self._held: Any = None  # what the library reads until the next call
        self._number = 0
        try:
            self.size: int | None = len(documents)  # type: ignore[arg-type]
        except TypeError:
            self.size = None

    def fill(self, out: c.psc_source_document) -> None:
        """Puts the next document into the library's structure."""
        self._held = None
        item = next(self._items, _END)
        if item is _END:
            out.end = 1
            return
        if isinstance(item, str):
            # A lone surrogate becomes bytes that are not UTF-8; the library skips such documents.
            self._held = item.encode("utf-8", "surrogatepass")
            out.text, out.bytes = self._held, len(self._held)
        else:
            self._held = self._ids(item)
            out.ids = ctypes.cast(self._held.ctypes.data, ctypes.POINTER(ctypes.c_int32))
            out.n = len(self._held)
        self._number += 1

    def _ids(self, item: Any) -> npt.NDArray[np.int32]:
        what = f"document {self._number}"
        if isinstance(item, os.PathLike):
            raise InputError(f"{what} is a path; pass files=[...] to read files")
        if isinstance(item, (bytes, bytearray, memoryview)):
            raise InputError(f"{what} is {type(item).__name__}; decode it to a str")
        try:
            ids = np.asarray(item)
        except (ValueError, TypeError):
            ids = np.empty((), object)
        if ids.ndim == 1 and ids.size == 0:
            return np.zeros(1, np.int32)[:0]
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(
                f"{what} is a {type(item).__name__}; pass a str or a list of token ids"
            )
        wrong = np.flatnonzero((ids < -_ID_LIMIT) | (ids >= _ID_LIMIT))
        if wrong.size:
            at = int(wrong[0])
            raise InputError(
                f"{what} has the token id {ids[at]} at position {at}; ids have 32 bits"
            )
        return np.ascontiguousarray(ids, np.int32)


class Reader:
    """One psc_corpus. `guard(function, *arguments)` runs the caller's code in callbacks."""

    def __init__(
        self,
        model: OpenModel,
        options: Options,
        *,
        paths: Sequence[bytes] = (),
        source: Source | None = None,
        guard: Callable[..., int],
    ) -> None:
        self.notes: list[str] = []  # about documents that were skipped
        self._source, self._guard = source, guard
        self._pointer = ctypes.c_void_p()
        self._note = c.psc_corpus_note_fn(self._on_note)
        shard, n_shards = options.shard
        given = c.psc_corpus_options(
            window=options.window,
            stride=options.stride,
            bos=int(options.bos),
            shard=shard,
            n_shards=n_shards,
            by_size=int(options.by_size),
            strict=int(options.strict),
            field=options.field.encode("utf-8", "replace"),
            note=self._note,
            limit=options.limit,
            sample=options.sample,
            seed=options.seed,
        )
        where, model_pointer = ctypes.byref(self._pointer), model.pointer
        if source is not None:
            self._next_document = c.psc_source_fn(self._on_next)
            fn = self._next_document
            call("psc_corpus_open_source", where, model_pointer, fn, None, ctypes.byref(given))
        else:
            array = (ctypes.c_char_p * max(len(paths), 1))(*paths)
            options_at = ctypes.byref(given)
            call("psc_corpus_open", where, model_pointer, array, len(paths), options_at)
        self._model = model
        model.take_share()
        self._window = c.psc_window()
        self._totals = c.psc_corpus_totals()

    def _on_note(self, sentence: bytes | None, _: Any) -> None:
        self.notes.append((sentence or b"").decode("utf-8", "replace"))

    def _on_next(self, out: Any, _: Any) -> int:
        assert self._source is not None
        return self._guard(self._source.fill, out.contents)

    def next(self, error: c.psc_error) -> tuple[int, c.psc_window]:
        """The status of psc_corpus_next, and the window, valid until the next call."""
        window = self._window
        status = library().psc_corpus_next(ctypes.byref(window), self._pointer, ctypes.byref(error))
        return int(status), window

    def repeated(self, window: c.psc_window) -> int:
        """How many of the window's first tokens an earlier window had."""
        return int(library().psc_corpus_repeated(self._pointer, ctypes.byref(window)))

    def totals(self) -> c.psc_corpus_totals:
        """Documents, skipped ones, windows and tokens so far."""
        library().psc_corpus_get_totals(ctypes.byref(self._totals), self._pointer)
        return self._totals

    def progress(self) -> float | None:
        """The share that is read, 0 to 1; None while it is unknown."""
        done = float(library().psc_corpus_progress(self._pointer))
        if not math.isnan(done):
            return done
        size = self._source.size if self._source is not None else None
        if not size:
            return None
        totals = self.totals()
        return min(1.0, (totals.documents + totals.skipped) / size)

    def mark(self) -> None:
        """Remembers the place in the corpus, which costs nothing; `tell` writes it."""
        library().psc_corpus_mark(self._pointer)

    def tell(self) -> bytes:
        """The marked place in the corpus as JSON."""
        out = ctypes.c_char_p()
        place = ctypes.cast(ctypes.byref(out), ctypes.POINTER(ctypes.c_void_p))
        call("psc_corpus_tell_mark", place, self._pointer)
        return take_text(place.contents)

    def seek_status(self, place: bytes, error: c.psc_error) -> int:
        """The status of psc_corpus_seek."""
        return int(library().psc_corpus_seek(self._pointer, place, ctypes.byref(error)))

    def close(self) -> None:
        """Closes the corpus; a second call does nothing."""
        if self._pointer:
            library().psc_corpus_close(ctypes.byref(self._pointer))
            self._model.give_back()

    def __del__(self) -> None:
        if getattr(self, "_model", None) is not None and not sys.is_finalizing():
            self.close()


def find_paths(documents: Any, files: Any) -> list[bytes] | None:
    """The paths of files and folders, or None when `documents` are documents.

    Raises:
        InputError: Both or neither are given, or they cannot be told apart safely.
    """
    if files is not None:
        if documents is not None:
            raise InputError("pass documents or files=, not both")
        one = isinstance(files, (str, os.PathLike))
        return [path_bytes(path) for path in ([files] if one else files)]
    if documents is None:
        raise InputError("no corpus; pass documents, or files= with files and folders")
    if isinstance(documents, os.PathLike):
        return [path_bytes(documents)]
    if isinstance(documents, str):
        raise InputError("documents is one str; pass [text] for one document, or files= for a path")
    if isinstance(documents, (bytes, bytearray, memoryview)) or not hasattr(documents, "__iter__"):
        raise InputError(
            f"documents is {type(documents).__name__}; pass an iterable of texts or of token ids"
        )
    if isinstance(documents, (list, tuple)):
        paths = [one for one in documents if isinstance(one, os.PathLike)]
        if paths and len(paths) < len(documents):
            raise InputError("documents mixes paths and documents; pass paths in files=")
        if paths:
            return [path_bytes(path) for path in paths]
    return None
