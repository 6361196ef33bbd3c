// Shares over bins and histograms over a corpus. Matches arrays whose last axis is "bins" or
// "lengths" after one label axis (stacked bars), and X_histogram [layers, neurons, X_bins].
import { choiceOf, choose, chooseList, redrawOn } from "../parts/choose.js";
import { sequential } from "../parts/colors.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { histogram } from "../parts/histogram.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { short } from "../parts/scales.js";
import { stack } from "../parts/stack.js";

const PARTS = new Set(["bins", "lengths"]);
const ROWS = new Set(["populations", "scopes"]);
const TITLES = {
  rank_bins: "Ranks of the text's next token",
  size_bins: "How many tokens are kept",
  brackets: "Brackets by length",
};

/** Arrays [(rows,) label, bins] of shares or counts. */
function isShares(array) {
  const { axes } = array;
  const free = axes.length - (ROWS.has(axes[0]) ? 1 : 0);
  return (
    !array.omitted &&
    free === 2 &&
    PARTS.has(axes[axes.length - 1]) &&
    array.range().low >= 0 &&
    array.dtype !== "I32"
  );
}

function isHistogram(array) {
  const { key, axes } = array;
  return (
    /_histogram$/.test(key) &&
    axes.length === 3 &&
    axes[1] === "neurons" &&
    Boolean(array.sums() || !array.omitted)
  );
}

/** "without position 0" of "without_position_0". */
function spaced(label) {
  return label.replace(/_/g, " ");
}

/** Colors of ordered parts: the first is the deepest. */
export function ordered(n) {
  return Array.from({ length: n }, (_, k) => sequential(0.95 - (0.85 * k) / Math.max(1, n - 1)));
}

function sharesFrame(place, section, page, array) {
  const hasRows = ROWS.has(array.axes[0]);
  const [labelAxis, binAxis] = array.axes.slice(-2);
  const rows = hasRows ? labelsOf(section, array.axes[0]) : [];
  const chosen = choiceOf(page, section, "bin_rows", Math.max(0, rows.length - 1));
  const bins = labelsOf(section, binAxis);
  const kind = binAxis !== "bins" ? "length" : array.key === "size_bins" ? "kept" : "rank";
  const name = TITLES[array.key] || array.key.replace(/_/g, " ");
  const prefix = () => (hasRows ? [chosen.value] : []);
  redrawOn(
    frame(place, {
      title: name,
      label: `${name}: parts by ${kind} of each of ${section.axis(labelAxis).n} ${labelAxis}`,
      controls: rows.length > 1 ? [choose(chosen, "Rows", rows.map(spaced))] : [],
      draw: (area, width) =>
        stack(area, Math.min(width, 860), {
          parts: bins.map((bin) => (kind === "kept" ? `${bin} kept` : `${kind} ${bin}`)),
          labels: labelsOf(section, labelAxis).map((label) =>
            labelAxis === "levels" ? `level ${label}` : label
          ),
          colors: ordered(bins.length),
          value: (i, k) => array.at(...prefix(), i, k),
          label: `${array.key} by ${kind}`,
        }),
      table: () => longTable(section, [array.key]),
    }),
    [chosen]
  );
}

/** The n + 1 edges of a histogram's bins from the values X_bin_from; else bin numbers. */
function edgesOf(section, array) {
  const stem = array.key.slice(0, -"_histogram".length);
  const n = array.shape[2];
  const from = section.values.get(`${stem}_bin_from`);
  if (!Array.isArray(from)) return Array.from({ length: n + 1 }, (_, i) => i);
  const edges = from.map((edge, i) => (edge === null ? (i ? Infinity : -Infinity) : edge));
  const step = edges[n - 1] - edges[n - 2];
  edges.push(Math.abs(edges[n - 1] + step - 1) < 1e-9 ? 1 : Infinity);
  return edges;
}

/** Counts of a layer summed over its neurons. */
function countsOf(array, layer) {
  const sums = array.sums();
  const [, neurons, n] = array.shape;
  if (sums) return Array.from({ length: n }, (_, b) => sums.at(layer, b));
  const counts = new Array(n).fill(0);
  const values = array.values();
  for (let k = 0; k < neurons; k++)
    if (!values) for (const { index, value } of array.top(layer, k)) counts[index] += value;
    else for (let b = 0; b < n; b++) counts[b] += values[(layer * neurons + k) * n + b];
  return counts;
}

/** What share of all counts the page lacks: of bins that are small for their neuron. */
function noteOf(array) {
  if (array.encoding !== "top") return "";
  const [layers, neurons] = array.shape;
  let [kept, left] = [0, 0];
  for (let l = 0; l < layers; l++) {
    kept += countsOf(array, l).reduce((sum, count) => sum + count, 0);
    for (let k = 0; k < neurons; k++) left += array.rest(l, k);
  }
  const lack = short((100 * left) / (kept + left || 1));
  return el("p", { class: "note" }, `The page lacks ${lack} % of the counts.`);
}

function histogramFrame(place, section, page, keys) {
  const chosen = choiceOf(page, section, "histogram", 0);
  const scale = choiceOf(page, section, "histogram_scale", 0);
  const layers = labelsOf(section, "layers");
  const name = (key) => key.slice(0, -"_histogram".length).replace(/_/g, " ");
  redrawOn(
    frame(place, {
      title: "Histograms by layer",
      caption: "Counted over all tokens and neurons of a layer. The outer bins of pre are open.",
      label: `Histograms of ${keys.map(name).join(" and ")} for ${layers.length} layers`,
      controls: [
        chooseList(chosen, "Show", keys.map(name)),
        choose(scale, "Height", ["share", "count"]),
      ],
      draw: (area, width) => {
        const array = section.array(keys[chosen.value]);
        const edges = edgesOf(section, array);
        panels(
          area,
          width,
          layers.map((layer, l) => {
            const counts = countsOf(array, l);
            const sum = counts.reduce((a, b) => a + b, 0) || 1;
            return {
              title: `layer ${layer}`,
              draw: (panel, wide) =>
                histogram(panel, wide, {
                  edges,
                  height: 160,
                  series: [
                    { name: "", counts: scale.value ? counts : counts.map((count) => count / sum) },
                  ],
                  x: { name: name(array.key) },
                  y: { name: scale.value ? "count" : "share" },
                  label: `${name(array.key)} of layer ${layer}`,
                }),
            };
          }),
          { least: 240 }
        );
        area.append(noteOf(array));
      },
      table: () => {
        const array = section.array(keys[chosen.value]);
        const from = edgesOf(section, array);
        const bins = Array.from({ length: array.shape[2] }, (_, b) => b);
        return {
          head: ["layers", "bin", "from", "count"],
          rows: layers.flatMap((layer, l) => {
            const counts = countsOf(array, l);
            return bins.map((b) => [layer, b, from[b], counts[b]]);
          }),
        };
      },
    }),
    [chosen, scale]
  );
}

export const bins = {
  name: "bins",
  match(section) {
    const arrays = [...section.arrays.values()].filter(
      (array) => isShares(array) || isHistogram(array)
    );
    const keys = arrays.map((array) => array.key);
    const edges = keys.map((key) => key.replace(/_histogram$/, "_bin_from"));
    const values = edges.filter((name, i) => name !== keys[i] && section.values.has(name));
    return keys.length ? { arrays: keys, values, title: "Histograms" } : null;
  },
  draw(place, section, page, claimed) {
    const arrays = claimed.map((key) => section.array(key));
    for (const array of arrays.filter(isShares)) sharesFrame(place, section, page, array);
    const keys = arrays.filter(isHistogram).map((array) => array.key);
    if (keys.length) histogramFrame(place, section, page, keys);
  },
};
