"""pythiascope: an instrument for looking inside Pythia while it runs."""

from __future__ import annotations

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

__all__ = [
    "ActivationCache",
    "Array",
    "Cancelled",
    "HookPoint",
    "IOFailure",
    "InputError",
    "Model",
    "OutOfMemory",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "Result",
    "Slice",
    "StateError",
    "UnknownHook",
    "Unsupported",
    "ablate",
    "get_act_name",
    "knockout",
    "patch",
    "scale",
    "steer",
]
__version__ = "0.2.0"
