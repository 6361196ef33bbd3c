// A quantity by lines (layers, LayerNorms, strategies) and rows: tokens at the top, colored cells.
import { colorScale } from "./colorscale.js";
import { follow } from "./follow.js";
import { heatmap } from "./heatmap.js";
import { indexOfRow, rowTexts, rowTitle } from "./rows.js";
import { number, short } from "./scales.js";

const WIDE_RANGE = 20; // a larger ratio of largest to smallest is colored by its logarithm

/** The labels of an axis. */
export function axisLabels(axis) {
  return Array.from({ length: axis.n }, (_, i) => axis.label(i));
}

/** The lowest and highest of at(line, row index). */
function rangeOf(lines, rows, at) {
  let low = Infinity;
  let high = -Infinity;
  for (let l = 0; l < lines.n; l++)
    for (let i = 0; i < rows.n; i++) {
      const value = at(l, i);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  return low > high ? { low: 0, high: 0 } : { low, high };
}

/**
 * Draws the map into area; pointing at a cell selects its token. given: lines and rows (axes),
 * name (of the quantity), at(line, row index) -> number, prefix? ("layer " before the lines'
 * labels), upward? (true: the first line is at the bottom).
 */
export function rowMap(area, width, section, page, given) {
  const { lines, rows, at, name } = given;
  const line = (r) => (given.upward ? lines.n - 1 - r : r);
  const label = (r) => (given.prefix || "") + lines.label(line(r));
  const { low, high } = rangeOf(lines, rows, at);
  const log = !section.isDifference && low > 0 && high / low > WIDE_RANGE;
  const map = heatmap(area, width, {
    rows: Array.from({ length: lines.n }, (_, r) => label(r)),
    columns: rowTexts(section.run, rows),
    value: (r, c) => at(line(r), c),
    scale: colorScale({ low, high }, { log, signed: section.isDifference }),
    legend: name + (log ? ", log scale" : ""),
    minCell: 4, maxCell: 60, cellHeight: 18,
    label: `${name} of ${lines.n} by ${rows.n} rows, from ${short(low)} to ${short(high)}`,
    tip: (r, c) => [`${label(r)}, ${rowTitle(section.run, rows.number(c))}`,
      `${name}: ${number(at(line(r), c))}`],
    onEnter: (r, c) => page.selection.set(rows.number(c)),
    onPick: (r, c) => page.selection.lock(rows.number(c)),
  });
  follow(page, area, (row) => map.highlight(indexOfRow(rows, row)));
}

/** The numbers of such a map: a line per row. */
export function rowMapTable(section, given) {
  const { lines, rows, at } = given;
  return { head: ["row", "token", ...axisLabels(lines).map((text) => (given.prefix || "") + text)],
    rows: rowTexts(section.run, rows).map((text, i) => [rows.label(i), text,
      ...axisLabels(lines).map((_, l) => number(at(l, i)))]) };
}
