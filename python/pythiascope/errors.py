"""The exceptions of the package: one class per status of the C library.

Every message is one sentence: what is wrong, where, and what to do.
"""

from __future__ import annotations

__all__ = [
    "Cancelled",
    "IOFailure",
    "InputError",
    "OutOfMemory",
    "PluginError",
    "PythiascopeError",
    "PythiascopeWarning",
    "StateError",
    "Unsupported",
]


class PythiascopeError(Exception):
    """The base of all exceptions that the package raises on purpose."""


class InputError(PythiascopeError, ValueError):
    """A file, a field, an option or an argument is wrong."""


class IOFailure(PythiascopeError, OSError):
    """The system refused to open, read, write or rename a file."""


class OutOfMemory(PythiascopeError, MemoryError):
    """There is not enough memory, or a cap on memory was reached."""


class Unsupported(PythiascopeError):
    """The request is well formed but not supported: an instruction set, an architecture."""


class PluginError(PythiascopeError):
    """A plugin failed, broke a rule, or was built for another version."""


class StateError(PythiascopeError, RuntimeError):
    """The call is not allowed at this time: in a callback, after a close, after a fork."""


class Cancelled(PythiascopeError):
    """The caller asked a run to stop."""


class HostCallFailed(PythiascopeError):
    """A call of a Python plugin into its host failed; the library's error has the sentence."""


class PythiascopeWarning(UserWarning):
    """A note that does not end the work: a document was skipped, a token was added."""


# By the negated psc_status.
_CLASSES: tuple[type[PythiascopeError], ...] = (
    PythiascopeError,
    InputError,
    IOFailure,
    OutOfMemory,
    Unsupported,
    PluginError,
    StateError,
    Cancelled,
)


def error_of(status: int, message: str) -> PythiascopeError:
    """The exception for a psc_status and its sentence."""
    known = 0 < -status < len(_CLASSES)
    return (_CLASSES[-status] if known else PythiascopeError)(message)
