"""A result as a small page for a notebook: no scripts, no files, every text escaped."""

from __future__ import annotations

import os
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arrays import Array
    from .results import Result

MOST_TOKENS = 256
MOST_ARRAYS = 64
MOST_TEXT = 40_000  # characters

_BOX = "font-family:sans-serif;font-size:13px"
_PRE = "font-size:12px;line-height:1.3;overflow-x:auto;max-height:32em"
_TOKEN = "border:1px solid #8884;border-radius:3px;padding:0 2px;margin:1px;white-space:pre"
_CELL = "text-align:left;padding:1px 8px"


def result_html(result: Result) -> str:
    """The headline, the tokens, the text of all sections and a table of the arrays."""
    parts = [_headline(result)]
    parts += [f"<p><i>{escape(note)}</i></p>" for note in result.notes]
    parts += [_tokens(result), _text(result), _arrays(result), _files(result)]
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def _headline(result: Result) -> str:
    run = result.run
    model = os.path.basename(run.model.rstrip("/")) or run.model
    threads = "1 thread" if run.threads == 1 else f"{run.threads} threads"
    what = f"pythiascope {run.version}, {run.isa}, {threads}"
    return (
        f"<p><b>{escape(', '.join(result.sections))}</b> &nbsp; {escape(model)} "
        f"<code>{escape(run.hash[:16])}</code> &nbsp; {escape(what)}</p>"
    )


def _tokens(result: Result) -> str:
    tokens = result.tokens
    if not tokens:
        return ""
    shown = "".join(
        f'<span style="{_TOKEN}" title="position {t.position}, id {t.id}">{_visible(t.text)}</span>'
        for t in tokens[:MOST_TOKENS]
    )
    more = len(tokens) - MOST_TOKENS
    return f"<p>{shown}{f' and {more} more' if more > 0 else ''}</p>"


def _visible(text: str) -> str:
    shown = "".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in text)
    return escape(shown.replace(" ", "·"))


def _text(result: Result) -> str:
    text = result.text(head=False)
    if len(text) > MOST_TEXT:
        text = text[:MOST_TEXT] + "\n… print(result) shows all of it"
    return f'<pre style="{_PRE}">{escape(text)}</pre>'


def _arrays(result: Result) -> str:
    arrays = list(result.arrays.values())
    rows = "".join(_array_row(array) for array in arrays[:MOST_ARRAYS])
    if not rows:
        return ""
    head = "".join(f'<th style="{_CELL}">{name}</th>' for name in ("array", "axes", "elements"))
    more = len(arrays) - MOST_ARRAYS
    rest = f"<p>and {more} more arrays</p>" if more > 0 else ""
    title = f"{len(arrays)} array{'' if len(arrays) == 1 else 's'}"
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f"<details><summary>{title}</summary>{table}{rest}</details>"


def _array_row(array: Array) -> str:
    axes = ", ".join(f"{dim} {n}" for dim, n in zip(array.dims, array.shape)) or "one number"
    cells = (array.name, axes, str(array.dtype))
    return "<tr>" + "".join(f'<td style="{_CELL}">{escape(c)}</td>' for c in cells) + "</tr>"


def _files(result: Result) -> str:
    if not result.files:
        return ""
    names = ", ".join(f"{name} ({len(data):,} bytes)" for name, data in result.files.items())
    return f"<p>files: {escape(names)}</p>"
