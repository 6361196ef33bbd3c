"""Plugins of a corpus as a caller gives them, and as state files record them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Union

from ..errors import InputError
from ..instruments.entries import given_plugin, parse_options, split_options
from ..instruments.tables import is_path
from ..runtime.session import Session
from .plugin import GivenObject, Plugin, as_plugin

# A name, "mlp" or "logits:level=head"; a path; (name, options); a Plugin object or class; a
# function with @accumulator.
PluginGiven = Union[
    str, "os.PathLike[str]", "tuple[Any, Mapping[str, object]]", Plugin, "type[Plugin]", Any
]

# Behind the name of a plugin written in Python, in a state file.
_PYTHON = " (Python)"


class _Loads(Protocol):
    def load(self, session: Session) -> None: ...


class Given:
    """One plugin to load.

    Attributes:
        text: As the program takes it, "logits:level=head"; state files record it.
    """

    def __init__(self, text: str, plugin: _Loads) -> None:
        self.text, self.plugin = text, plugin

    def load(self, session: Session) -> None:
        """Loads the plugin into a session."""
        self.plugin.load(session)


def _joined(name: str, options: Mapping[str, str]) -> str:
    """The text "name:key=value,..." with the escapes of values."""
    values = (value.replace("\\", "\\\\").replace(",", "\\,") for value in options.values())
    items = [f"{key}={value}" for key, value in zip(options, values)]
    return name + (":" + ",".join(items) if items else "")


def as_given(entry: PluginGiven) -> Given:
    """One plugin; InputError for what is none."""
    plugin = given_plugin(entry)
    if isinstance(entry, str):
        return Given(entry, plugin)
    if isinstance(plugin, GivenObject):
        return Given(_joined(plugin.table.name + _PYTHON, plugin.options), plugin)
    return Given(_joined(plugin.name, plugin.options), plugin)


def as_plugins(given: Iterable[PluginGiven]) -> list[Given]:
    """Several; one alone is an error, because a str is an iterable of characters."""
    if isinstance(given, (str, os.PathLike)) or not hasattr(given, "__iter__"):
        raise InputError("plugins is a list; put [ ] around the one plugin")
    if isinstance(given, Mapping):
        raise InputError("plugins is a list; pass options as (name, options)")
    return [as_given(entry) for entry in given]


class Trusted:
    """What a caller lets the state files of a corpus run: plugins written in Python, and files.

    A plugin's file is loaded only if the caller names it: a state file of a stranger runs no code.
    """

    def __init__(self, plugins: Iterable[PluginGiven]) -> None:
        self._objects: dict[str, list[Any]] = {}
        self._files: list[str] = []
        for entry in list(plugins):
            if isinstance(entry, (str, os.PathLike)) and is_path(os.fsdecode(entry)):
                self._files.append(os.fsdecode(entry))
                continue
            made = as_given(entry)
            if not isinstance(made.plugin, GivenObject):
                raise InputError(
                    f"the state files name the plugin {made.text}; pass only those written in "
                    "Python, and the paths of plugin files"
                )
            self._objects.setdefault(made.plugin.table.name, []).append(entry)

    def recorded(self, text: str) -> Given:
        """The plugin that a state file recorded.

        A class or a function gets the recorded options; an object has its own. A file is loaded
        from the path that the caller gave; the directories may differ.

        Raises:
            InputError: It is a file, or written in Python, and the caller did not name it.
        """
        name, mark, options = text.partition(_PYTHON)
        if not mark:
            return self._recorded_file(text)
        if not self._objects.get(name):
            raise InputError(f"it was made with the Python plugin {name}; pass it in plugins=[...]")
        entry = self._objects[name].pop(0)
        if isinstance(entry, (tuple, Plugin)):
            return as_given(entry)
        plugin = as_plugin(entry)
        plugin.options = plugin.plugin._given = parse_options(options[1:])
        return Given(text, plugin)

    def _recorded_file(self, text: str) -> Given:
        name, options = split_options(text)
        if not is_path(name):
            return as_given(text)
        for path in self._files:
            if os.path.basename(path) == os.path.basename(name):
                return as_given(f"{path}:{options}" if options else path)
        raise InputError(
            f"it was made with the plugin file {name}, which is loaded only if the caller names "
            f"it; if you trust that file, pass plugins=[{name!r}]"
        )
