// Maps of a logit's shares at a row: layer by head, and heads by the position that they read.
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { heatmap } from "../parts/heatmap.js";
import { rowText, rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { targetAt } from "../parts/targets.js";
import { tinted } from "../parts/tinted.js";
import { components, sharesBy } from "./shares_data.js";

const MOST_LINES = 48;

/** The columns of the map layer by part: heads by number, then biases and MLP. */
function partOf({ kind, unit }) {
  if (kind === "head" || kind === "source") return `H${unit}`;
  return { attn_out: "attention", attn_bias: "attn bias", mlp_out: "MLP", neuron: "MLP",
    mlp_bias: "MLP" }[kind] || null;
}

function partRank(name) {
  const place = ["attention", "attn bias", "MLP"].indexOf(name);
  return place < 0 ? Number(name.slice(1)) : 1e6 + place;
}

/**
 * {layers, parts, value(layer, part), outside: [[kind, value]]} at target t and row index i; NaN
 * where the page lacks all components of a part.
 */
export function layerMap(section, key, t, i) {
  const array = section.array(key);
  const all = components(section.axis(array.axes[2]));
  const layers = Math.max(0, ...all.map((one) => one.layer + 1));
  const parts = [...new Set(all.map(partOf).filter(Boolean))];
  parts.sort((a, b) => partRank(a) - partRank(b));
  const sums = sharesBy(section, key, t, i, (one) => one.layer < 0 ? one.kind
    : `${one.layer} ${partOf(one)}`);
  const outside = ["embed", "edit"].filter((kind) => sums.has(kind))
    .map((kind) => [kind, sums.get(kind)]);
  const lacking = array.encoding === "top" ? NaN : 0;
  const value = (l, part) => {
    const sum = sums.get(`${l} ${part}`);
    return sum === undefined ? lacking : sum;
  };
  return { layers, parts, outside, value };
}

function headOf(section, t, i) {
  const row = rowTitle(section.run, section.axis("rows").number(i));
  return el("p", { class: "which" }, `${row} → ${targetAt(section, t, i)}`);
}

/** The note of a map whose array is cut on the page; "" where the page has all of it. */
function cut(section, key, t, i) {
  const array = section.array(key);
  if (array.encoding !== "top") return "";
  return " The page keeps the largest shares; the others, also of empty cells, sum to " +
    `${short(array.rest(t, i))}.`;
}

/** Draws layer by part. */
export function drawLayers(area, width, section, key, t, i) {
  const map = layerMap(section, key, t, i);
  const value = (r, c) => map.value(map.layers - 1 - r, map.parts[c]);
  const values = [];
  for (let r = 0; r < map.layers; r++)
    for (let c = 0; c < map.parts.length; c++) values.push(value(r, c));
  area.append(headOf(section, t, i));
  heatmap(area, width, {
    rows: Array.from({ length: map.layers }, (_, r) => `layer ${map.layers - 1 - r}`),
    columns: map.parts,
    value,
    scale: colorScale(values, { signed: true }),
    legend: "share (nats)",
    text: (r, c) => (Number.isNaN(value(r, c)) ? "" : short(value(r, c))),
    wholeTexts: true,
    minCell: 16, maxCell: 72, cellHeight: 24,
    label: `Shares by layer and head at ${rowTitle(section.run, section.axis("rows").number(i))}`,
    tip: (r, c) => [`layer ${map.layers - 1 - r}, ${map.parts[c]}`, `share ${number(value(r, c))}`],
  });
  const outside = map.outside.map(([kind, share]) => `${kind} ${short(share)}`).join(", ");
  area.append(el("p", { class: "note" }, `Outside the layers: ${outside || "nothing"}.` +
    cut(section, key, t, i)));
}

/** The numbers of the map layer by part. */
export function layerTable(section, key, t, i) {
  const map = layerMap(section, key, t, i);
  const rows = Array.from({ length: map.layers }, (_, l) =>
    [`layer ${l}`, ...map.parts.map((part) => number(map.value(l, part)))]);
  return { head: ["layer", ...map.parts],
    rows: [...rows, ...map.outside.map(([kind, value]) => [kind, number(value)])] };
}

/** Sums over heads by the position read, and each head's: {positions, heads [{name, values}]}. */
export function sourceMap(section, key, t, i) {
  const row = section.axis("rows").number(i);
  const here = section.run.tokens[row];
  const count = here ? here.position + 1 : 0;
  const first = row - count + 1; // the row of position 0 of this sequence
  const sums = new Float64Array(count);
  const heads = new Map();
  const array = section.array(key);
  const all = components(section.axis(array.axes[2]));
  for (const { index, value } of array.top(t, i)) {
    const { kind, layer, unit, position } = all[index];
    if (kind !== "source" || position >= count) continue;
    sums[position] += value;
    const name = `L${layer}H${unit}`;
    if (!heads.has(name)) heads.set(name, { name, layer, unit, values: new Float64Array(count) });
    heads.get(name).values[position] += value;
  }
  const weight = (head) => head.values.reduce((total, value) => total + Math.abs(value), 0);
  const ranked = [...heads.values()].sort((a, b) => weight(b) - weight(a)).slice(0, MOST_LINES);
  ranked.sort((a, b) => b.layer - a.layer || a.unit - b.unit);
  return { first, count, sums, heads: ranked, left: heads.size - ranked.length };
}

/** Draws the tokens tinted by what all heads read from them, and heads by position. */
export function drawSources(area, width, section, key, t, i) {
  const map = sourceMap(section, key, t, i);
  const rows = Array.from({ length: map.count }, (_, j) => map.first + j);
  const tokens = rows.map((row) => rowText(section.run, row));
  area.append(headOf(section, t, i), el("h5", null, "All heads, by the token read"));
  const sums = colorScale([...map.sums], { signed: true });
  tinted(area, width, { tokens, value: (j) => map.sums[j], scale: sums,
    legend: "share (nats)",
    label: `What all heads together read from each of ${map.count} tokens`,
    tip: (j) => [rowTitle(section.run, rows[j]), `share ${number(map.sums[j])}`] });
  const most = map.sums.reduce((best, sum, j) =>
    (Math.abs(sum) > Math.abs(map.sums[best]) ? j : best), 0);
  area.append(el("h5", null, "Each head, by the token read"));
  heatmap(area, width, {
    rows: map.heads.map((head) => head.name),
    columns: tokens,
    value: (r, c) => map.heads[r].values[c],
    scale: colorScale(map.heads.flatMap((head) => [...head.values]), { signed: true }),
    legend: "share (nats)",
    minCell: 4, maxCell: 46, cellHeight: 15,
    start: Math.min(map.count - 1, most + 1),
    label: `Shares of ${map.heads.length} heads by the position that they read`,
    tip: (r, c) => [`${map.heads[r].name} reads ${rowTitle(section.run, rows[c])}`,
      `share ${number(map.heads[r].values[c])}`],
  });
  const left = map.left > 0 ? `Heads with smaller shares are left out: ${map.left}.` : "";
  const note = `${left}${cut(section, key, t, i)}`.trim();
  if (note) area.append(el("p", { class: "note" }, note));
}

/** The numbers by the position read: the sum over heads, then each head. */
export function sourceTable(section, key, t, i) {
  const map = sourceMap(section, key, t, i);
  return { head: ["position", "token", "all heads", ...map.heads.map((head) => head.name)],
    rows: Array.from({ length: map.count }, (_, j) => [j, rowText(section.run, map.first + j),
      number(map.sums[j]), ...map.heads.map((head) => number(head.values[j]))]) };
}
