"""pythiascope: an instrument for looking inside Pythia while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._c.library import VERSION
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
from .hooks.cache import ActivationCache
from .hooks.calls import HookPoint
from .hooks.names import UnknownHook, get_act_name
from .hooks.slices import Slice
from .instruments.interventions import ablate, direction, knockout, patch, scale, steer
from .model import Model
from .results.arrays import Array
from .results.results import Result
from .runtime.metric import Metric
from .runtime.pairs import Pairs
from .runtime.scoring import Score

if TYPE_CHECKING:
    from .corpora.corpus import merge
    from .plugins.accumulators import accumulator
    from .plugins.host import Host
    from .plugins.host_variants import Change, Variant
    from .plugins.plugin import Plugin
    from .plugins.plugin_options import option
    from .plugins.step import Step
    from .results.result_folder import read_folder
    from .runtime.checkpoints import checkpoints

__all__ = [
    "ActivationCache",
    "Array",
    "Cancelled",
    "Change",
    "HookPoint",
    "Host",
    "IOFailure",
    "InputError",
    "Metric",
    "Model",
    "OutOfMemory",
    "Pairs",
    "Plugin",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "Result",
    "Score",
    "Slice",
    "StateError",
    "Step",
    "UnknownHook",
    "Unsupported",
    "Variant",
    "ablate",
    "accumulator",
    "checkpoints",
    "direction",
    "get_act_name",
    "knockout",
    "merge",
    "option",
    "patch",
    "read_folder",
    "scale",
    "steer",
]
__version__ = VERSION

# Names whose modules load at their first use.
_LATER = {
    "Change": "plugins.host_variants",
    "Host": "plugins.host",
    "Plugin": "plugins.plugin",
    "Step": "plugins.step",
    "Variant": "plugins.host_variants",
    "accumulator": "plugins.accumulators",
    "checkpoints": "runtime.checkpoints",
    "merge": "corpora.corpus",
    "option": "plugins.plugin_options",
    "read_folder": "results.result_folder",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        from .habits import hint_of_package

        hint = hint_of_package(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
