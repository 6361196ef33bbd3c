"""pythiascope: an instrument for looking inside Pythia while it runs."""

from __future__ import annotations

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

__all__ = [
    "Cancelled",
    "IOFailure",
    "InputError",
    "Model",
    "OutOfMemory",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "StateError",
    "Unsupported",
]
__version__ = "0.2.0"
