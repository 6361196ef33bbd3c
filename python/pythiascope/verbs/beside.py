"""Tables of a model's figures beside a control's, as the program prints them.

Levels are columns, at most eight per row of the table; trees, whose names are long, are rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..results.results import Result

if TYPE_CHECKING:
    from ..results.arrays import Array
    from ..results.sections import Section

_COLUMNS, _TITLE = 8, 40
_MAIN = ("levels", "trees", "distances")


class Figure(NamedTuple):
    """An array of f64 with a main axis and at most one other (the first entries), or a value."""

    name: str
    title: str
    percent: bool = False
    most_parts: int = 0


FIGURES = {
    "words": (Figure("brackets", ""), Figure("auroc", "AUROC of closure")),
    "forms": (
        Figure("closer", "P(closer)", False, 3),
        Figure("rank", "1/rank", False, 1),
        Figure("rank_offset", "1/rank, offset", False, 1),
    ),
    "probe": (Figure("accuracy", "accuracy"), Figure("auroc", "AUROC")),
    "treebank": (
        Figure("f1", "F1", True),
        Figure("other_f1", "other", True),
        Figure("words", "words of several tokens, brackets"),
        Figure("pair_words", "words of two tokens, brackets"),
        Figure("pairs", "adjacent tokens of two words, brackets"),
        Figure("standing", "closed brackets that stand"),
        Figure("lag", "lag, tokens"),
        Figure("heads_reads_necessity", "head by reads is necessity's"),
        Figure("heads_reads_ud", "head by reads is UD's"),
        Figure("links_auroc", "AUROC of links for UD's edges"),
        Figure("heads_necessity_sufficiency", "head: necessity is sufficiency"),
        Figure("heads_last_necessity", "head: necessity is the last unit"),
        Figure("heads_necessity_ud", "head: necessity is UD's"),
        Figure("heads_sufficiency_ud", "head: sufficiency is UD's"),
        Figure("links_frozen_spearman", "links: frozen and causal, rank corr."),
    ),
    "windows": (Figure("crossing", "brackets that cross a border"),),
}
# Of each method: pairs of sections that stand beside each other, and what is shown of them.
PAIRS = {
    "words": (
        ("words", "control.words", "words"),
        ("alone.words", "control-alone.words", "words"),
    ),
    "forms": (("forms", "control.forms", "forms"),),
    "probe": (("probe", "control.probe", "probe"),),
    "treebank": (
        ("treebank", "control.treebank", "treebank"),
        ("windows.treebank", "control-windows.treebank", "windows"),
    ),
}


class ControlledResult(Result):
    """A result with a control's sections; its text ends with tables of both."""

    def text(self, width: int = 80, *, color: bool = False, head: bool = True) -> str:
        """The text for a terminal, with the tables of the model beside the control."""
        shown = super().text(width, color=color, head=head)
        return shown + beside_text(self, str(self._main))


def beside_text(result: Result, method: str) -> str:
    """The tables that the program prints after a result with a control; "" without one."""
    lines: list[str] = []
    for own, control, figures in PAIRS[method]:
        if own in result.sections and control in result.sections:
            lines += ["", f"{own} beside {control}"]
            lines += _table(result.sections[own], result.sections[control], FIGURES[figures])
    return "".join(line + "\n" for line in lines)


def _table(own: Section, control: Section, figures: Sequence[Figure]) -> Iterator[str]:
    header = ""
    for figure in figures:
        side, other = _Side.of(own, figure.name), _Side.of(control, figure.name)
        if side and other and side.array.dims[0] == "trees":
            yield from _tree_rows(side, other, figure)
        elif side and other:
            yield from _level_rows(side, other, figure, header)
            header = side.axis
        else:
            x, y = (section.values.get(figure.name) for section in (own, control))
            if isinstance(x, float) and not math.isnan(x):
                if header != "model":
                    yield f"  {'':{_TITLE}} {'model':>7} {'control':>7}"
                header = "model"
                z = y if isinstance(y, float) else math.nan
                yield f"  {figure.title:{_TITLE}}" + _number(x, figure, 7) + _number(z, figure, 7)


class _Side(NamedTuple):
    """An array with the axis that the table shows, and the other."""

    array: Array
    axis: str
    labels: list[str]
    parts: list[str]  # empty: there is no other axis

    @staticmethod
    def of(section: Section, name: str) -> _Side | None:
        """The array of this name, if a table can show it."""
        array = section.arrays.get(name)
        if array is None or array.dtype.kind != "f" or array.ndim not in (1, 2):
            return None
        axis = array.dims[0 if array.dims[0] in _MAIN else -1]
        if array.ndim == 1 and axis not in _MAIN:
            return None
        rest = [dim for dim in array.dims if dim != axis]
        labels = [_shown(label) for label in array.coords[axis]]
        return _Side(array, axis, labels, [_shown(x) for dim in rest for x in array.coords[dim]])

    def entry(self, i: int | None, part: int | None) -> float:
        """An element by its places on the main axis and the other; NaN without one."""
        if i is None or part is None:
            return math.nan
        if self.array.ndim == 1:
            return float(self.array.values[i])
        first = self.array.dims[0] == self.axis
        return float(self.array.values[(i, part) if first else (part, i)])


def _shown(label: Any) -> str:
    return "".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in str(label))


def _place(labels: Sequence[str], label: str) -> int | None:
    return labels.index(label) if label in labels else None


def _number(x: float, figure: Figure, width: int) -> str:
    if math.isnan(x):
        return f" {'-':>{width}}"
    return f" {100.0 * x:{width}.2f}" if figure.percent else f" {x:{width}.3f}"


def _tree_rows(own: _Side, control: _Side, figure: Figure) -> Iterator[str]:
    yield f"  {figure.title:{_TITLE}} {'model':>8} {'control':>8}"
    for i, label in enumerate(own.labels):
        x, y = own.entry(i, 0), control.entry(_place(control.labels, label), 0)
        if not (math.isnan(x) and math.isnan(y)):
            yield f"    {label:{_TITLE - 2}}" + _number(x, figure, 8) + _number(y, figure, 8)


def _level_rows(own: _Side, control: _Side, figure: Figure, header: str) -> Iterator[str]:
    n = len(own.labels)
    for first in range(0, n, _COLUMNS):
        places = range(first, min(first + _COLUMNS, n))
        if n > _COLUMNS or header != own.axis:
            yield f"  {own.axis:{_TITLE}}" + "".join(f" {own.labels[i]:>7}" for i in places)
            header = own.axis
        parts = max(1, len(own.parts))
        for part in range(min(figure.most_parts or parts, parts)):
            if any(not math.isnan(own.entry(i, part)) for i in range(n)):
                yield from _part_rows(own, control, figure, part, places)


def _part_rows(
    own: _Side, control: _Side, figure: Figure, part: int, places: range
) -> Iterator[str]:
    title, other = figure.title, 0 if not own.parts else _place(control.parts, own.parts[part])
    if own.parts:
        title += (", " if title else "") + own.parts[part]
    yield f"  {title:{_TITLE}}" + "".join(_number(own.entry(i, part), figure, 7) for i in places)
    matched = [_place(control.labels, own.labels[i]) for i in places]
    numbers = "".join(_number(control.entry(k, other), figure, 7) for k in matched)
    yield f"  {'  control':{_TITLE}}" + numbers
