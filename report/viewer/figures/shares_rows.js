// A logit's shares over rows: components by row.
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { heatmap } from "../parts/heatmap.js";
import { indexOfRow, rowTexts, rowTitle } from "../parts/rows.js";
import { number } from "../parts/scales.js";
import { targetAt } from "../parts/targets.js";

const MOST_LINES = 48;

/** The components of the map over rows: at most MOST_LINES, those with the largest shares. */
export function rowsMap(section, key, t) {
  const array = section.array(key);
  const axis = section.axis(array.axes[2]);
  const rows = section.axis("rows");
  const weights = new Map();
  for (let i = 0; i < rows.n; i++)
    for (const { index, value } of array.top(t, i))
      weights.set(index, Math.max(weights.get(index) || 0, Math.abs(value)));
  const kept = [...weights].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, MOST_LINES)
    .map(([index]) => index).sort((a, b) => b - a);
  return { kept, left: array.last - kept.length, label: (r) => axis.label(kept[r]),
    value: (r, c) => (array.isKept(t, c, kept[r]) ? array.at(t, c, kept[r]) : NaN) };
}

/** Draws components by row for target t. Returns {highlight(row of the run)}. */
export function drawRows(area, width, section, page, key, t) {
  const map = rowsMap(section, key, t);
  const rows = section.axis("rows");
  const values = [];
  for (let r = 0; r < map.kept.length; r++)
    for (let c = 0; c < rows.n; c++) values.push(map.value(r, c));
  const drawn = heatmap(area, width, {
    rows: map.kept.map((_, r) => map.label(r)),
    columns: rowTexts(section.run, rows),
    value: map.value,
    scale: colorScale(values, { signed: true }),
    legend: "share (nats)",
    minCell: 4, maxCell: 60, cellHeight: 16,
    label: `Shares of ${map.kept.length} components at ${rows.n} rows`,
    tip: (r, c) => [`${map.label(r)} at ${rowTitle(section.run, rows.number(c))}`,
      `share of ${targetAt(section, t, c)}: ${number(map.value(r, c))}`],
    onEnter: (r, c) => page.selection.set(rows.number(c)),
    onPick: (r, c) => page.selection.lock(rows.number(c)),
  });
  const notes = [];
  if (map.left > 0) notes.push(`Components with smaller shares are left out: ${map.left}.`);
  if (section.array(key).encoding === "top")
    notes.push("The page lacks the shares of empty cells.");
  if (notes.length) area.append(el("p", { class: "note" }, notes.join(" ")));
  return { highlight: (row) => drawn.highlight(indexOfRow(rows, row)) };
}
