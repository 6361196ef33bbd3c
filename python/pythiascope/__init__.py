"""pythiascope: an instrument for looking inside Pythia while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arrays import Array
from .cache import ActivationCache
from .calls import HookPoint
from .errors import (
    Cancelled,
    InputError,
    IOFailure,
    OutOfMemory,
    PluginError,
    PythiascopeError,
    PythiascopeWarning,
    StateError,
    Unsupported,
)
from .interventions import ablate, knockout, patch, scale, steer
from .model import Model
from .names import UnknownHook, get_act_name
from .results import Result
from .slices import Slice

if TYPE_CHECKING:
    from .accumulators import accumulator
    from .corpus import merge
    from .host import Change, Host, Variant
    from .plugin import Plugin
    from .plugin_options import option
    from .step import Step

__all__ = [
    "ActivationCache",
    "Array",
    "Cancelled",
    "Change",
    "HookPoint",
    "Host",
    "IOFailure",
    "InputError",
    "Model",
    "OutOfMemory",
    "Plugin",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "Result",
    "Slice",
    "StateError",
    "Step",
    "UnknownHook",
    "Unsupported",
    "Variant",
    "ablate",
    "accumulator",
    "get_act_name",
    "knockout",
    "merge",
    "option",
    "patch",
    "scale",
    "steer",
]
__version__ = "0.2.0"

# Names whose modules load at their first use.
_LATER = {
    "Change": "host",
    "Host": "host",
    "Plugin": "plugin",
    "Step": "step",
    "Variant": "host",
    "accumulator": "accumulators",
    "merge": "corpus",
    "option": "plugin_options",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
