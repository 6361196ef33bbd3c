"""The option tables of plugins: what each option is called, takes and means.

The C runtime has one table per plugin. The methods of instruments.py, their docstrings, the checks
of interventions and the help of a plugin that is loaded from a file are made from it.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, NamedTuple

from .._c import structures as c
from .._c.library import check, library
from .._c.paths import path_bytes
from ..errors import InputError


class Option(NamedTuple):
    """An option of a plugin, as psc_option_description has it."""

    key: str
    default: str
    help: str
    kind: int
    low: float
    high: float
    words: tuple[str, ...]

    @property
    def takes(self) -> str:
        """The values that it takes, for a message: "one of zero, mean, patch"."""
        if self.kind == c.PSC_OPTION_WORD:
            return f"one of {', '.join(self.words)}"
        if self.kind == c.PSC_OPTION_WORDS:
            return f"one or more of {', '.join(self.words)}, as a list or joined by +"
        if self.kind in (c.PSC_OPTION_COUNT, c.PSC_OPTION_NUMBER):
            what = "a whole number" if self.kind == c.PSC_OPTION_COUNT else "a number"
            low, high = self.low > -1e38, self.high < 2147483646
            if not low:
                return what
            span = f"{self.low:.10g} to {self.high:.10g}" if high else f"at least {self.low:.10g}"
            return f"{what}, {span}"
        return _TAKES[self.kind]


_TAKES = {
    c.PSC_OPTION_TEXT: "a text",
    c.PSC_OPTION_YES_NO: "True or False",
    c.PSC_OPTION_ROWS: '"last", "all", "auto", a position, or a range of positions',
    c.PSC_OPTION_LAYER: "a layer",
    c.PSC_OPTION_LAYERS: '"none", "all", "auto", a layer, or a range of layers',
    c.PSC_OPTION_HEADS: '"all", a head, or a range of heads',
}


class Table(NamedTuple):
    """A plugin's name, summary, hook points and options."""

    name: str
    version: str
    summary: str
    points: str
    options: tuple[Option, ...]
    needs_bos: bool

    def option(self, key: str) -> Option:
        """An option by its key; InputError with the known keys when there is none."""
        for option in self.options:
            if option.key == key:
                return option
        known = ", ".join(option.key for option in self.options)
        has = f"its options are {known}" if known else "it takes no options"
        raise InputError(f"plugin {self.name} has no option '{key}'; {has}")

    def help(self) -> str:
        """The table as a text: the summary, each option with its values and default, the points."""
        import textwrap

        lines = [sentence(self.summary), ""]
        for option in self.options:
            lines.append(f"{option.key}: {option.takes}; default {option.default or 'none'}.")
            lines += textwrap.wrap(
                sentence(option.help), 92, initial_indent="    ", subsequent_indent="    "
            )
        if self.needs_bos:
            lines += ["", "<|endoftext|> is put in front of a text."]
        if self.points:
            lines += ["", *textwrap.wrap(f"Hook points: {self.points}.", 96)]
        return "\n".join(lines)


def sentence(text: str, *, capital: bool = True) -> str:
    """A help text as a sentence: one line, with a full stop."""
    text = " ".join(text.split())
    first = text[:1].upper() if capital else text[:1]
    return first + text[1:] + ("" if text.endswith(".") else ".") if text else ""


def _read_option(o: c.psc_option_description) -> Option:
    words: list[str] = []
    while o.words and o.words[len(words)] is not None:
        words.append(_text(o.words[len(words)]))
    return Option(
        _text(o.key), _text(o.default_value), _text(o.help), o.kind, o.low, o.high, tuple(words)
    )


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def read_table(plugin: Any) -> Table:
    """The table of a C psc_plugin, by its pointer."""
    p = plugin.contents
    options: list[Option] = []
    while p.options and p.options[len(options)].key is not None:
        options.append(_read_option(p.options[len(options)]))
    needs_bos = bool(library().psc_plugin_needs_bos(plugin))
    name, version, summary, points = map(_text, (p.name, p.version, p.summary, p.points))
    return Table(name, version, summary, points, tuple(options), needs_bos)


_builtin: dict[str, Table] = {}


def builtin_tables() -> dict[str, Table]:
    """The tables of all built-in plugins, by name, in their order."""
    if not _builtin:
        api: Any = library()
        found = (read_table(api.psc_builtin(i)) for i in range(api.psc_builtin_count()))
        _builtin.update({table.name: table for table in found})
    return _builtin


def is_path(name: str) -> bool:
    """Whether a plugin's name is the path of a shared object, as the C runtime decides it."""
    return "/" in name or name.endswith((".so", ".dylib"))


def find_table(name: str | os.PathLike[str]) -> Table:
    """The table of a built-in plugin, or of a shared object by its path.

    InputError for an unknown name, PluginError for a file that is not a plugin.
    """
    name = os.fsdecode(path_bytes(name))
    tables = builtin_tables()
    if not is_path(name):
        if name in tables:
            return tables[name]
        known = ", ".join(tables)
        raise InputError(
            f"there is no built-in plugin '{name}'; the plugins are {known}; "
            "a plugin of your own is named by its path, such as ./libmine.so"
        )
    return _load_table(name)


def _load_table(path: str) -> Table:
    api: Any = library()
    handle, plugin, error = ctypes.c_void_p(), ctypes.c_void_p(), c.psc_error()
    where = ctypes.byref(handle), ctypes.byref(plugin), path_bytes(path), ctypes.byref(error)
    check(api.psc_plugin_load(*where), error)
    try:
        return read_table(ctypes.cast(plugin, ctypes.POINTER(c.psc_plugin)))
    finally:
        api.psc_plugin_unload(ctypes.byref(handle))
