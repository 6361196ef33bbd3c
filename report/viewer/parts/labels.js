// The labels of an axis as a reader wants them, and the numbers of arrays as a table.
import { number, visible } from "./scales.js";

const PLACES = new Set(["rows", "positions", "keys", "tokens"]);

/** The row of the run's token at a position; -1: none, or several sequences. */
export function rowOfPosition(run, position) {
  const found = run.tokens.findIndex((token) => token.position === position);
  const again = run.tokens.findIndex((token, i) => i > found && token.position === position);
  return again < 0 ? found : -1;
}

/** The row of the run's token that index i of an axis stands for; -1: none. */
export function rowOf(section, name, i) {
  const axis = section.axis(name);
  if (!PLACES.has(name) || !axis || !axis.isNumbers) return -1;
  const value = axis.number(i);
  if (name === "rows" || name === "tokens") return value < section.run.tokens.length ? value : -1;
  return rowOfPosition(section.run, value);
}

/** The label of index i of an axis: a token's text for rows and positions, "layer 3" for layers. */
export function labelOf(section, name, i) {
  const row = rowOf(section, name, i);
  if (row >= 0) return visible(section.run.tokens[row].text);
  const axis = section.axis(name);
  return axis ? axis.label(i) : String(i);
}

/** All labels of an axis. */
export function labelsOf(section, name) {
  return Array.from({ length: section.axis(name).n }, (_, i) => labelOf(section, name, i));
}

/** Labels for a table: "3 Oz" for rows, so that equal tokens differ. */
function cellOf(section, name, i) {
  const row = rowOf(section, name, i);
  return row >= 0
    ? `${section.axis(name).label(i)} ${labelOf(section, name, i)}`
    : section.axis(name).label(i);
}

/**
 * A table of arrays with the same axes: one line per element, all its labels, one column per key.
 * fixed: {axis: index} keeps one index of an axis and leaves the axis out. The numbers of a
 * token_ids array are the tokens' texts.
 */
export function longTable(section, keys, fixed = {}) {
  const arrays = keys.map((key) => section.array(key));
  const [{ axes, shape }] = arrays;
  const free = axes.map((_, a) => a).filter((a) => fixed[axes[a]] === undefined);
  const rows = [];
  const indices = axes.map((name) => (fixed[name] === undefined ? 0 : fixed[name]));
  const value = (array) => {
    const given = array.at(...indices);
    return array.tokenIds ? visible(section.run.tokenText(given)) : number(given);
  };
  const visit = (depth) => {
    if (depth === free.length) {
      rows.push([...free.map((a) => cellOf(section, axes[a], indices[a])), ...arrays.map(value)]);
      return;
    }
    for (let i = 0; i < shape[free[depth]]; i++) {
      indices[free[depth]] = i;
      visit(depth + 1);
    }
  };
  visit(0);
  return { head: [...free.map((a) => axes[a]), ...keys], rows };
}

/**
 * A number for a cell beside others of at most this size: two digits of the largest, and the same
 * decimals for all. An unset number has no text, one that rounds to 0 is "0".
 */
export function cellNumber(value, most) {
  if (Number.isNaN(value)) return "";
  const decimals = most > 0 ? Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(most)))) : 0;
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? "0" : text;
}

/** The largest size of numbers; 0 where there are none. */
export function mostOf(values) {
  return values.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0);
}
