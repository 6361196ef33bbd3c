"""A Python function that accumulates over a corpus.

    @accumulator("blocks.*.hook_resid_post", means=["norm"], tops={"longest": 3})
    def lengths(step):
        norm = np.linalg.norm(step.tensor.astype(np.float64), axis=1)
        counted = step.rows["position"] >= 1
        step.mean("norm", norm, where=counted)
        step.top("longest", norm, where=counted)

    result = model.corpus(files="books/", plugins=[lengths])
    result["norm"]  # [layers]

The function is called once per window and tensor, with all rows of the window, whatever batches,
chunks and shards there are. The host keeps the totals, so state files and merge work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..errors import InputError
from ..hooks.names import Hook, Names
from .events import Event
from .host import Host
from .plugin import Plugin
from .slots import Declarations, Declared, Slots, Tops, Work, declared_names, declared_tops
from .step import Step
from .totals import Totals

_KINDS = ("sum", "mean", "count", "min", "max")


class FunctionPlugin(Plugin):
    """The plugin of an accumulator's function; `accumulator` makes a subclass for each."""

    function: AccumulatorFunction

    def open(self, host: Host) -> None:
        """Declares the accumulators and subscribes to the points."""
        if not host.accumulating():
            host.fail("it accumulates over a corpus; use model.corpus([text], plugins=[...])")
        self._work = Work(self.name)
        names = Names(host.model.n_layers, host.model.parallel_residual)
        self._hooks = self.function._hooks(names)
        self.sites = [hook.name for hook in self._hooks]
        lead = (len(self.sites),) if self.function._has_sites else ()
        for declared in self.function.declared:
            self._work.slots[declared.name] = Slots(host, declared, lead)
        self._where = {(hook.point, hook.layer): i for i, hook in enumerate(self._hooks)}
        for point in sorted({hook.point for hook in self._hooks}):
            layers = [hook.layer for hook in self._hooks if hook.point == point]
            chosen = None if layers[0] < 0 else layers
            host.observe(point, self._on_event, layers=chosen)

    def run_begin(self, host: Host) -> None:
        """Finds the windows of the run."""
        self._host = host
        self._work.forget()
        self._waiting: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        self._rows = host.rows
        sequence = self._rows["sequence"]
        begins = np.flatnonzero(np.diff(sequence, prepend=-1))
        ends = [*begins[1:], len(sequence)]
        self._windows = {int(sequence[b]): (int(b), int(e)) for b, e in zip(begins, ends)}

    def _on_event(self, event: Event) -> None:
        rows = event.rows
        index, sequence = rows["index"], rows["sequence"]
        site = self._where[event.point, event.layer]
        begins = np.flatnonzero(np.diff(sequence, prepend=-1))
        for b, e in zip(begins, [*begins[1:], len(sequence)]):
            first, end = self._windows[int(sequence[b])]
            part = event.tensor[b:e]
            if c.POINTS[event.point][1].endswith("K"):
                part = part[..., : end - first]
            whole = self._whole(site, first, end, int(index[b]), part, event.point)
            if whole is not None:
                self._call(site, whole, self._rows[first:end])

    def _call(self, site: int, whole: npt.NDArray[np.float32], rows: npt.NDArray[Any]) -> None:
        step = Step(self._host, self._hooks[site], whole, rows, self._work, site)
        try:
            self.function.function(step)
        finally:
            step._end()

    def _whole(
        self,
        site: int,
        first: int,
        end: int,
        at: int,
        part: npt.NDArray[np.float32],
        point: int,
    ) -> npt.NDArray[np.float32] | None:
        """The window's tensor, once all its rows are there; chunks may cut a window."""
        n = end - first
        if len(part) == n and (part.shape[-1] == n or not c.POINTS[point][1].endswith("K")):
            return part
        whole = self._waiting.get((site, first))
        if whole is None:
            keys = c.POINTS[point][1].endswith("K")
            shape = (n, *part.shape[1:-1], n if keys else part.shape[-1])
            fill = -np.inf if point == c.PSC_HOOK_ATTN_SCORES else 0.0
            whole = self._waiting[site, first] = np.full(shape, fill, np.float32)
        whole[at - first : at - first + len(part), ..., : part.shape[-1]] = part
        if at + len(part) < end:
            return None
        del self._waiting[site, first]
        whole.flags.writeable = False
        return whole

    def run_end(self, host: Host) -> None:
        """Gives the host the partials of all windows."""
        self._work.flush(host)

    def report(self, host: Host) -> None:
        """Writes the totals; the author's report adds to them."""
        totals = Totals(host, self._hooks if self.function._has_sites else None, self._work.slots)
        totals.write(host)
        if self.function.reporter is not None:
            self.function.reporter(host, totals)
        else:
            totals.summarize(host)


class AccumulatorFunction:
    """A function that `accumulator` made into a plugin; calling it calls the function."""

    def __init__(
        self,
        function: Callable[[Step], Any],
        points: tuple[str, ...],
        declared: Sequence[Declared],
        identity: tuple[str, str, str],
    ) -> None:
        self.function, self.points, self.declared = function, points, declared
        self.reporter: Callable[[Host, Totals], Any] | None = None
        self.__name__ = identity[0]
        self.__doc__ = function.__doc__
        name, version, summary = identity
        members = {"name": name, "version": version, "summary": summary, "function": self}
        self.plugin: type[FunctionPlugin] = type(name, (FunctionPlugin,), members)

    def __call__(self, step: Step) -> Any:
        """Calls the function itself, as a test of it does."""
        return self.function(step)

    def report(self, reporter: Callable[[Host, Totals], Any]) -> Callable[[Host, Totals], Any]:
        """A decorator: reporter(host, totals) adds to the report, in place of the usual summary."""
        self.reporter = reporter
        return reporter

    @property
    def _has_sites(self) -> bool:
        return len(self.points) > 1 or "*" in self.points[0]

    def _hooks(self, names: Names) -> list[Hook]:
        found: list[Hook] = []
        for point in self.points:
            layers = range(names.n_layers) if point.startswith("blocks.*.") else [-1]
            found += [names.find(point.replace("*", str(layer), 1)) for layer in layers]
        if len({hook.name for hook in found}) < len(found):
            raise InputError(f"{self.__name__}: a hook point is given twice")
        return found


def accumulator(
    *points: str,
    sums: Declarations = (),
    means: Declarations = (),
    counts: Declarations = (),
    minima: Declarations = (),
    maxima: Declarations = (),
    tops: Tops | None = None,
    name: str | None = None,
    version: str = "1",
) -> Callable[[Callable[[Step], Any]], AccumulatorFunction]:
    """Makes a plugin for `model.corpus` of a function that takes a Step.

    Args:
        points: Hook names; "blocks.*.hook_resid_post" is one per layer. Results then have the axis
            `layers`, or `hooks` for several points.
        sums: Names, or names with the axes of their slots: {"fires": "d_mlp", "histogram":
            ("n_heads", 10)}. Axes are numbers, or n_heads, d_head, d_mlp, d_model, d_vocab.
        means: As sums; the totals are divided by the number of rows.
        counts: As sums.
        minima: As sums.
        maxima: As sums.
        tops: Names with k, or with (k, axes): {"longest": 3, "active": (5, "d_mlp")}.
        name: Of the plugin; the function's when left out. Name and version identify the totals in
            state files.
        version: To be changed when the numbers change.

    Raises:
        InputError: No point, a name given twice, or an unknown axis.
    """
    if not points or not all(isinstance(point, str) for point in points):
        raise InputError(
            'an accumulator needs hook names: @accumulator("blocks.*.hook_resid_post")'
        )
    given = zip(_KINDS, (sums, means, counts, minima, maxima))
    declared = [one for kind, names in given for one in declared_names(kind, names)]
    declared += declared_tops(tops or {})
    all_names = [one.name for one in declared]
    for one in all_names:
        if all_names.count(one) > 1:
            raise InputError(f"the accumulator '{one}' is declared twice; use another name")

    def decorate(function: Callable[[Step], Any]) -> AccumulatorFunction:
        summary = (function.__doc__ or "").strip().split("\n")[0]
        identity = (name or function.__name__, version, summary)
        return AccumulatorFunction(function, points, declared, identity)

    return decorate
