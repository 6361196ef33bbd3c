"""Figures of the notebooks as SVG: heat maps and bars. Needs NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FONT = 'font-family="sans-serif" font-size="11"'
_CELL = 22  # pixels


class Figure:
    """A figure that a notebook shows."""

    def __init__(self, width: float, height: float, parts: list[str], what: str) -> None:
        """parts: SVG elements. what: for the plain text."""
        self._svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'{_FONT}><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'
        )
        self._what = what

    def _repr_svg_(self) -> str:
        return self._svg

    def __repr__(self) -> str:
        return f"<{self._what}>"


def _text(x: float, y: float, text: str, anchor: str = "start", rest: str = "") -> str:
    shown = escape(text.replace(" ", "\u00b7") if text.startswith(" ") else text)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {rest}>{shown}</text>'


def _color(share: float) -> str:
    """Blue for -1, white for 0, red for 1."""
    strength = min(abs(share), 1.0) ** 0.75
    strong = (178, 24, 43) if share > 0 else (33, 102, 172)
    red, green, blue = (round(255 + (part - 255) * strength) for part in strong)
    return f"#{red:02x}{green:02x}{blue:02x}"


def heatmap(
    values: ArrayLike,
    rows: Sequence[object],
    columns: Sequence[object],
    title: str = "",
    limit: float | None = None,
    numbers: str | None = None,
) -> Figure:
    """A heat map.

    Args:
        values: [rows, columns]; red above 0, blue below.
        rows: The labels of the rows.
        columns: The labels of the columns, drawn upright.
        title: Above the map.
        limit: The value of the full colors; None: the largest absolute value.
        numbers: The format of values that are written into the cells, ".2f"; None: none are.
    """
    cells: NDArray[np.float64] = np.asarray(values, np.float64)
    most = float(np.nanmax(np.abs(cells))) if limit is None else limit
    wide = 2 * _CELL if numbers is not None else _CELL
    left = 12 + 7 * max((len(str(row)) for row in rows), default=0)
    top = 30 + 7 * max((len(str(column)) for column in columns), default=0)
    parts = [_text(4, 15, title, rest='font-weight="bold"')]
    for j, column in enumerate(columns):
        x = left + wide * (j + 0.5) + 4
        parts.append(
            _text(x, top - 5, str(column), rest=f'transform="rotate(-90 {x:.1f} {top - 5})"')
        )
    for i, row in enumerate(rows):
        parts.append(_text(left - 5, top + _CELL * (i + 0.7), str(row), "end"))
        for j in range(len(columns)):
            x, y, value = left + wide * j, top + _CELL * i, cells[i, j]
            color = _color(value / most) if np.isfinite(value) and most > 0 else "#eeeeee"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{wide - 1}" height="{_CELL - 1}" fill="{color}"/>'
            )
            if numbers is not None and np.isfinite(value):
                parts.append(_text(x + wide / 2, y + 0.7 * _CELL, format(value, numbers), "middle"))
    width = max(left + wide * len(columns) + 10, 20 + 7 * len(title))
    what = f"heat map of {len(rows)} x {len(columns)}: {title}"
    return Figure(width, top + _CELL * len(rows) + 10, parts, what)


def bars(labels: Sequence[object], values: ArrayLike, title: str = "", unit: str = "") -> Figure:
    """Signed bars, one per label, with their values."""
    numbers: NDArray[np.float64] = np.asarray(values, np.float64)
    most = float(np.max(np.abs(numbers))) or 1.0
    left = 12 + 7 * max((len(str(label)) for label in labels), default=0)
    parts = [_text(4, 15, title + (f" ({unit})" if unit else ""), rest='font-weight="bold"')]
    for i, (label, value) in enumerate(zip(labels, numbers)):
        y = 28 + 19 * i
        color = _color(np.sign(value) * 0.8)
        parts.append(_text(left - 5, y + 11, str(label), "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{300 * abs(value) / most:.1f}" height="15" '
            f'fill="{color}"/>'
        )
        parts.append(_text(left + 300 * abs(value) / most + 5, y + 11, f"{value:+.3g}"))
    what = f"bars of {len(labels)}: {title}"
    return Figure(max(left + 370, 20 + 7 * len(title)), 40 + 19 * len(labels), parts, what)
