"""The parts of a corpus, put together."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._c import structures as c
from .._c.library import call, library
from ..errors import InputError, PythiascopeError
from ..plugins.given import PluginGiven, Trusted
from ..runtime.session import OwnedResults
from . import states

if TYPE_CHECKING:
    from ..runtime.base import ModelBase


class _Parts:
    """The parts that were given so far."""

    def __init__(self) -> None:
        self.totals = c.psc_corpus_totals()
        self.setup: dict[str, Any] | None = None
        self.names = ctypes.c_void_p()  # of the documents
        self._identity = (ctypes.c_char * 33)()
        self._n = ctypes.c_int32()
        self._given = (ctypes.c_ubyte * c.PSC_CORPUS_SHARDS)()

    def add(self, path: str) -> None:
        """Marks a part as given; keeps the first one's setup."""
        place, setup = states.read(path)
        try:
            call(
                "psc_corpus_add_part",
                ctypes.byref(self.totals),
                ctypes.addressof(self._identity),
                ctypes.byref(self._n),
                ctypes.addressof(self._given),
                place,
            )
            # Without a limit all parts came equally far and have the same names.
            if not self.names or self.totals.limit > 0:
                call("psc_corpus_names_add", ctypes.byref(self.names), place)
            if self.setup is None:
                self.setup = setup
            if setup != self.setup:
                raise InputError("it was made with different targets, plugins or interventions")
        except PythiascopeError as failure:
            raise states.state_error(path, failure) from None

    def close(self) -> None:
        """Frees the names."""
        library().psc_corpus_names_close(ctypes.byref(self.names))

    def n(self) -> int:
        """How many parts there are."""
        return self._n.value

    def check_complete(self) -> None:
        n = self._n.value
        for i in range(n):
            if not self._given[i]:
                raise InputError(f"part {i + 1}/{n} is missing")


def merge_states(
    paths: list[str], model: ModelBase, plugins: Iterable[PluginGiven]
) -> OwnedResults:
    """The results of all parts together."""
    trusted = Trusted(plugins)
    parts = _Parts()
    for path in paths:
        parts.add(path)
    parts.check_complete()
    assert parts.setup is not None
    session = model._new_session(accumulate=True, capacity=1, part=(0, parts.n()))
    try:
        try:
            targets = states.recorded_targets(parts.setup)
            texts = states.recorded_plugins(parts.setup)
            chosen = [trusted.recorded(text) for text in texts]
            states.Setup(targets, chosen, states.recorded_edits(parts.setup)).apply(session)
        except PythiascopeError as failure:
            raise states.state_error(paths[0], failure) from None
        for path in paths:
            call("psc_session_state_merge", session.pointer, os.fsencode(path))
        library().psc_corpus_names_give(ctypes.byref(parts.totals), parts.names)
        session.report(parts.totals)
        return session.take_results()
    finally:
        session.close()
        parts.close()
