"""A plugin with options before it is loaded: by name, by path, or as an object to call.

"logits:level=head"    ("logits", {"level": "head"})    Path("./libmine.so")    an Instrument
"""

from __future__ import annotations

import keyword
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .options import default_of, option_texts
from .tables import Table, find_table

if TYPE_CHECKING:
    from ..results.results import Result
    from ..runtime.session import Session
    from ..runtime.tokens import Input
    from .running import Instrumented

# The arguments that every method over a text has besides its plugin's options, and their defaults.
SHARED: dict[str, Any] = {
    "target": None,
    "contrast": None,
    "interventions": (),
    "source": (),
    "prepend_bos": False,
}
EDITORS = ("ablate", "scale", "steer", "knockout", "patch", "direction")


def parameter_of(table: Table, key: str) -> str:
    """The name of an option as a keyword argument: another one where a method has it already."""
    name = key.replace("-", "_")
    if name in (*SHARED, "self", "text", "capture"):
        return f"{table.name.replace('-', '_')}_{name}"
    return name + "_" if keyword.iskeyword(name) else name


class Given:
    """A plugin with its options, before it is loaded into a session."""

    def __init__(self, table: Table, name: str, options: Mapping[str, str]) -> None:
        self.table, self.name, self.options = table, name, dict(options)

    @property
    def needs_bos(self) -> bool:
        """Whether every sequence must begin with the beginning-of-text token."""
        return self.table.needs_bos

    def load(self, session: Session) -> None:
        """Loads the plugin; its section is `table.name`."""
        session.plugin(self.name, self.options)


class Instrument:
    """A plugin of a model, with options. Calling it with a text runs it and returns a Result.

    ``model.plugin("./libmine.so", key=1)`` makes one, and ``model.NAME`` of a built-in plugin that
    has no method yet. Other keyword arguments are target, contrast, interventions, source and
    prepend_bos, as those of every method.
    """

    def __init__(self, model: Instrumented, given: Given) -> None:
        self._model, self.given = model, given

    @property
    def table(self) -> Table:
        """The plugin's name, summary and options."""
        return self.given.table

    def __call__(self, text: Input, **arguments: Any) -> Result:
        """Runs the plugin over a text, ids, or a list of either."""
        shared = {key: arguments.pop(key) for key in SHARED if key in arguments}
        options = {**self.given.options, **keyword_texts(self.table, arguments)}
        given = Given(self.table, self.given.name, options)
        return self._model._run_one(text, given, shared)

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.given.options.items())
        return f"<Instrument {self.table.name}{options}: {self.table.summary}>"


def keyword_texts(table: Table, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Keyword arguments as the options' texts; InputError for one that the plugin lacks."""
    keys = {parameter_of(table, option.key): option.key for option in table.options}
    return option_texts(table, {keys.get(name, name): v for name, v in arguments.items()})


def make_instrument(model: Instrumented, given: Given) -> Instrument:
    """An Instrument whose class has the plugin's help, so that help() and ? show it."""
    table = given.table
    methods = {"__doc__": table.help(), "__signature__": _signature(table)}
    made: Instrument = type("Instrument", (Instrument,), methods)(model, given)
    return made


def _signature(table: Table) -> Any:
    import inspect

    kind = inspect.Parameter.KEYWORD_ONLY
    defaults = {parameter_of(table, o.key): default_of(o) for o in table.options}
    defaults.update(SHARED)
    names = [inspect.Parameter("text", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    names += [inspect.Parameter(name, kind, default=v) for name, v in defaults.items()]
    return inspect.Signature(names)


def given_plugin(entry: Any) -> Any:
    """An entry of plugins=[...], ready to be loaded.

    A name or path, "NAME:key=value,...", (name, options), an Instrument, or a plugin written in
    Python.
    """
    if isinstance(entry, Given):
        return entry
    if isinstance(entry, Instrument):
        return entry.given
    options: Mapping[str, Any] = {}
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
        entry, options = entry
    if isinstance(entry, os.PathLike):
        entry = os.fspath(entry)
    if not isinstance(entry, str):
        from ..plugins.plugin import as_plugin

        return as_plugin(entry, options)
    name, text = split_options(entry)
    table = find_table(name)
    return Given(table, name, {**parse_options(text), **keyword_texts(table, options)})


def split_options(argument: str) -> tuple[str, str]:
    """The name and the options: they start at the first colon that "key=" follows."""
    at = argument.find(":")
    while at >= 0:
        key, equals, _ = argument[at + 1 :].partition("=")
        if equals and key and all(ch.isascii() and (ch.isalnum() or ch in "_-") for ch in key):
            return argument[:at], argument[at + 1 :]
        at = argument.find(":", at + 1)
    if "/" in argument or ":" not in argument:
        return argument, ""
    name, _, rest = argument.partition(":")
    return name, rest


def parse_options(text: str) -> dict[str, str]:
    r"""Options as on the command line: "key=value,key=value"; "\," is a comma, "\\" a backslash."""
    options: dict[str, str] = {}
    items: list[str] = []
    item, i = "", 0
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in (",", "\\"):
            item, i = item + text[i + 1], i + 2
        elif text[i] == ",":
            items, item, i = [*items, item], "", i + 1
        else:
            item, i = item + text[i], i + 1
    for one in [*items, item] if text else []:
        key, equals, value = one.partition("=")
        if not equals or key in options:
            fault = "is given twice" if equals else "is not of the form key=value"
            raise InputError(f"the option {one!r} {fault}; write NAME:key=value,key=value")
        options[key] = value
    return options


def given_texts(table: Table, options: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the options that are not the default, so that a result names defaults alike."""
    keys = {parameter_of(table, option.key): option for option in table.options}
    given = {
        keys[name].key: value
        for name, value in options.items()
        if value is not None and not _same(value, default_of(keys[name]))
    }
    return option_texts(table, given)


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
