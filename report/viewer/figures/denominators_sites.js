// The LayerNorm denominators: their statistics by site and row, the shares of the writers in them,
// and how the writers couple.
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { lines } from "../parts/lines.js";
import { rowFrame } from "../parts/row_frame.js";
import { axisLabels, rowMap, rowMapTable } from "../parts/row_map.js";
import { rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { siteQuantities } from "./denominators_data.js";

/** What rowMap() needs for a quantity; the last LayerNorm is at the top. */
function mapOf(section, { array, rows, name }) {
  return { lines: section.axis("sites"), rows, name, at: (l, i) => array.at(l, i), upward: true };
}

function drawSiteLines(area, width, section, quantity, i) {
  const sites = section.axis("sites");
  area.append(el("p", { class: "which" }, rowTitle(section.run, quantity.rows.number(i))));
  lines(area, width, {
    x: { name: "LayerNorm", labels: axisLabels(sites) },
    y: { name: quantity.name },
    series: [{ name: quantity.name,
      values: Array.from({ length: sites.n }, (_, s) => quantity.array.at(s, i)) }],
    height: 200,
    label: `${quantity.name} by LayerNorm`,
  });
}

function siteFigures(place, section, page) {
  const quantities = siteQuantities(section);
  if (!quantities.length) return;
  const chosen = choiceOf(page, section, "site quantity", 0);
  const sites = section.axis("sites");
  redrawOn(frame(place, {
    title: "Denominators by LayerNorm and row",
    caption: "The residual stream that enters each LayerNorm.",
    label: `Statistics of ${sites.n} LayerNorms`,
    controls: [chooseAny(chosen, "show", quantities.map((one) => one.name), 1)].filter(Boolean),
    draw: (area, width) =>
      rowMap(area, width, section, page, mapOf(section, quantities[chosen.value])),
    table: () => rowMapTable(section, mapOf(section, quantities[chosen.value])),
  }), [chosen]);
  const byRows = quantities.filter((one) => one.rows === quantities[0].rows);
  redrawOn(rowFrame(place, page, {
    axis: quantities[0].rows,
    title: "Over the LayerNorms, at the selected token",
    label: "A statistic over the LayerNorms",
    draw: (area, width, i) => drawSiteLines(area, width, section,
      byRows[Math.min(chosen.value, byRows.length - 1)], i),
    table: (i) => ({ head: ["LayerNorm", ...byRows.map((one) => one.name)],
      rows: axisLabels(sites).map((site, s) =>
        [site, ...byRows.map((one) => number(one.array.at(s, i)))]) }),
  }), [chosen]);
}

/** A map with signed numbers in its cells: value(r, c). */
function matrix(area, width, given) {
  const values = given.rows.flatMap((_, r) => given.columns.map((__, c) => given.value(r, c)));
  heatmap(area, width, {
    ...given,
    scale: colorScale(values, { signed: true }),
    text: (r, c) => short(given.value(r, c)),
    wholeTexts: true,
    minCell: 8, maxCell: 74, cellHeight: 20,
    tip: (r, c) => [given.name(r, c), number(given.value(r, c))],
  });
}

function couplingFigure(place, section, page) {
  const rows = section.axis("target_rows");
  const names = axisLabels(section.axis("writers"));
  const array = section.array("coupling");
  const total = (i) => names.reduce((sum, _, a) =>
    sum + names.reduce((inner, __, b) => inner + array.at(i, a, b), 0), 0);
  rowFrame(place, page, {
    axis: rows,
    title: "Coupling of the writers",
    caption: "P(a)·P(b) of two writes at the last LayerNorm: blue, they point the same way; " +
      "orange, they work against each other.",
    label: `Coupling of ${names.length} writers`,
    draw: (area, width, i) => {
      area.append(el("p", { class: "which" }, rowTitle(section.run, rows.number(i))));
      matrix(area, width, { rows: names, columns: names, value: (r, c) => array.at(i, r, c),
        legend: "P(a)·P(b)", name: (r, c) => `${names[r]} with ${names[c]}`,
        label: `Coupling of ${names.length} writers, sum ${short(total(i))}` });
      area.append(el("p", { class: "note" },
        `All entries sum to |P(x)|²${section.isDifference ? ", here its difference" : ""} = ` +
        `${number(total(i))}.`));
    },
    table: (i) => ({ head: ["writer", ...names],
      rows: names.map((name, a) => [name, ...names.map((_, b) => number(array.at(i, a, b)))]) }),
  });
}

function sharesFigure(place, section, page) {
  const rows = section.axis("target_rows");
  const [sites, writers] = [axisLabels(section.axis("sites")), axisLabels(section.axis("writers"))];
  const array = section.array("shares");
  rowFrame(place, page, {
    axis: rows,
    title: "Shares of the denominators",
    caption: "Each writer's share in |P(x)|² of a LayerNorm. Shares of a LayerNorm sum to 1.",
    label: `Shares of ${writers.length} writers in ${sites.length} LayerNorms`,
    draw: (area, width, i) => {
      area.append(el("p", { class: "which" }, rowTitle(section.run, rows.number(i))));
      matrix(area, width, { rows: [...sites].reverse(), columns: writers,
        value: (r, c) => array.at(sites.length - 1 - r, i, c), legend: "share of |P(x)|²",
        name: (r, c) => `${writers[c]} in ${sites[sites.length - 1 - r]}` });
    },
    table: (i) => ({ head: ["LayerNorm", ...writers],
      rows: sites.map((site, s) => [site, ...writers.map((_, w) => number(array.at(s, i, w)))]) }),
  });
}

/** Adds the figures of sites, shares and coupling to place. */
export function siteParts(place, section, page) {
  siteFigures(place, section, page);
  if (section.has("shares", ["sites", "target_rows", "writers"]))
    sharesFigure(place, section, page);
  if (section.has("coupling", ["target_rows", "writers", "writers"]))
    couplingFigure(place, section, page);
}
