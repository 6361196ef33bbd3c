"""Options of a plugin that is written in Python, as typed attributes of its class.

    class Norms(pythiascope.Plugin):
        centered: bool = option(False, "subtract each row's mean first")
        start: int = option(1, "the first position that counts", low=0, high=1 << 20)

The host checks the values before `open`, as those of every plugin. From then on the attribute has
the value: `self.centered`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

from .._c import structures as c
from ..errors import InputError

Number = Union[int, float]


class Rows(NamedTuple):
    """Which rows an event has: all, the last of each sequence, or positions begin <= p < end."""

    mode: int = c.PSC_ROWS_ALL
    begin: int = 0
    end: int = 0


# What a kind is called, the field that the host fills, and what it means in Python.
_KINDS: dict[str, tuple[int, Any]] = {
    "text": (c.PSC_OPTION_TEXT, ctypes.c_char_p),
    "word": (c.PSC_OPTION_WORD, ctypes.c_int32),
    "words": (c.PSC_OPTION_WORDS, ctypes.c_uint32),
    "yes_no": (c.PSC_OPTION_YES_NO, ctypes.c_int32),
    "count": (c.PSC_OPTION_COUNT, ctypes.c_int32),
    "number": (c.PSC_OPTION_NUMBER, ctypes.c_double),
    "rows": (c.PSC_OPTION_ROWS, c.psc_filter),
    "layer": (c.PSC_OPTION_LAYER, ctypes.c_int32),
    "layers": (c.PSC_OPTION_LAYERS, c.psc_range),
    "heads": (c.PSC_OPTION_HEADS, c.psc_range),
}
_MOST_COUNT = (1 << 31) - 2


def option_text(value: object) -> str:
    """An option's value as the host reads it: True is "yes", ["a", "b"] is "a+b"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, range):
        if value.step != 1 or not value:
            raise InputError(f"{value} is not a range of whole numbers with step 1")
        return f"{value.start}-{value.stop - 1}"
    if isinstance(value, (list, tuple)):
        return "+".join(option_text(one) for one in value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


class Option:
    """One option; `option` makes it. It is the attribute of its class."""

    def __init__(
        self,
        default: object,
        help: str,
        kind: str,
        low: Number,
        high: Number,
        words: tuple[str, ...],
    ) -> None:
        self.default, self.help, self.kind = default, help, kind
        self.low, self.high, self.words = low, high, words
        self.attribute = self.key = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name
        self.key = name[:-1] if name.endswith("_") else name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return instance.__dict__["_options"].get(self.key, self.default)

    def __set__(self, instance: Any, value: object) -> None:
        raise InputError(
            f"the option {self.key} is set when the plugin is made: "
            f"{type(instance).__name__}({self.attribute}=...)"
        )

    def describe(self, offset: int, keep: list[Any]) -> c.psc_option_description:
        """The entry of the host's table; `keep` receives what it points to."""
        out = c.psc_option_description()
        out.key = self.key.encode()
        out.default_value = option_text(self.default).encode()
        out.help = self.help.encode("utf-8", "replace")
        out.kind = _KINDS[self.kind][0]
        out.offset = offset
        out.low, out.high = float(self.low), float(self.high)
        if self.words:
            words = (ctypes.c_char_p * (len(self.words) + 1))(*(w.encode() for w in self.words))
            keep.append(words)
            out.words = words
        return out

    def value(self, field: Any) -> object:
        """The Python value of the field that the host filled."""
        if self.kind == "text":
            return (field or b"").decode("utf-8", "replace")
        if self.kind == "word":
            return self.words[field]
        if self.kind == "words":
            return tuple(word for i, word in enumerate(self.words) if field >> i & 1)
        if self.kind == "yes_no":
            return bool(field)
        if self.kind == "rows":
            return Rows(field.rows, field.row_begin, field.row_end)
        if self.kind in ("layers", "heads"):
            return range(field.first, field.first + field.n)
        return field


def _kind_of(default: object, words: tuple[str, ...]) -> str:
    if words:
        return "word" if isinstance(default, str) else "words"
    if isinstance(default, bool):
        return "yes_no"
    if isinstance(default, int):
        return "count"
    return "number" if isinstance(default, float) else "text"


def option(
    default: object,
    help: str = "",
    *,
    kind: str | None = None,
    low: Number | None = None,
    high: Number | None = None,
    words: Sequence[str] = (),
) -> Any:
    """An option of a plugin's class.

    `kind` follows from `default`: True or False is "yes_no", an int is "count" (a whole number),
    a float "number", a str "text"; with `words` a str is "word" (one of them) and a tuple is
    "words" (some of them). Others are given by name: "rows" (`Rows`; "auto" is the last row, over
    a corpus all), "layer", "layers" and "heads" (a range). `low` and `high` bound a count or a
    number, both included. An attribute `from_` is the option `from`.
    """
    chosen = tuple(words)
    name = kind or _kind_of(default, chosen)
    if name not in _KINDS:
        raise InputError(f"'{name}' is not a kind of option; the kinds are {', '.join(_KINDS)}")
    if name in ("word", "words") and not chosen:
        raise InputError(f"an option of kind '{name}' needs words=")
    whole = name == "count"
    least = low if low is not None else 0 if whole else -1.7e308
    most = high if high is not None else _MOST_COUNT if whole else 1.7e308
    return Option(default, help, name, least, most, chosen)


def options_of(owner: type) -> dict[str, Option]:
    """The options of a class and its bases, by attribute, in the order of their definition."""
    found: dict[str, Option] = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Option):
                found[name] = value
            else:
                found.pop(name, None)
    return found


class OptionTable:
    """The options of one plugin in the host's form."""

    def __init__(self, options: Iterable[Option]) -> None:
        self.options = list(options)
        self.keep: list[Any] = []
        self.array = (c.psc_option_description * (len(self.options) + 1))()
        self._size = 0
        self._offsets: list[int] = []
        for i, one in enumerate(self.options):
            entry = one.describe(self._size, self.keep)
            self.keep.append(entry)
            self.array[i] = entry
            self._offsets.append(self._size)
            self._size += (ctypes.sizeof(_KINDS[one.kind][1]) + 7) // 8 * 8

    def memory(self) -> ctypes.Array[ctypes.c_char]:
        """The structure that the host fills."""
        return (ctypes.c_char * max(self._size, 1))()

    def values(self, filled: ctypes.Array[ctypes.c_char]) -> dict[str, object]:
        """The Python values of what the host filled, by key."""
        out = {}
        for one, offset in zip(self.options, self._offsets):
            field = _KINDS[one.kind][1].from_buffer(filled, offset)
            out[one.key] = one.value(getattr(field, "value", field))
        return out


def given_options(owner: type, values: Mapping[str, object]) -> dict[str, str]:
    """Keyword arguments of a plugin's class as keys and texts for the host."""
    known = options_of(owner)
    out = {}
    for name, value in values.items():
        found = known.get(name) or known.get(name + "_")
        if found is None:
            names = ", ".join(known) or "none"
            raise InputError(f"{owner.__name__} has no option '{name}'; its options are {names}")
        out[found.key] = option_text(value)
        if "\0" in out[found.key]:
            raise InputError(f"the option {name} contains a 0 character; leave it out")
    return out
