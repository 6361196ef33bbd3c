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
    from .accumulator import accumulator
    from .corpus import merge
    from .plugin import Plugin
    from .plugin_options import option
    from .step import Step

__all__ = [
    "ActivationCache",
    "Array",
    "Cancelled",
    "HookPoint",
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

# Names whose modules are loaded at their first use.
_LATER = {
    "Plugin": "plugin",
    "Step": "step",
    "accumulator": "accumulator",
    "merge": "corpus",
    "option": "plugin_options",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'pythiascope' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"pythiascope.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
