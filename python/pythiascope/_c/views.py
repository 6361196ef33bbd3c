"""NumPy views of the library's memory during a callback.

The memory is the library's and changes as soon as the callback returns. A view that the callback
keeps would then show another run's bytes. So each view is watched: when one is alive after the
callback, the run fails, and its session is retired. A retired session never runs again and lives
as long as the view, so the view's bytes neither change nor vanish.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import StateError

if TYPE_CHECKING:
    from ..runtime.session import Session


_FLOATS = np.dtype(np.float32).str


class _Lent:
    """The base of a view: it keeps the session, and a weak reference to it watches the view."""

    __slots__ = ("__array_interface__", "__weakref__", "session")

    def __init__(self, interface: dict[str, Any], session: Session) -> None:
        self.__array_interface__ = interface
        self.session = session


class Views:
    """The views of one callback."""

    __slots__ = ("_lent", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lent: list[weakref.ref[_Lent]] = []

    def of(
        self,
        address: int | None,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        dtype: DTypeLike = np.float32,
        writable: bool = False,
    ) -> NDArray[Any]:
        """A view of the memory at address.

        strides: in bytes; None: contiguous. The address may be None when the view has no element.
        """
        if not address:
            return np.empty(shape, dtype=dtype)
        interface = {
            "version": 3,
            "shape": shape,
            "typestr": _FLOATS if dtype is np.float32 else np.dtype(dtype).str,
            "strides": strides,
            "data": (address, not writable),
        }
        lent = _Lent(interface, self._session)
        self._lent.append(weakref.ref(lent))
        return np.asarray(lent)

    def end(self, what: str) -> None:
        """Checks that no view outlives the callback; what names the callback and the memory.

        StateError otherwise. The session is then retired.
        """
        if self.alive() and gc.collect() >= 0 and self.alive():
            self._session.retired = True
            raise StateError(
                f"{what}: the callback kept a view of memory that is valid during the call only; "
                "keep array.copy() instead"
            )

    def abandon(self) -> None:
        """Retires the session when a view is alive, as in the traceback of an exception."""
        if self.alive():
            self._session.retired = True

    def alive(self) -> bool:
        """Whether a view lives."""
        return [lent for lent in self._lent if lent() is not None] != []
