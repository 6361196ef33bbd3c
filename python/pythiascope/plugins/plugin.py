"""Plugins written in Python.

    class Norms(pythiascope.Plugin):
        \"\"\"The norm of the residual stream after each layer.\"\"\"

        def open(self, host):
            host.observe("hook_resid_post", self.on_resid_post)

        def run_begin(self, host):
            host.axis("layers", host.model.n_layers)
            host.axis("rows", len(host.rows))
            self.norm = host.array("norm", ["layers", "rows"])

        def on_resid_post(self, event):
            self.norm[event.layer, event.rows["index"]] = np.linalg.norm(event.tensor, axis=1)

    result = model.analyze("The sun rose", plugins=[Norms()])
    result["norm"]

A plugin has the life that docs/hooks.md describes: open -> (run_begin -> events -> run_end ->
report)* -> close. Over a corpus `open` declares accumulators, `run_end` adds to them, and `report`
is called once. An exception in any callback ends the run and comes out of it with its traceback.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from .._c import structures as c
from ..errors import InputError, StateError
from ..runtime.turn import entry
from .host import Host
from .host_base import encoded
from .plugin_options import OptionTable, given_options, options_of

if TYPE_CHECKING:
    from ..runtime.session import Session


Self = TypeVar("Self", bound="Plugin")


class Plugin:
    """The base of plugins written in Python; keyword arguments are its options.

    Attributes of the class:
        name: 1 to 64 letters, digits, _ or -; the class's name in lower case when left out. Name
            and version identify the plugin in state files.
        version: To be changed when the numbers change.
        summary: One line; the first line of the docstring when left out.
        phases: It sees the runs of source prompts and of the unchanged prompt, too.
        needs_bos: Every sequence must begin with the beginning-of-text token.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = ""
    phases: ClassVar[bool] = False
    needs_bos: ClassVar[bool] = False

    _given: dict[str, str]
    _options: dict[str, object]
    _instance: Instance | None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()
        if "summary" not in cls.__dict__:
            cls.summary = (cls.__doc__ or "").strip().split("\n")[0]

    def __new__(cls: type[Self], *arguments: Any, **options: Any) -> Self:
        """Makes the object ready for a class whose own __init__ does not call this one's."""
        self = super().__new__(cls)
        self._given, self._options, self._instance = {}, {}, None
        return self

    def __init__(self, **options: object) -> None:
        self._given = given_options(type(self), options)

    def open(self, host: Host) -> None:
        """Once per session: subscribe for every run, declare accumulators. Options are known."""

    def run_begin(self, host: Host) -> None:
        """Before each run: its rows, text and targets are known; subscribe for this run, retain."""

    def run_end(self, host: Host) -> None:
        """After the last row of a run that succeeded: heavy work, and partials to accumulators."""

    def run_failed(self, host: Host) -> None:
        """After a run that failed, if run_begin returned; its results are dropped."""

    def report(self, host: Host) -> None:
        """Arrays, values and the summary: after each run, or once over a corpus."""

    def close(self) -> None:
        """Once, at the end of a session whose open returned."""


class Instance:
    """A plugin in one session: its description for the C library, its callbacks and its host.

    It does not refer to the session, which keeps it alive until it is closed.
    """

    def __init__(self, plugin: Plugin, session: Session) -> None:
        self._plugin = plugin
        self._control = session.control
        self.host = Host(plugin.name, weakref.ref(session), self._control.guard)
        self._table = OptionTable(options_of(type(plugin)).values())
        self.structure = c.psc_plugin(
            abi=c.PSC_PLUGIN_ABI,
            name=encoded(plugin.name, "a plugin's name"),
            version=encoded(plugin.version, "a plugin's version"),
            summary=encoded(plugin.summary, "a plugin's summary"),
            options=self._table.array,
            phases=int(plugin.phases),
            needs_bos=int(plugin.needs_bos),
        )
        kinds: dict[str, Any] = dict(c.psc_plugin._fields_)
        for name in ("open", "run_begin", "run_end", "report", "close"):
            kind = kinds[name]
            setattr(self.structure, name, kind(getattr(self, "_" + name)))

    def load(self, session: Session) -> None:
        """Opens the plugin in the session."""
        plugin = self._plugin
        if plugin._instance is not None:
            raise StateError(
                f"plugin {plugin.name} is in use by another session; make a second object of it"
            )
        plugin._instance = self
        try:
            session.plugin_object(self.structure, plugin._given, self)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        self.host._detach()
        if self._plugin._instance is self:
            self._plugin._instance = None

    # --- what the C library calls ---

    @entry
    def _open(self, context: Any, table: Any, _: Any) -> int:
        self.host._attach(context, table)
        return self._control.guard(self._open_plugin)

    def _open_plugin(self) -> None:
        with self.host as host:
            filled = self._table.memory()
            host._check("options", ctypes.addressof(filled))
            self._plugin._options = self._table.values(filled)
            self._plugin.open(self.host)

    @entry
    def _run_begin(self, context: Any, _: Any) -> int:
        self.host._begin_run()
        return self._control.guard(self._within, self._plugin.run_begin)

    @entry
    def _run_end(self, context: Any, _: Any, status: int) -> int:
        call = self._plugin.run_end if status == 0 else self._plugin.run_failed
        return self._control.guard(self._within, call)

    @entry
    def _report(self, context: Any, _: Any) -> int:
        return self._control.guard(self._report_plugin)

    def _report_plugin(self) -> None:
        with self.host:
            if self.host.accumulating():
                self.host._forget()
            self._plugin.report(self.host)
            self.host._deliver()

    def _within(self, call: Any) -> None:
        with self.host:
            call(self.host)

    @entry
    def _close(self, context: Any, _: Any) -> None:
        try:
            self._plugin.close()
        except Exception:
            raise  # no run can fail; ctypes shows it as an exception of __del__
        except BaseException as failure:
            self._control.keep(failure)  # as Ctrl-C: comes out when the session is closed
        finally:
            self._leave()


class Identity(NamedTuple):
    """What results call a plugin."""

    name: str
    version: str
    summary: str


class GivenObject:
    """A plugin object that is ready to be loaded into a session."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin, self.options = plugin, plugin._given
        self.table = Identity(plugin.name, plugin.version, plugin.summary)

    @property
    def needs_bos(self) -> bool:
        """Whether every sequence must begin with the beginning-of-text token."""
        return bool(self.plugin.needs_bos)

    def load(self, session: Session) -> None:
        """Opens the plugin in a session; StateError while another session uses it."""
        Instance(self.plugin, session).load(session)


def as_plugin(entry: Any, options: Mapping[str, object] = {}) -> GivenObject:
    """An entry of plugins=[...] that is written in Python, ready to be loaded.

    Args:
        entry: A Plugin object or class, or a function with @accumulator.
        options: Of a class.

    Raises:
        InputError: It is none of these.
    """
    made = getattr(entry, "plugin", entry)  # of an accumulator's function
    if isinstance(made, type) and issubclass(made, Plugin):
        return GivenObject(made(**options))
    if isinstance(entry, Plugin):
        if options:
            raise InputError(f"give the options where you make the plugin: {entry.name}(...)")
        return GivenObject(entry)
    what = getattr(entry, "__name__", type(entry).__name__)
    hint = "; put @pythiascope.accumulator(...) above the function" if callable(entry) else ""
    raise InputError(
        f"{what} is not a plugin; pass a name, a path, (name, options), or a Plugin{hint}"
    )
