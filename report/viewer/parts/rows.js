// Rows of a results' axis as tokens: their texts, and the line of a table that names one.
import { readable, visible } from "./scales.js";

/** The run's row at index i of an axis whose numbers index the run's tokens. */
export function rowAt(axis, i) {
  return axis.number(i);
}

/** The index in the axis of a run's row; -1 where the axis lacks it. */
export function indexOfRow(axis, row) {
  if (row === null) return -1;
  for (let i = 0; i < axis.n; i++) if (axis.number(i) === row) return i;
  return -1;
}

/** The text of a row's token, with spaces made visible; its number where the run lacks it. */
export function rowText(run, row) {
  const token = run.tokens[row];
  return token ? visible(token.text) : String(row);
}

/** The texts of all rows of an axis. */
export function rowTexts(run, axis) {
  return Array.from({ length: axis.n }, (_, i) => rowText(run, axis.number(i)));
}

/** "@5 ' and'", for controls and titles; with the sequence where there are several. */
export function rowTitle(run, row) {
  const token = run.tokens[row];
  if (!token) return `row ${row}`;
  const last = run.tokens[run.tokens.length - 1];
  const sequence = last.sequence > 0 ? `sequence ${token.sequence}, ` : "";
  return `${sequence}@${token.position} '${readable(token.text)}'`;
}

/**
 * The index in the axis that a figure shows: the selected row if the axis has it, else before,
 * else the last one.
 */
export function shownIndex(axis, row, before) {
  const found = indexOfRow(axis, row);
  if (found >= 0) return found;
  return before >= 0 && before < axis.n ? before : axis.n - 1;
}
