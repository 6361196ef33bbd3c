// Layer by row: the token that each layer already predicts, colored by a chosen quantity;
// curves over the layers for the selected token; and the token's panel.
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { indexOfRow, rowTexts, rowTitle } from "../parts/rows.js";
import { short } from "../parts/scales.js";
import { lensCurves } from "./lens_curves.js";
import { lensKeys, lensLines, lensQuantities, lensTable, topTokens } from "./lens_data.js";

const TEXT_CELL = 62; // pixels of a cell with a token's text
const LEAST_CELL = 36; // the same where all rows are in sight with it
const BESIDE = 84; // pixels beside the cells
const MOST_TEXT_ROWS = 64; // more rows than this start without texts

function scaleOf(section, quantity) {
  const layers = section.axis("layers").n;
  const rows = section.axis("rows").n;
  const values = new Float64Array(layers * rows);
  for (let l = 0; l < layers; l++)
    for (let i = 0; i < rows; i++) values[l * rows + i] = quantity.at(l, i);
  return colorScale(values, { log: quantity.log, signed: section.isDifference,
    fromZero: quantity.key === "log_z" ? false : undefined });
}

function drawGrid(area, width, section, page, state) {
  const { quantities, quantity, texts } = state;
  const layers = section.axis("layers");
  const rows = section.axis("rows");
  const layerOf = (r) => layers.n - 1 - r; // the last layer is at the top
  const map = heatmap(area, width, {
    rows: Array.from({ length: layers.n }, (_, r) => layers.label(layerOf(r))),
    columns: rowTexts(section.run, rows),
    value: (r, c) => quantity.at(layerOf(r), c),
    scale: scaleOf(section, quantity),
    legend: quantity.name,
    text: texts ? (r, c) => (topTokens(section, layerOf(r), c)[0] || { text: "" }).text : null,
    minCell: !texts ? 2 : (width - BESIDE) / rows.n < LEAST_CELL ? TEXT_CELL : LEAST_CELL,
    start: rows.n - 1,
    maxCell: texts ? 110 : 40,
    cellHeight: 22,
    label: state.label,
    tip: (r, c) => lensLines(section, quantities,
      `${layers.label(layerOf(r))}, ${rowTitle(section.run, rows.number(c))}`, layerOf(r), c),
    onEnter: (r, c) => page.selection.set(rows.number(c)),
    onPick: (r, c) => page.selection.lock(rows.number(c)),
  });
  follow(page, area, (row) => map.highlight(indexOfRow(rows, row)));
}

function grid(place, section, page) {
  const quantities = lensQuantities(section);
  const rows = section.axis("rows");
  const layers = section.axis("layers");
  const last = topTokens(section, layers.n - 1, rows.n - 1)[0];
  const withTokens = Boolean(section.array("top_ids"));
  const color = choiceOf(page, section, "color", 0);
  const texts = withTokens && rows.n <= MOST_TEXT_ROWS;
  const cells = choiceOf(page, section, "cells", texts ? 0 : 1);
  const label = `What each of ${layers.n} layers predicts at ${rows.n} rows` +
    (last ? `; at the last row and layer: ${last.text}, ${short(last.probability)}` : "");
  redrawOn(frame(place, {
    title: "Layer by row",
    caption: "What each layer would predict next if it were the last: its most probable token.",
    label,
    controls: [
      chooseAny(color, "color", quantities.map((quantity) => quantity.name), 1),
      withTokens ? chooseAny(cells, "cells", ["with tokens", "colors only"]) : null,
    ].filter(Boolean),
    draw: (area, width) => drawGrid(area, width, section, page, {
      quantities, label, quantity: quantities[color.value], texts: cells.value === 0 }),
    table: () => lensTable(section, quantities),
  }), [color, cells]);
}

/** The token's panel: per layer its top tokens and what there is of entropy, KL and rank. */
function panel(section, row) {
  const i = indexOfRow(section.axis("rows"), row);
  if (i < 0) return null;
  const layers = section.axis("layers");
  const shown = lensQuantities(section).filter((quantity) =>
    ["entropy", "kl", "rank"].includes(quantity.key)).slice(0, 4);
  const lines = [];
  for (let l = layers.n - 1; l >= 0; l--) {
    const top = topTokens(section, l, i).slice(0, 3)
      .map((token) => `${token.text} ${short(token.probability)}`).join("  ");
    lines.push(el("tr", null, el("th", { scope: "row" }, layers.label(l)), el("td", null, top),
      shown.map((quantity) => el("td", { class: "number" }, short(quantity.at(l, i))))));
  }
  const head = ["layer", "predicts", ...shown.map((quantity) => quantity.name)];
  return el("table", { class: "panel" },
    el("thead", null, el("tr", null, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", null, lines));
}

export const lensFigure = {
  name: "lens",
  match(section) {
    const keys = lensKeys(section);
    if (!keys.length || !lensQuantities(section).length) return null;
    const ids = section.has("target_ids", ["targets", "rows", "ids"]) ? ["target_ids"] : [];
    return { arrays: [...keys, ...ids], title: "What each layer predicts" };
  },
  draw(place, section, page) {
    grid(place, section, page);
    lensCurves(place, section, page);
  },
  detail: panel,
};
