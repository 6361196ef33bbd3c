"""Texts cut into words, as labelled sequences: as they are, or each word tokenized alone.

Alone, a sentence's text is its forms without spaces, and each form is tokenized by itself: no token
can tell where a word begins by a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._c import structures as c
from ..errors import InputError
from ..runtime.tokens import Tokens, encode
from .sentences import Sentence, SequenceOf, Sequences, Word, encode_raw

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel

_SPACES = frozenset(b" \t\n\v\f\r")


def _class_of(byte: int) -> int:
    """1: letters and all bytes beyond ASCII; 2: digits; 0: spaces; 3: others."""
    if byte >= 0x80 or 0x41 <= byte & ~0x20 <= 0x5A:
        return 1
    if 0x30 <= byte <= 0x39:
        return 2
    return 0 if byte in _SPACES else 3


def word_text(text: bytes) -> Sentence | None:
    """A plain text as one labelled sentence; None if it has no words.

    A word begins after a space and where the class of characters changes.
    """
    words: list[Word] = []
    classes = [_class_of(byte) for byte in text]
    at = 0
    while at < len(text):
        begin = at
        while at < len(text) and classes[at] == classes[begin]:
            at += 1
        if classes[begin]:
            words.append(Word(begin, at, 0 if words else -1, text[begin:at]))
    return Sentence.of_words(text, words) if words else None


class WordOptions(NamedTuple):
    """Which sequences a block has."""

    alone: bool
    letters: bool  # alone: only words of letters that share no token in their text
    cut: bool  # cut sequences to `most` rows instead of leaving them out
    least: int
    most: int
    units: tuple[int, int]
    limit: int


class WordBlock(Sequences):
    """Sequences of words; ``cut`` counts those that were made shorter."""

    def __init__(
        self, model: OpenModel, sentences: Sequence[Sentence], options: WordOptions
    ) -> None:
        super().__init__()
        self.cut = 0
        if not model.has_tokenizer:
            raise InputError(f"{model.no_tokenizer}; words need a tokenizer")
        for sentence in sentences:
            if len(self.all) >= options.limit:
                break
            if sentence.raw.n > 0:
                self._add(model, sentence, options)

    def _add(self, model: OpenModel, sentence: Sentence, options: WordOptions) -> None:
        as_is = not options.alone or options.letters
        units, tokens = 0, None
        if as_is:
            tokens = encode_raw(model, sentence.text)
            units = count_units(tokens, sentence)
        if options.alone:
            sentence = _join_words(sentence, tokens)
            tokens = _encode_alone(model, sentence)
            if not as_is:
                units = count_units(tokens, sentence)
        if tokens is None or sentence.raw.n == 0:
            return
        n = min(len(tokens), options.most) if options.cut else len(tokens)
        fits = options.least <= n <= options.most
        if not fits or not options.units[0] <= units <= options.units[1]:
            self.skipped += 1
            return
        self.cut += n < len(tokens)
        self.all.append(SequenceOf(Tokens(tokens.rows[:n].copy(), tokens.text, True), [sentence]))


def count_units(tokens: Tokens, sentence: Sentence) -> int:
    """The units that are not punctuation only: words, or words that share a token."""
    starts, ends = tokens.rows["start"].tolist(), tokens.rows["end"].tolist()
    n, t, last, content = 0, 1, 0, False
    for word in sentence.words:
        while t < len(ends) and ends[t] <= word.start:
            t += 1
        if t == len(ends) or starts[t] >= word.end:
            continue
        if t > last:
            n += content
            content = False
        content = content or word.upos != b"PUNCT"
        end = t
        while end + 1 < len(ends) and starts[end + 1] < word.end:
            end += 1
        last = max(last, end)
    return n + content


def _chosen(tokens: Tokens, words: Sequence[c.psc_word]) -> list[int]:
    """The words of letters only that share no token with another word."""
    starts, ends = tokens.rows["start"].tolist(), tokens.rows["end"].tolist()
    found, t = [], 1
    for w, word in enumerate(words):
        while t < len(ends) and ends[t] <= word.start:
            t += 1
        if t == len(ends) or starts[t] >= word.end:
            continue
        last = t
        while last + 1 < len(ends) and starts[last + 1] < word.end:
            last += 1
        if w > 0 and words[w - 1].end > starts[t]:
            continue
        if w + 1 < len(words) and words[w + 1].start < ends[last]:
            continue
        letters = all(_class_of(byte) == 1 for byte in word.form or b"")
        if letters and word.upos != b"PUNCT":
            found.append(w)
    return found


def _join_words(sentence: Sentence, tokens: Tokens | None) -> Sentence:
    """The sentence without spaces; with tokens, of chosen words only."""
    words = sentence.words
    kept = range(len(words)) if tokens is None else _chosen(tokens, words)
    text, made = b"", list[c.psc_word]()
    for w in kept:
        word = c.psc_word.from_buffer_copy(words[w])
        form = word.form or b""
        word.start, word.end = len(text), len(text) + len(form)
        if tokens is not None:  # its head may be left out
            word.head = 0 if made else -1
        text += form
        made.append(word)
    out = Sentence.of_words(text, made)
    for name in ("id", "new_document", "new_paragraph", "line"):
        setattr(out.raw, name, getattr(sentence.raw, name))
    out.owner = (out.owner, sentence.owner)  # the words' texts are the sentence's
    return out


def _encode_alone(model: OpenModel, sentence: Sentence) -> Tokens:
    parts = [encode(model, "", True).rows]
    for word in sentence.words:
        rows = encode(model, (word.form or b"").decode()).rows.copy()
        rows["start"] += word.start
        rows["end"] += word.start
        parts.append(rows)
    return Tokens(np.concatenate(parts), sentence.text, True)
