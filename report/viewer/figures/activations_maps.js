// Maps of neurons: how many fire at how many rows, and the most active detectors of a row.
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { heatmap } from "../parts/heatmap.js";
import { axisLabels } from "../parts/row_map.js";
import { rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";

const MOST_BINS = 40;

/** Neurons per layer by firing rows: {bins [{label, from, to}], counts [layer][bin]}. */
export function firesOf(section) {
  const array = section.array("fires");
  const layers = section.axis("layers").n;
  const most = Math.max(1, array.range().high);
  const step = Math.ceil((most + 1) / MOST_BINS);
  const bins = [];
  for (let from = 0; from <= most; from += step) {
    const to = Math.min(most, from + step - 1);
    bins.push({ from, to, label: from === to ? String(from) : `${from}–${to}` });
  }
  const counts = Array.from({ length: layers }, () => new Array(bins.length).fill(0));
  for (let l = 0; l < layers; l++)
    for (let k = 0; k < array.last; k++) counts[l][Math.floor(array.at(l, k) / step)] += 1;
  return { bins, counts };
}

/** Draws layers by the number of rows; the color is the number of neurons. */
export function drawFires(area, width, section) {
  if (section.isDifference) {
    area.append(el("p", { class: "note" }, "Counts of the two runs are not subtracted."));
    return;
  }
  const { bins, counts } = firesOf(section);
  const layers = axisLabels(section.axis("layers"));
  const layer = (r) => layers.length - 1 - r;
  heatmap(area, width, {
    rows: layers.map((_, r) => `layer ${layers[layer(r)]}`),
    columns: bins.map((bin) => bin.label),
    value: (r, c) => counts[layer(r)][c],
    scale: colorScale(counts.flat()),
    legend: "neurons",
    text: (r, c) => String(counts[layer(r)][c]),
    wholeTexts: true,
    minCell: 6, maxCell: 48, cellHeight: 20,
    label: `Neurons by the number of rows at which they fire; never: ` +
      counts.map((line, l) => `${line[0]} in layer ${layers[l]}`).join(", "),
    tip: (r, c) => [`layer ${layers[layer(r)]}`, `${counts[layer(r)][c]} neurons fire at ` +
      `${bins[c].label} rows`],
  });
  const fraction = section.values.get("firing_fraction");
  if (Array.isArray(fraction))
    area.append(el("p", { class: "note" }, "Fraction of neurons that fire at a row: " +
      fraction.map((value, l) => `layer ${layers[l]} ${short(value)}`).join(", ") + "."));
}

/** The counts. */
export function firesTable(section) {
  const { bins, counts } = firesOf(section);
  return { head: ["layer", ...bins.map((bin) => `${bin.label} rows`)],
    rows: axisLabels(section.axis("layers")).map((label, l) => [label, ...counts[l]]) };
}

/** Draws layers by rank: the detector's number, colored by the projection on it. */
export function drawSpan(area, width, section, i) {
  const layers = axisLabels(section.axis("layers"));
  const ranks = axisLabels(section.axis("span"));
  const neuron = section.array("span_neuron");
  const random = section.array("span_random_neuron");
  const projection = section.array("span_projection");
  const value = (l, k) => (projection && !projection.omitted ? projection.at(l, i, k) : NaN);
  const layer = (r) => layers.length - 1 - r;
  area.append(el("p", { class: "which" }, rowTitle(section.run, section.axis("rows").number(i))));
  const values = layers.flatMap((_, l) => ranks.map((__, k) => value(l, k)));
  heatmap(area, width, {
    rows: layers.map((_, r) => `layer ${layers[layer(r)]}`),
    columns: ranks,
    value: (r, c) => value(layer(r), c),
    scale: colorScale(values, { signed: section.isDifference }),
    legend: "projection on the detector",
    text: (r, c) => `N${neuron.at(layer(r), i, c)}`,
    minCell: 20, maxCell: 64, cellHeight: 20,
    label: `The ${ranks.length} most active detectors of ${layers.length} layers`,
    tip: (r, c) => [`L${layers[layer(r)]}N${neuron.at(layer(r), i, c)}`,
      `projection ${number(value(layer(r), c))}`,
      ...(random && !random.omitted ? [`random beside it: N${random.at(layer(r), i, c)}`] : [])],
  });
}

/** The detectors and projections at row index i. */
export function spanTable(section, i) {
  const rows = [];
  const projection = section.array("span_projection");
  axisLabels(section.axis("layers")).forEach((layer, l) =>
    axisLabels(section.axis("span")).forEach((rank, k) => rows.push([layer, rank,
      section.array("span_neuron").at(l, i, k),
      projection && !projection.omitted ? number(projection.at(l, i, k)) : "-"])));
  return { head: ["layer", "rank", "neuron", "projection"], rows };
}
