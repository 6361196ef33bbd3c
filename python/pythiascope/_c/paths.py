"""Paths as the C library takes them."""

from __future__ import annotations

import os
from typing import Any, Union

from ..errors import InputError

__all__ = ["Path", "path_bytes"]

Path = Union[str, "os.PathLike[str]"]


def path_bytes(path: Any) -> bytes:
    """A path in the system's bytes.

    Raises:
        InputError: It is neither a str nor a pathlib.Path, or no file can have it.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a path is a str or a pathlib.Path, not {type(path).__name__}")
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raise InputError(f"{path!r} is not a path: it has a lone surrogate") from None
    if b"\0" in raw:
        raise InputError(f"{path!r} is not a path: it has a 0 character")
    return raw
