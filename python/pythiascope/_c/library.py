"""Finds and loads the shared library, once, at its first use.

Three places: the file that $PYTHIASCOPE_LIBRARY names; pythiascope/_native in an installed package;
build/release of the clone that holds this file.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

from ..errors import IOFailure, Unsupported, error_of
from . import structures

__all__ = [
    "VERSION",
    "call",
    "check",
    "library",
    "library_path",
    "native_folder",
    "source_folder",
    "take_text",
]

VERSION = "0.2.0"  # of this package; the library's must begin with the same two numbers
_NAME = "libpythiascope.dylib" if sys.platform == "darwin" else "libpythiascope.so"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_lock = threading.Lock()
_loaded: ctypes.CDLL | None = None


def native_folder() -> str:
    """The folder of an installed package's library and models; it need not exist."""
    return os.path.join(_PACKAGE, "_native")


def source_folder() -> str:
    """The folder of the clone, if this file lies in one; it need not be one."""
    return os.path.dirname(os.path.dirname(_PACKAGE))


def library_path() -> str:
    """The path of the shared library.

    Raises:
        IOFailure: There is none in any of the three places.
    """
    named = os.environ.get("PYTHIASCOPE_LIBRARY")
    if named:
        return named
    places = (native_folder(), os.path.join(source_folder(), "build", "release"))
    for place in places:
        path = os.path.join(place, _NAME)
        if os.path.exists(path):
            return path
    raise IOFailure(
        f"{_NAME} is neither in {places[0]} nor in {places[1]}; reinstall pythiascope, build the "
        "clone, or set PYTHIASCOPE_LIBRARY to its path"
    )


def _load() -> ctypes.CDLL:
    path = library_path()
    try:
        loaded = ctypes.CDLL(path)
    except OSError as error:
        raise IOFailure(f"the library {path} cannot be loaded: {error}") from None
    missing = structures.declare(loaded)
    if missing:
        raise Unsupported(
            f"the library {path} has no {missing[0]}; it is of another version than this package: "
            "rebuild or reinstall both"
        )
    version = loaded.psc_version().decode("ascii", "replace")
    if version.split(".")[:2] != VERSION.split(".")[:2]:
        raise Unsupported(
            f"the library {path} is version {version}, but this package is {VERSION}: rebuild or "
            "reinstall both"
        )
    return loaded


def library() -> Any:
    """The loaded library, with the prototypes of all functions declared."""
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _load()
    return _loaded


# What messages call temporary files, which users do not know.
SHOWN_AS: dict[str, str] = {}


def check(status: int, error: structures.psc_error) -> None:
    """Raises the exception of a status that is not PSC_OK, with the library's sentence."""
    if status != structures.PSC_OK:
        message = (error.message or b"").decode("utf-8", "replace")
        for hidden, shown in SHOWN_AS.items():
            message = message.replace(hidden, shown)
        raise error_of(status, message)


def call(name: str, *arguments: Any) -> None:
    """Calls a function whose last parameter is the error, and raises the error's exception."""
    error = structures.psc_error()
    status = getattr(library(), name)(*arguments, ctypes.byref(error))
    if status != structures.PSC_OK:
        check(status, error)


def take_text(pointer: ctypes.c_void_p, size: int = -1) -> bytes:
    """Copies bytes that the library returned, then frees them. size < 0: up to the 0 byte."""
    try:
        return ctypes.string_at(pointer, size)
    finally:
        library().psc_free(pointer)
