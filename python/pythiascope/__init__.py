"""pythiascope: an instrument for looking inside Pythia while it runs."""

from __future__ import annotations

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
from .model import Model
from .names import UnknownHook, get_act_name
from .slices import Slice

__all__ = [
    "ActivationCache",
    "Cancelled",
    "HookPoint",
    "IOFailure",
    "InputError",
    "Model",
    "OutOfMemory",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "Slice",
    "StateError",
    "UnknownHook",
    "Unsupported",
    "get_act_name",
]
__version__ = "0.2.0"
