"""When a plugin written in Python may use its host, and how it calls the host's table.

A host is usable in the callbacks of its plugin only, on their thread; anywhere else every method
raises StateError. A call that fails ends the run; its exception passes through the plugin.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy.typing as npt

from ..checks import whole
from ..errors import HostCallFailed, InputError, PluginError, StateError
from ..hooks.names import Names

_LIMITS: dict[Any, tuple[int, int]] = {
    ctypes.c_int32: (-(2**31), 2**31 - 1),
    ctypes.c_int64: (-(2**63), 2**63 - 1),
    ctypes.c_uint64: (0, 2**64 - 1),
}


class ModelInfo(NamedTuple):
    """The model's shape, as psc_model_info; gelu is 0 with erf, 1 in the tanh form."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    rotary_dims: int
    parallel_residual: bool
    tied: bool
    layer_norm_eps: float
    hash: str
    path: str
    gelu: int


def text_of(value: bytes | None) -> str:
    """A text of the C library; "" for none."""
    return (value or b"").decode("utf-8", "replace")


def encoded(value: str, what: str) -> bytes:
    """UTF-8 with an end; a 0 character in it would cut it."""
    if not isinstance(value, str):
        raise InputError(f"{what} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise InputError(f"{what} contains a 0 character; leave it out")
    return value.encode("utf-8", "replace")


def address_of(array: npt.NDArray[Any]) -> int:
    """Where the array's first element is."""
    return int(array.ctypes.data)


class HostBase:
    """The context of one plugin instance, and when it may be used."""

    def __init__(self, name: str, guard: Callable[..., int]) -> None:
        self.plugin_name = name
        self._guard = guard  # calls a function in a callback; nonzero when it raised
        self._names: Names | None = None
        self._context: Any = None
        self._table: Any = None
        self._functions: dict[str, Any] = {}
        self._depth = 0
        self._place = (0, 0)  # process and thread of the callback
        self._info: ModelInfo | None = None

    def _attach(self, context: Any, table: Any) -> None:
        self._context, self._table = context, table

    def _detach(self) -> None:
        self._context = self._table = None
        self._functions.clear()

    def __enter__(self) -> HostBase:
        self._depth += 1
        self._place = (os.getpid(), threading.get_ident())
        return self

    def __exit__(self, *unused: object) -> None:
        self._depth -= 1

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._depth == 0 or self._context is None:
            raise StateError(
                f"host.{name} was called outside the callbacks of plugin {self.plugin_name}"
            )
        if self._place != (os.getpid(), threading.get_ident()):
            raise StateError(f"host.{name} was called on another thread or in another process")
        found = self._functions.get(name)
        if found is None:
            function = getattr(self._table.contents, name)
            limits = tuple(_LIMITS.get(kind) for kind in type(function)._argtypes_[1:])
            found = self._functions[name] = (function, limits)
        function, limits = found
        # ctypes would cut a large number to size.
        given = [
            value if limit is None else whole(f"an argument of host.{name}", value, *limit)
            for value, limit in zip(arguments, limits)
        ]
        try:
            return function(self._context, *given)
        except ctypes.ArgumentError as error:
            raise InputError(f"host.{name}: {error}") from None

    def _check(self, name: str, *arguments: Any) -> None:
        if self._call(name, *arguments) != 0:
            raise HostCallFailed(f"plugin {self.plugin_name}: host.{name} failed")

    def _pointer(self, name: str, *arguments: Any) -> Any:
        found = self._call(name, *arguments)
        if not found:
            raise HostCallFailed(f"plugin {self.plugin_name}: host.{name} failed")
        return found

    def fail(self, sentence: str) -> NoReturn:
        """Ends the run with a PluginError; raising any exception does so, too."""
        raise PluginError(f"plugin {self.plugin_name}: {sentence}")

    def _hook_names(self) -> Names:
        if self._names is None:
            self._names = Names(self.model.n_layers, self.model.parallel_residual)
        return self._names

    @property
    def model(self) -> ModelInfo:
        """The model's shape and hash."""
        if self._info is None:
            raw = self._call("model").contents
            values = {field: getattr(raw, field) for field in ModelInfo._fields}
            values["parallel_residual"] = bool(raw.parallel_residual)
            values["tied"] = bool(raw.tied)
            values["hash"], values["path"] = text_of(raw.hash), text_of(raw.path)
            self._info = ModelInfo(**values)
        return self._info
