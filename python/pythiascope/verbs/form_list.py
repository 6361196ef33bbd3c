"""A list of word forms as labelled sequences: tab-separated lines, or CoNLL-U files."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .._c.library import native_folder, source_folder
from ..errors import InputError, IOFailure
from .sentences import Sentence, SequenceOf, Sequences, Word, encode_raw, read_treebank

if TYPE_CHECKING:
    from .._c import structures as c
    from ..runtime.opened import OpenModel

_MOST_LINE, _MOST_RECORDS = 4096, 1 << 21
_FREQUENCY = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class _Record(NamedTuple):
    form: bytes
    group: bytes
    tag: bytes
    order: int
    frequency: float
    line: int


def english_forms() -> str:
    """The path of the small list of English forms that comes with the program."""
    for place in (native_folder(), source_folder()):
        path = os.path.join(place, "models", "forms", "english.tsv")
        if os.access(path, os.R_OK):
            return path
    raise InputError("the list of English forms is not installed; pass a file")


def read_forms(model: OpenModel, path: str) -> Sequences:
    """Forms of a file's lines: form, group, tag, and a frequency (default: 1), separated by tabs.

    Blank lines and lines that begin with # are skipped. A form that occurs several times has its
    most frequent group and tag, ties to the lower bytes, and the sum of its frequencies. InputError
    names the file and line of a fault.
    """
    _check_tokenizer(model)
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is not a regular file")
    try:
        with open(path, "rb") as file:
            lines = file.read().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise IOFailure(f"cannot open {path}: {error.strerror}") from None
    records = [
        record
        for number, line in enumerate(lines if lines[-1] else lines[:-1], 1)
        if (record := _read_line(path, number, line))
    ]
    return _build(model, path, records)


def _read_line(path: str, number: int, line: bytes) -> _Record | None:
    where = f"{path}:{number}"
    if b"\0" in line or len(line) > _MOST_LINE:
        fault = "has a 0 byte" if b"\0" in line else "is longer than 4096 bytes"
        raise InputError(f"{where}: the line {fault}")
    line = line.removesuffix(b"\r")
    if not line or line.startswith(b"#"):
        return None
    try:
        line.decode()
    except UnicodeDecodeError:
        raise InputError(f"{where}: the line is not UTF-8") from None
    fields = line.split(b"\t", 4)
    if not 3 <= len(fields) <= 4:
        raise InputError(
            f"{where}: {len(fields)} columns; a line has form, group, tag and perhaps a frequency, "
            "with tabs between them"
        )
    for i, field in enumerate(fields, 1):
        if not field:
            raise InputError(f"{where}: column {i} is empty")
    frequency = 1.0
    if len(fields) == 4:
        good = _FREQUENCY.fullmatch(fields[3])
        frequency = float(fields[3]) if good else 0.0
        if not 0.0 < frequency <= 1e15:
            shown = fields[3][:40].decode("utf-8", "replace")
            raise InputError(
                f"{where}: the frequency '{shown}' is not a number above 0 and up to 1e15"
            )
    return _Record(fields[0], fields[1], fields[2], number, frequency, number)


def collect_forms(model: OpenModel, paths: Sequence[str]) -> Sequences:
    """Forms of CoNLL-U files in lower case: nouns, verbs and adjectives of ASCII letters.

    The group is lemma and UPOS; the tag is XPOS, or without it FEATS.
    """
    _check_tokenizer(model)
    records: list[_Record] = []
    for path in paths:
        for sentence in read_treebank(path):
            for word in sentence.words:
                record = _take_word(word, len(records))
                if record is not None:
                    records.append(record)
    return _build(model, paths[-1], records)


def _take_word(word: c.psc_word, order: int) -> _Record | None:
    form, lemma, upos = word.form or b"", word.lemma or b"", word.upos or b""
    if upos not in (b"NOUN", b"VERB", b"ADJ"):
        return None
    if not (form.isascii() and form.isalpha() and lemma.isascii() and lemma.isalpha()):
        return None
    group = lemma.lower() + b" " + upos
    if not 3 <= len(form) < 256 or len(group) >= 300:
        return None
    return _Record(form.lower(), group, word.xpos or word.feats or upos, order, 1.0, 0)


def _merge(records: Sequence[_Record]) -> list[_Record]:
    """Each form once, with its most frequent group and tag, in the order of first occurrences."""
    out = []
    for _, same_form in groupby(sorted(records), key=lambda r: r.form):
        most, total, order, best = -1.0, 0.0, 1 << 62, None
        for _, analysis in groupby(same_form, key=lambda r: (r.group, r.tag)):
            members = list(analysis)
            frequency = 0.0
            for record in members:
                frequency += record.frequency
            if frequency > most:
                most, best = frequency, members[0]
            order = min(order, *(record.order for record in members))
            total += frequency
        if best is not None:
            out.append(best._replace(frequency=total, order=order))
    return sorted(out, key=lambda record: record.order)


def _build(model: OpenModel, path: str, records: Sequence[_Record]) -> Sequences:
    if len(records) > _MOST_RECORDS:
        raise InputError(f"{path}: more than {_MOST_RECORDS} forms; shorten the list")
    if not records:
        raise InputError(f"{path} has no word forms")
    out = Sequences()
    for record in _merge(records):
        text = b" " + record.form
        misc = f"Freq={record.frequency:.17g}".encode()
        word = Word(1, len(text), -1, record.form, record.group, record.tag, b"", misc)
        tokens = encode_raw(model, text)
        n_ctx = model.info.n_ctx
        if len(tokens) > n_ctx:
            raise InputError(
                f"{path}:{record.line}: the form has {len(tokens)} tokens with <|endoftext|>, more "
                f"than the model's context of {n_ctx}"
            )
        out.all.append(SequenceOf(tokens, [Sentence.of_words(text, [word], record.line)]))
    return out


def _check_tokenizer(model: OpenModel) -> None:
    if not model.has_tokenizer:
        raise InputError(f"{model.no_tokenizer}; forms need a tokenizer")
