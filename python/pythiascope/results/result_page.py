"""A result as a page for a browser, and as such a page in a notebook."""

from __future__ import annotations

import ctypes
import os
from html import escape
from typing import TYPE_CHECKING, Any

from .._c import structures as c
from .._c.paths import path_bytes
from ..checks import whole
from ..errors import InputError, Unsupported

if TYPE_CHECKING:
    from .results import Result

NOTEBOOK_BYTES = 250_000  # of the data in a notebook's page
MOST_TEXT = 40_000  # characters of the text below it
_MOST_BYTES = 1 << 40
_HEIGHT = "40em"


def page_options(
    beside: Result | None, label: str, beside_label: str, command: str, page_bytes: int
) -> dict[str, Any]:
    """The members of psc_format_options."""
    from ..runtime.tokens import c_text

    options: dict[str, Any] = {"page_bytes": whole("page_bytes", page_bytes, 0, _MOST_BYTES)}
    if beside is not None:
        if not hasattr(beside, "_reader"):
            raise InputError(f"beside is {beside!r}; pass a Result")
        if not label and not beside_label:
            label, beside_label = "this result", "the result beside it"
        options["beside"] = beside._reader.owner.pointer.value
        options["beside_label"] = c_text(beside_label)
    options["label"], options["command"] = c_text(label), c_text(command)
    return {name: value for name, value in options.items() if value}


def write_page(result: Result, path: Any, options: dict[str, Any]) -> None:
    """Writes the page to a file, which is replaced whole or not at all."""
    how, where = ctypes.byref(c.psc_format_options(**options)), path_bytes(path)
    reader = result._reader
    pointer = reader.owner.pointer
    reader.call("psc_results_write_file", pointer, c.PSC_FORMAT_HTML, how, where)


def notebook_page(result: Result) -> str:
    """The page in a frame of its own, which can neither see nor change the notebook.

    The result's text lies behind it, for viewers that show no frame. Where the library was built
    without the page, it is the small page without scripts.
    """
    from .result_html import result_html

    try:
        page = result.to_html(page_bytes=NOTEBOOK_BYTES)
    except Unsupported:
        return result_html(result)
    text = result.text(head=True)
    if len(text) > MOST_TEXT:
        text = text[:MOST_TEXT] + "\n… print(result) shows all of it"
    notes = "".join(f"<p><i>{escape(note)}</i></p>" for note in result.notes)
    place = f"grid-area:1/1;width:100%;height:{_HEIGHT};box-sizing:border-box"
    return (
        f'{notes}<div style="display:grid">'
        f'<pre style="{place};margin:0;overflow:hidden">{escape(text)}</pre>'
        f'<iframe style="{place};border:1px solid #8884;background:Canvas" '
        f'sandbox="allow-scripts allow-downloads" title="{escape(_title(result))}" '
        f"srcdoc={_quoted(page)}></iframe></div>"
    )


def _title(result: Result) -> str:
    run = result.run
    model = os.path.basename(run.model.rstrip("/")) or run.model
    return f"pythiascope: {', '.join(result.sections)}; {model}"


def _quoted(page: str) -> str:
    """The page as an attribute's value, in the quotes that need fewer escapes."""
    page = page.replace("&", "&amp;")
    if page.count('"') > page.count("'"):
        return "'" + page.replace("'", "&#39;") + "'"
    return '"' + page.replace('"', "&quot;") + '"'
