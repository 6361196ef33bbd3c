"""An open model of the C library, shared by everything that reads its memory.

Sessions, results and arrays each hold a share. The library's model closes when the last share is
given back, so that no order of closing and no garbage collection can pull memory away.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

from .._c import structures as c
from .._c.library import call, library, native_folder, source_folder
from ..errors import InputError, StateError
from .config import Config

__all__ = [
    "OpenModel",
    "another_process",
    "cache_folder",
    "cache_limit",
    "check_one",
    "check_process",
    "embedded_folder",
    "named_folder",
]

_EMBEDDED = os.path.join("models", "books-5m")
_NAMES = ("books-5m", "books-0.5m")


def embedded_folder() -> str:
    """The folder of the embedded model: the package's own, else the clone's.

    Raises:
        InputError: It is in neither place.
    """
    for place in (native_folder(), source_folder()):
        folder = os.path.join(place, _EMBEDDED)
        if os.access(os.path.join(folder, "config.json"), os.R_OK):
            return folder
    raise InputError(
        "the embedded model is neither in the package nor in the clone; reinstall pythiascope, or "
        "pass the folder of a model"
    )


def check_one(model: str) -> None:
    """Refuses a name of several checkpoints, "NAME@all-steps" or "NAME@step0,step1000".

    Raises:
        InputError: It names several, and no folder has that name.
    """
    name, _, revision = model.rpartition("@")
    if name and ("," in revision or revision == "all-steps") and not os.path.isdir(model):
        raise InputError(
            f"Model takes one checkpoint, as '{name}@step1000', not '{model}'; "
            f"pythiascope.checkpoints('{name}') lists them"
        )


def named_folder(model: str) -> str:
    """The folder of a name of an embedded model; other names and folders as they are.

    Args:
        model: "books-5m", or "books-0.5m" and "books-0.5m@step1000", which only a clone or an
            installation of the program has.
    """
    name, at, revision = model.partition("@")
    if name not in _NAMES or os.path.exists(name):
        return model
    for place in (native_folder(), source_folder()):
        folder = os.path.join(place, "models", name)
        if os.path.isdir(folder):
            return folder + at + revision
    return model


def cache_folder() -> str | None:
    """The folder of packed weights that the program uses, too; None when there is no home.

    $PSC_CACHE_DIR, $XDG_CACHE_HOME/pythiascope, or pythiascope in the user's folder of caches. A
    variable that is empty or relative counts as unset.
    """

    def absolute(variable: str) -> str | None:
        value = os.environ.get(variable, "")
        return value if value.startswith("/") else None

    own, caches, home = absolute("PSC_CACHE_DIR"), absolute("XDG_CACHE_HOME"), absolute("HOME")
    if own:
        return own
    if caches:
        return caches + "/pythiascope"
    place = "/Library/Caches" if sys.platform == "darwin" else "/.cache"
    return home + place + "/pythiascope" if home else None


def cache_limit() -> int:
    """The bytes of the cache that $PSC_CACHE_LIMIT allows, as the program reads it; 0: not set.

    Raises:
        InputError: It is no size like 500M or 20G.
    """
    text = os.environ.get("PSC_CACHE_LIMIT", "")
    if not text:
        return 0
    power = "KMGT".find(text[-1].upper()) + 1
    digits = text[:-1] if power else text
    size = int(digits) << 10 * power if digits.isascii() and digits.isdigit() else 0
    if not 0 < size < 1 << 64:
        raise InputError(
            f"the environment variable PSC_CACHE_LIMIT needs a size like 500M or 20G, not '{text}'"
        )
    return size


def another_process(pid: int) -> StateError:
    """The exception for the use of a model that another process opened, before a fork."""
    return StateError(f"this model belongs to process {pid}; open it again in this process")


def check_process(pid: int) -> None:
    """Refuses to use an object that another process opened, before a fork.

    Raises:
        StateError: The process that opened it has another number.
    """
    if os.getpid() != pid:
        raise another_process(pid)


class OpenModel:
    """One model of the library, and its facts.

    Attributes:
        folder: The folder that was opened.
        name: Of the model, for people.
        info: The library's own facts (psc_model_info).
        has_tokenizer: Whether texts can be tokenized.
        config: The configuration under TransformerLens's names.
        no_tokenizer: Why texts cannot be tokenized, "" if they can.
        bos: The id of the beginning-of-text token, -1 without one.
    """

    def __init__(self, model: str, *, cache_dir: str | None = None, cache_limit: int = 0) -> None:
        options = c.psc_model_options(cache_limit=cache_limit)
        if cache_dir is not None:
            options.cache_dir = os.fsencode(cache_dir)
        pointer = ctypes.c_void_p()
        call(
            "psc_model_open_with",
            ctypes.byref(pointer),
            os.fsencode(model),
            ctypes.byref(options),
        )
        self._pid = os.getpid()
        self._pointer = pointer
        self._library = library()
        self._shares = [None]  # one is this object's own
        self._closed = threading.Lock()
        self.info: c.psc_model_info = self._library.psc_model_get_info(pointer).contents
        self.folder = os.fsdecode(self.info.path or b"")
        self.name = os.fsdecode(self.info.name or b"")
        self.has_tokenizer = bool(self._library.psc_model_has_tokenizer(pointer))
        reason = self._library.psc_model_tokenizer_reason(pointer)
        self.no_tokenizer = reason.decode("utf-8", "replace") if reason else ""
        self.bos = int(self._library.psc_model_bos(pointer))
        facts = c.psc_result_model()
        call("psc_model_describe", ctypes.byref(facts), pointer)
        self.config = Config(facts)

    def ends(self, token: int) -> bool:
        """Whether generation ends at this token, by generation_config.json or config.json."""
        return bool(self._library.psc_model_ends(self.pointer, token))

    @property
    def pointer(self) -> ctypes.c_void_p:
        """The psc_model.

        Raises:
            StateError: After a fork, in the child.
        """
        check_process(self._pid)
        return self._pointer

    def check_process(self) -> None:
        """Refuses another process.

        Raises:
            StateError: After a fork, in the child.
        """
        check_process(self._pid)

    def take_share(self) -> None:
        """Keeps the library's model open until the share is given back."""
        self._shares.append(None)

    def give_back(self) -> None:
        """Gives one share back; the last one closes the library's model."""
        self._shares.pop()
        if not self._shares and self._closed.acquire(blocking=False):
            if os.getpid() == self._pid:
                self._library.psc_model_close(ctypes.byref(self._pointer))

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.give_back()

    def __reduce__(self) -> Any:
        raise StateError("an open model cannot be pickled or copied; open its folder again")
