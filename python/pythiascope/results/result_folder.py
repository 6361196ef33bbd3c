"""Results that a folder holds, of an earlier run."""

from __future__ import annotations

import ctypes
import os

from .._c import structures as c
from .._c.library import check, library
from .._c.paths import path_bytes
from .results import Result


def read_folder(path: str | os.PathLike[str]) -> Result:
    """The result in a folder that ``result.save`` or the program's ``--out`` wrote.

    It needs no model. Its arrays, text, JSON and page are those of the result that was saved; the
    plugins' files are not read. A folder of an older version has no summary in its text.

    Args:
        path: The folder, which may come from anywhere: what is in it is checked.

    Raises:
        InputError: The folder's results.json or tensors.safetensors is not what pythiascope writes.
        IOFailure: One of the two cannot be read.
    """
    from ..runtime.session import OwnedResults

    pointer, where, error = ctypes.c_void_p(), path_bytes(path), c.psc_error()
    found = library().psc_results_read_folder(ctypes.byref(pointer), where, ctypes.byref(error))
    check(found, error)
    return Result(OwnedResults(pointer, None))
