"""The passes of `words`: a text, a treebank or a corpus, as it is and as words alone."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._c import structures as c
from .._c.library import call, library
from ..checks import pair, path_text, whole
from ..errors import InputError
from ..runtime.tokens import decode
from .sentences import Sentence, encode_raw, read_treebank
from .word_texts import WordBlock, WordOptions, word_text

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session

_EVERYTHING = (0, (1 << 31) - 1)
OpenSession = Callable[[int], "Session"]


class WordsRun(NamedTuple):
    """The arguments of `words`, in the order of its method."""

    text: str | None
    treebank: str | os.PathLike[str] | None
    files: Sequence[str | os.PathLike[str]]
    control: Any
    rows: tuple[int, int] | None
    units: tuple[int, int] | None
    limit: int | None
    window: int
    limit_tokens: int | None
    batch: int
    letters: bool

    def check(self) -> None:
        """InputError for arguments that do not fit each other."""
        if not isinstance(self.files, (list, tuple)):
            raise InputError("words: files is a list of paths")
        sources = (self.text is not None) + (self.treebank is not None) + bool(self.files)
        if sources != 1:
            raise InputError("words needs a text, a treebank or files; pass one of them")
        chosen = (self.rows, self.units, self.limit)
        if self.treebank is None and any(one is not None for one in chosen):
            raise InputError("words: rows, units and limit choose sentences; they need a treebank")
        if not self.files and self.limit_tokens is not None:
            raise InputError("words: limit_tokens needs files")
        if self.text is not None and not isinstance(self.text, str):
            raise InputError(f"words: text={self.text!r} is not a text")
        for name, value in (("rows", self.rows), ("units", self.units)):
            if value is not None:
                pair(name, value)
        for name, number in (("limit", self.limit), ("limit_tokens", self.limit_tokens)):
            if number is not None:
                whole(name, number, 1, 1 << 50)
        whole("window", self.window, 2, 1 << 20)
        whole("batch", self.batch, 1, 1024)

    def options(self, model: OpenModel, alone: bool) -> WordOptions:
        """Which sequences a block has."""
        n_ctx = model.info.n_ctx
        least, most = self.rows or _EVERYTHING
        limit = _EVERYTHING[1] if self.limit is None else self.limit
        cut = self.rows is None
        return WordOptions(
            alone, self.letters, cut, least, min(most, n_ctx), self.units or _EVERYTHING, limit
        )


def run_pass(
    run: WordsRun, model: OpenModel, alone: bool, again: bool, open_session: OpenSession
) -> tuple[Session, list[str]]:
    """Runs one model over all texts; returns the session and notes.

    again: another model ran before, so that notes on reading are not repeated.
    """
    if run.files:
        return _run_corpus(run, model, alone, again, open_session)
    if run.treebank is not None:
        path = path_text("treebank", run.treebank)
        return _run_sentences(run, model, alone, again, open_session, read_treebank(path), path)
    text = (run.text or "").encode("utf-8", "surrogatepass")
    n = len(encode_raw(model, text))
    if n > model.info.n_ctx:
        raise InputError(
            f"the text has {n} tokens, more than the model's context of {model.info.n_ctx}"
        )
    sentence = word_text(text)
    if sentence is None:
        raise InputError("the text has no words")
    return _run_sentences(run, model, alone, again, open_session, [sentence], "the text")


def _run_sentences(
    run: WordsRun,
    model: OpenModel,
    alone: bool,
    again: bool,
    open_session: OpenSession,
    sentences: Sequence[Sentence],
    path: str,
) -> tuple[Session, list[str]]:
    options = run.options(model, alone)
    block = WordBlock(model, sentences, options)
    if not block.all:
        raise InputError(f"{path}: no sentence has words, rows and units in range")
    notes = []
    if block.cut and not again:
        n = len(block.all)
        what = f"sequence{'' if n == 1 else 's'}{' of words alone' if alone else ''}"
        notes = [f"{path}: cut {block.cut} of {n} {what} to the context, {options.most} rows"]
    session = open_session(block.longest)
    block.run(session, run.batch)
    return session, notes


# --- a corpus ------------------------------------------------------------------------------------


def _run_corpus(
    run: WordsRun, model: OpenModel, alone: bool, again: bool, open_session: OpenSession
) -> tuple[Session, list[str]]:
    notes: list[str] = []
    n_ctx = model.info.n_ctx
    options = c.psc_corpus_options(window=min(run.window, n_ctx), limit=run.limit_tokens or 0)
    note = c.psc_corpus_note_fn(lambda sentence, _: notes.append(_text(sentence)))
    if not (alone or again):
        options.note = note
    paths = [os.fsencode(path_text("files", path)) for path in run.files]
    array = (ctypes.c_char_p * len(paths))(*paths)
    corpus = ctypes.c_void_p()
    where = ctypes.byref(corpus), model.pointer, array, len(paths)
    call("psc_corpus_open", *where, ctypes.byref(options))
    try:
        session = open_session(min(n_ctx, 4 * options.window))
        block_options = run.options(model, alone)
        for sentences in _batches(_windows(model, corpus), run.batch):
            WordBlock(model, sentences, block_options).run(session, run.batch)
        return session, notes
    finally:
        library().psc_corpus_close(ctypes.byref(corpus))


def _text(sentence: bytes | None) -> str:
    return (sentence or b"").decode("utf-8", "replace")


def _windows(model: OpenModel, corpus: ctypes.c_void_p) -> Iterator[bytes]:
    """The texts of a corpus's windows."""
    window = c.psc_window()
    while True:
        call("psc_corpus_next", ctypes.byref(window), corpus)
        if window.n == 0:
            return
        ids = np.array([window.tokens[i].id for i in range(window.n)], np.int32)
        yield decode(model, ids).encode()


def _batches(texts: Iterator[bytes], batch: int) -> Iterator[list[Sentence]]:
    """Sentences of so many windows at a time; a window without words has none."""
    part: list[Sentence] = []
    n = 0
    for text in texts:
        sentence = word_text(text)
        if sentence is not None:
            part.append(sentence)
        n += 1
        if n == batch:
            yield part
            part, n = [], 0
    if n:
        yield part
