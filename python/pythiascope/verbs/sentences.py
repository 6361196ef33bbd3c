"""Labelled sentences as sequences of runs: read from a CoNLL-U file, tokenized, run in batches.

A run's text is the concatenation of its sequences' texts; tokens and sentences get their places in
it. Labels stay in the C structures that the library reads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._c import structures as c
from .._c.library import call, library
from ..errors import InputError
from ..runtime.tokens import Tokens, encode

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session


class Word(NamedTuple):
    """A word for the library: bytes [start, end) of its sentence, the index of its head, labels."""

    start: int
    end: int
    head: int
    form: bytes = b""
    lemma: bytes = b""
    upos: bytes = b""
    feats: bytes = b""
    misc: bytes = b""


class Sentence:
    """A labelled sentence: its text, and the C structure with its words.

    ``owner`` is what the structure points to, and lives as long as this.
    """

    __slots__ = ("line", "owner", "raw", "text")

    def __init__(self, raw: c.psc_sentence, text: bytes, owner: object) -> None:
        self.raw, self.text, self.owner = raw, text, owner
        self.line = int(raw.line)

    @property
    def words(self) -> list[c.psc_word]:
        """Its words, as the C structures."""
        found: list[c.psc_word] = self.raw.words[: self.raw.n]
        return found

    @classmethod
    def of_words(cls, text: bytes, words: Sequence[Word | c.psc_word], line: int = 0) -> Sentence:
        """A sentence made of words."""
        array = (c.psc_word * max(1, len(words)))()
        for i, word in enumerate(words):
            if isinstance(word, c.psc_word):
                array[i] = word
                continue
            start, end, head, form, lemma, upos, feats, misc = word
            array[i] = c.psc_word(start, end, head, form, lemma, upos, b"", feats, b"", misc)
        raw = c.psc_sentence(id=b"", text=text, bytes=len(text), n=len(words), line=line)
        raw.words = ctypes.cast(array, ctypes.POINTER(c.psc_word))
        return cls(raw, text, (array, text, list(words)))


class _Treebank:
    """An open treebank of the library; closes when its last sentence is gone."""

    def __init__(self, path: str) -> None:
        self.pointer = ctypes.c_void_p()
        call("psc_treebank_open", ctypes.byref(self.pointer), os.fsencode(path))

    def __del__(self) -> None:
        if self.pointer:
            library().psc_treebank_close(ctypes.byref(self.pointer))


def read_treebank(path: str | os.PathLike[str]) -> list[Sentence]:
    """The sentences of a CoNLL-U file; InputError names the file and line of a fault."""
    treebank, n = _Treebank(os.fspath(path)), ctypes.c_int32()
    found = library().psc_treebank_sentences(treebank.pointer, ctypes.byref(n))
    return [Sentence(s, (s.text or b"")[: s.bytes], treebank) for s in found[: n.value]]


# --- sequences -----------------------------------------------------------------------------------


class SequenceOf(NamedTuple):
    """<|endoftext|> and one sentence, or several with a space between them."""

    tokens: Tokens
    sentences: Sequence[Sentence]

    @property
    def text(self) -> bytes:
        """The text that the tokens' byte ranges refer to."""
        return b" ".join(s.text for s in self.sentences)


class Sequences:
    """Sequences of sentences, to be run in batches. ``skipped`` counts those that were too long."""

    def __init__(self, found: Iterable[SequenceOf] = (), skipped: int = 0) -> None:
        self.all = list(found)
        self.skipped = skipped

    @property
    def longest(self) -> int:
        """Rows of the longest sequence."""
        return max((len(s.tokens) for s in self.all), default=0)

    def run(self, session: Session, batch: int, phase: int = 0, source: int = 0) -> None:
        """Runs all sequences, `batch` at a time, with their texts and labels."""
        for first in range(0, len(self.all), batch):
            inputs, text, labels = _lay_out(self.all[first : first + batch])
            session.run(inputs, text=text, sentences=labels, bos=True, phase=phase, source=source)

    def show_labels(self, session: Session, source: int) -> None:
        """Shows all labels to the plugins, in a run whose only row is <|endoftext|>."""
        inputs, text, labels = _lay_out(self.all)
        front = Tokens(inputs[0].rows[:1], text, True)
        session.run(
            [front],
            text=text,
            sentences=labels,
            bos=True,
            phase=c.PSC_PHASE_SOURCE,
            source=source,
        )


def _lay_out(sequences: Sequence[SequenceOf]) -> tuple[list[Tokens], bytes, Any]:
    """The inputs, the text and the labels of one run."""
    inputs, texts, at = [], [], 0
    labels = (c.psc_sentence * sum(len(s.sentences) for s in sequences))()
    n = 0
    for sequence in sequences:
        inside = at
        for sentence in sequence.sentences:
            labels[n] = sentence.raw
            labels[n].start = inside
            inside += len(sentence.text) + 1
            n += 1
        rows = sequence.tokens.rows.copy()
        rows["start"] += at
        rows["end"] += at
        text = sequence.text
        inputs.append(Tokens(rows, text, True))
        texts.append(text)
        at += len(text)
    return inputs, b"".join(texts), labels


def take_sequences(
    model: OpenModel, path: str, sentences: Sequence[Sentence], window: int, most_rows: int
) -> Sequences:
    """Tokenizes sentences, `window` per sequence; a last, smaller window is left out.

    Sequences of more than most_rows rows, <|endoftext|> included, are skipped. InputError if none
    remains.
    """
    out = Sequences()
    n = len(sentences) // window
    for i in range(n):
        part = sentences[i * window : (i + 1) * window]
        text = b" ".join(s.text for s in part)
        try:
            tokens = encode_raw(model, text)
        except InputError as error:
            raise InputError(f"{path}:{part[0].line}: {error}") from None
        if len(tokens) > most_rows:
            out.skipped += 1
        else:
            out.all.append(SequenceOf(tokens, part))
    if not out.all:
        what = f"{n} windows of {window} sentences" if window > 1 else f"{len(sentences)} sentences"
        raise InputError(f"{path}: none of its {what} has at most {most_rows} rows; raise rows=")
    return out


def encode_raw(model: OpenModel, text: bytes) -> Tokens:
    """The tokens of a UTF-8 text, <|endoftext|> in front; InputError for broken UTF-8."""
    try:
        return encode(model, text.decode(), True)
    except UnicodeDecodeError as error:
        raise InputError(f"the text is not UTF-8 at byte {error.start}") from None


def skipped_note(sequences: Sequences, path: str, window: int, most_rows: int) -> tuple[str, ...]:
    """The note that sequences were skipped, if any were."""
    if not sequences.skipped:
        return ()
    n = len(sequences.all) + sequences.skipped
    what = "windows" if window > 1 else "sentences"
    return (
        f"{path}: skipped {sequences.skipped} of {n} {what}, which have more than {most_rows} rows",
    )


def same_file(a: str, b: str) -> bool:
    """Whether two regular files have the same bytes."""
    try:
        if not (os.path.isfile(a) and os.path.isfile(b)):
            return False
        if os.path.getsize(a) != os.path.getsize(b):
            return False
        with open(a, "rb") as left, open(b, "rb") as right:
            while True:
                some, others = left.read(1 << 16), right.read(1 << 16)
                if some != others:
                    return False
                if not some:
                    return True
    except OSError:
        return False
