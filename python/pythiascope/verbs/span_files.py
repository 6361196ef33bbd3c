"""Texts with labelled spans, from a JSONL file, as sentences whose words are the spans.

One line is {"text": "...", "spans": [{"start": 0, "end": 4, "label": "...", "task": "..."}]}, start
and end in bytes of the UTF-8 text, the end excluded. A span becomes a word with the feature
task=label.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from typing import Any

from ..errors import InputError, IOFailure
from .sentences import Sentence, Word

_MOST_LINE, _MOST_LABEL, _MOST_TASKS = 16 << 20, 127, 16
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")


def is_spans_file(path: str) -> bool:
    """Whether a path ends in .jsonl."""
    return path.endswith(".jsonl") and len(path) > len(".jsonl")


def read_spans(path: str) -> tuple[list[Sentence], list[str]]:
    """The sentences that have spans, and the tasks in the order of their first use.

    InputError names the file and line of a fault.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is not a regular file")
    sentences: list[Sentence] = []
    tasks: dict[str, None] = {}
    try:
        with open(path, "rb") as file:
            if file.read(3) != codecs.BOM_UTF8:
                file.seek(0)
            for number, line in enumerate(file, 1):
                sentence = _read_line(f"{path}:{number}", number, line, tasks)
                if sentence is not None:
                    sentences.append(sentence)
    except OSError as error:
        raise IOFailure(f"cannot open {path}: {error.strerror}") from None
    if not sentences:
        raise InputError(f"{path} has no spans")
    return sentences, list(tasks)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate object key")
    return dict(pairs)


def _read_line(where: str, number: int, line: bytes, tasks: dict[str, None]) -> Sentence | None:
    line = line.removesuffix(b"\n")
    if len(line) > _MOST_LINE:
        raise InputError(f"{where}: the line is longer than 16 MiB")
    if not line.strip():
        return None
    try:
        found = json.loads(line.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    text, spans = (found.get("text"), found.get("spans")) if isinstance(found, dict) else (0, 0)
    if not isinstance(text, str) or not isinstance(spans, list):
        raise InputError(f'{where}: a line needs {{"text": "...", "spans": [...]}}')
    if not spans:
        return None
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: not JSON: a lone surrogate") from None
    if b"\0" in raw:
        raise InputError(f"{where}: not JSON: the text has a 0 character")
    taken = sorted(_take_span(where, raw, span, tasks) for span in spans)
    words = [
        Word(start, end, 0 if i else -1, feats=task + b"=" + label)
        for i, (start, end, task, label) in enumerate(taken)
    ]
    return Sentence.of_words(raw, words, number)


def _take_span(
    where: str, raw: bytes, span: Any, tasks: dict[str, None]
) -> tuple[int, int, bytes, bytes]:
    given: dict[str, Any] = span if isinstance(span, dict) else {}
    start, end, label = given.get("start"), given.get("end"), given.get("label")
    task = given.get("task", "label")
    if type(start) is not int or type(end) is not int:
        raise InputError(f'{where}: a span needs the whole numbers "start" and "end"')
    if not isinstance(label, str) or not label or "|" in label or "\0" in label:
        raise InputError(f'{where}: a span needs a "label", a text without |')
    if len(label.encode()) > _MOST_LABEL:
        raise InputError(f"{where}: a span's label is longer than 127 bytes")
    if not isinstance(task, str) or not _NAME.fullmatch(task):
        raise InputError(f'{where}: a span\'s "task" needs 1 to 63 letters, digits, _ or -')
    if not 0 <= start < end <= len(raw):
        raise InputError(f"{where}: a span needs 0 <= start < end <= the bytes of the text")
    if any(place < len(raw) and raw[place] & 0xC0 == 0x80 for place in (start, end)):
        raise InputError(f"{where}: a span begins or ends inside a character; count bytes of UTF-8")
    tasks.setdefault(task)
    if len(tasks) > _MOST_TASKS:
        raise InputError(f"{where}: the spans have more than 16 tasks")
    return start, end, task.encode(), label.encode()
