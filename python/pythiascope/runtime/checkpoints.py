"""The training steps of a model that are on this machine."""

from __future__ import annotations

import ctypes
import os

from .._c.library import call, library
from .._c.paths import path_bytes
from .opened import named_folder

__all__ = ["checkpoints"]


def checkpoints(model: str | os.PathLike[str]) -> list[str]:
    """The names of a model's training steps that are on this machine, in ascending order.

    Each is a name that ``Model`` opens, the one given with a step behind it, such as
    "books-0.5m@step128"; ``name.rpartition("@")[2]`` is the step.

    Args:
        model: A folder with folders step0, step1, ..., or a name in the Hugging Face cache,
            "EleutherAI/pythia-160m". "books-0.5m" is the small sibling of the embedded model; a
            clone has six of its steps, a wheel none. What follows an "@" is ignored.

    Raises:
        IOFailure: There are no steps.
    """
    given = os.fsdecode(path_bytes(model))
    base = named_folder(given)
    names, n = ctypes.c_void_p(), ctypes.c_int32()
    call("psc_model_revisions", ctypes.byref(names), ctypes.byref(n), os.fsencode(base))
    try:
        list_of = ctypes.cast(names, ctypes.POINTER(ctypes.c_char_p))
        found = [os.fsdecode(list_of[i] or b"") for i in range(n.value)]
    finally:
        pointer = ctypes.cast(names, ctypes.POINTER(ctypes.c_void_p))
        library().psc_model_revisions_free(pointer, n)
    root = given if os.path.isdir(given) else given.rpartition("@")[0] or given
    return [f"{root}@{name}" for name in found if name.startswith("step")]
