"""Plugins as a caller gives them: names, paths, objects, and functions that accumulate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

from .accumulator import AccumulatorFunction
from .errors import InputError
from .host_base import encoded
from .plugin import Instance, Plugin
from .plugin_options import option_text

if TYPE_CHECKING:
    from .session import Session

PluginGiven = Union[
    str,
    "os.PathLike[str]",
    "tuple[Union[str, os.PathLike[str]], Mapping[str, object]]",
    Plugin,
    "type[Plugin]",
    AccumulatorFunction,
]

# Behind the name of a plugin written in Python, where a state file records the plugins.
_PYTHON = " (Python)"


class Given:
    """One plugin to load.

    Attributes:
        text: As the program takes it, "logits:level=head"; state files record it.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def load(self, session: Session) -> None:
        """Loads the plugin into a session."""
        name, options = split(self.text)
        session.guarded(
            "psc_session_plugin",
            os.fsencode(name),
            encoded(options, "an option") if options else None,
        )


class GivenObject(Given):
    """A plugin written in Python."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__(_joined(plugin.name + _PYTHON, plugin._given))
        self.plugin = plugin

    def load(self, session: Session) -> None:
        """Opens the plugin in a session; StateError while another session uses it."""
        Instance(self.plugin, session).load(session)


def split(text: str) -> tuple[str, str]:
    """Name and options of "name:key=value,...": they begin at the first ':' before a "key="."""
    found = re.search(r":(?=[A-Za-z0-9_-]+=)", text)
    at = found.start() if found else -1 if "/" in text else text.find(":")
    return (text, "") if at < 0 else (text[:at], text[at + 1 :])


def _joined(name: str, options: Mapping[str, object]) -> str:
    """ "name:key=value,..." with the escapes of values."""
    if not options:
        return name
    items = []
    for key, value in options.items():
        if not isinstance(key, str):
            raise InputError(f"plugin {name}: the option {key!r} is not a str")
        text = option_text(value).replace("\\", "\\\\").replace(",", "\\,")
        items.append(f"{key}={text}")
    joined = f"{name}:{','.join(items)}"
    if split(joined)[0] != name:
        raise InputError(f"the plugin {name} has ':' in its name, which hides its options; rename it")
    return joined


def _path(given: os.PathLike[str]) -> str:
    path = os.fspath(given)
    if not isinstance(path, str):
        raise InputError("a plugin's path is a str or a pathlib.Path, not bytes")
    if "/" not in path:
        path = "./" + path
    if split(path)[0] != path:
        raise InputError(f"the plugin {path} has ':' in its name, as options have; rename it")
    return path


def _object(given: Any, options: Mapping[str, object] | None) -> Plugin | None:
    if isinstance(given, AccumulatorFunction):
        given = given.plugin
    if isinstance(given, type) and issubclass(given, Plugin):
        return given(**(options or {}))
    if isinstance(given, Plugin):
        if options:
            raise InputError(f"give options when you make the plugin: {type(given).__name__}(...)")
        return given
    return None


def as_plugin(given: PluginGiven) -> Given:
    """A plugin as a caller gives it.

    Args:
        given: A built-in's name, "mlp"; a name with options, "logits:level=head" or ("logits",
            {"level": "head"}); the path of a shared object, "./mine.so" or a Path, with or without
            options; a Plugin object or class; or a function with @accumulator.

    Raises:
        InputError: It is none of these.
    """
    options: Mapping[str, object] | None = None
    one: Any = given
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], Mapping):
        one, options = one
    plugin = _object(one, options)
    if plugin is not None:
        return GivenObject(plugin)
    if isinstance(one, os.PathLike):
        return Given(_joined(_path(one), options or {}))
    if isinstance(one, str):
        return Given(one if options is None else _joined(one, options))
    what = getattr(one, "__name__", type(one).__name__)
    hint = "; put @pythiascope.accumulator(...) above the function" if callable(one) else ""
    raise InputError(
        f"{what} is not a plugin; pass a name, a path, (name, options), or a Plugin{hint}"
    )


def as_plugins(given: Iterable[PluginGiven]) -> list[Given]:
    """Several; one alone is an error, because a str is an iterable of characters."""
    if isinstance(given, (str, os.PathLike, Plugin, AccumulatorFunction, type)):
        raise InputError("plugins is a list; put [ ] around the one plugin")
    return [as_plugin(one) for one in given]


def recorded(text: str, objects: dict[str, list[Any]]) -> Given:
    """The plugin that a state file recorded; `objects` has those written in Python, by name."""
    name, options = split(text)
    if not name.endswith(_PYTHON):
        return Given(text)
    name = name[: -len(_PYTHON)]
    if not objects.get(name):
        raise InputError(f"it was made with the Python plugin {name}; pass it in plugins=[...]")
    plugin = objects[name].pop(0)
    made = _object(plugin, None)
    assert made is not None
    if plugin is not made and options:
        made._given = dict(_items(options))
    return GivenObject(made)


def _items(options: str) -> Iterable[tuple[str, str]]:
    for item in re.findall(r"(?:\\.|[^,\\])+", options):
        key, _, value = item.partition("=")
        yield key, re.sub(r"\\([,\\])", r"\1", value)
