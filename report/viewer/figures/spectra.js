// Singular values of matrices, and cosines over the vocabulary. Matches spectrum_X whose last axis
// is numbered, and arrays of [vocabulary, labels].
import { choiceOf, chooseList, choose, redrawOn } from "../parts/choose.js";
import { sequential } from "../parts/colors.js";
import { frame } from "../parts/frame.js";
import { binned, histogram } from "../parts/histogram.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";

function spectraOf(section) {
  return [...section.arrays.values()].filter(
    (array) =>
      /^spectrum_/.test(array.key) &&
      !array.omitted &&
      array.values() &&
      array.axes.length >= 1 &&
      array.axes.length <= 3
  );
}

function nameOf(array) {
  return array.key.slice("spectrum_".length);
}

/** One line per layer (or head) of a spectrum; of [layers, heads] those of the chosen layer. */
function seriesOf(section, array, layer) {
  const n = array.shape[array.shape.length - 1];
  const line = (...prefix) => Array.from({ length: n }, (_, i) => array.at(...prefix, i));
  if (array.axes.length === 1) return [{ name: nameOf(array), values: line() }];
  const axis = array.axes[array.axes.length - 2];
  const labels = labelsOf(section, axis);
  const deep = (k) => sequential(0.35 + (0.6 * k) / Math.max(1, labels.length - 1));
  return labels.map((label, k) => ({
    name: `${axis === "heads" ? "H" : "layer "}${label}`,
    color: deep(k),
    wide: 1.5,
    values: array.axes.length === 2 ? line(k) : line(layer, k),
  }));
}

function rankText(section, array, layer) {
  const key = `effective_rank_${nameOf(array)}`;
  const value = section.values.get(key);
  if (array.axes.length === 1 && typeof value === "number")
    return `, effective rank ${value.toFixed(1)}`;
  if (array.axes.length === 3) return `, layer ${section.axis(array.axes[0]).label(layer)}`;
  return "";
}

function drawSpectrum(area, width, section, array, layer, log) {
  const n = array.shape[array.shape.length - 1];
  lines(area, width, {
    x: { name: "number", values: Array.from({ length: n }, (_, i) => i + 1) },
    y: { name: "singular value", log: log && !section.isDifference, zero: !log },
    series: seriesOf(section, array, layer).map((one) => ({ ...one, points: false })),
    height: 200,
    label: `Singular values of ${nameOf(array)}`,
  });
}

function spectraFrame(place, section, page, arrays) {
  const byHead = arrays.find((array) => array.axes.length === 3);
  const layers = byHead ? labelsOf(section, byHead.axes[0]) : [];
  const layer = choiceOf(page, section, "spectrum_layer", 0);
  const scale = choiceOf(page, section, "spectrum_scale", 0);
  const controls = [choose(scale, "Height", ["logarithmic", "linear"])];
  if (layers.length > 1) controls.push(chooseList(layer, "Layer of the heads", layers));
  redrawOn(
    frame(place, {
      title: "Spectra",
      caption:
        "Singular values in falling order. A flat line uses all its directions, a steep one few.",
      label: `Singular values of ${arrays.map(nameOf).join(", ")}`,
      controls,
      draw: (area, width) =>
        panels(
          area,
          width,
          arrays.map((array) => ({
            title: `${nameOf(array)}${rankText(section, array, layer.value)}`,
            draw: (panel, wide) =>
              drawSpectrum(panel, wide, section, array, layer.value, !scale.value),
          })),
          { least: 300, most: 3 }
        ),
      table: () => {
        const tables = arrays.map((array) => longTable(section, [array.key]));
        return {
          head: ["matrix", "place", "number", "singular value"],
          rows: tables.flatMap(({ rows }, k) =>
            rows.map((row) => [
              nameOf(arrays[k]),
              row
                .slice(0, -2)
                .map((label, i) => `${arrays[k].axes[i].slice(0, -1)} ${label}`)
                .join(", "),
              row[row.length - 2],
              row[row.length - 1],
            ])
          ),
        };
      },
    }),
    [layer, scale]
  );
}

function vocabularyFrame(place, section, array) {
  const labels = labelsOf(section, array.axes[1]);
  const n = array.shape[0];
  const most = array.range().most || 1;
  frame(place, {
    title: `${array.key.replace(/_/g, " ")} over the vocabulary`,
    label: `Histograms of ${array.key} over ${n} tokens`,
    draw: (area, width) =>
      panels(
        area,
        width,
        labels.map((label, k) => ({
          title: label,
          draw: (panel, wide) => {
            const values = Array.from({ length: n }, (_, i) => array.at(i, k)).filter(
              (v) => !Number.isNaN(v)
            );
            const { edges, counts } = binned(values, { bins: 40, domain: [-most, most] });
            histogram(panel, wide, {
              edges,
              series: [{ name: "tokens", counts }],
              x: { name: "cosine" },
              y: { name: "tokens" },
              height: 160,
              label: `${label}: ${n} tokens`,
            });
          },
        })),
        { least: 260 }
      ),
    table: () => longTable(section, [array.key]),
  });
}

function overVocabulary(section) {
  return [...section.arrays.values()].filter(
    (array) =>
      array.axes.length === 2 &&
      !array.omitted &&
      array.axes[0] === "vocabulary" &&
      /cosine/.test(array.key) &&
      array.range().most <= 1.000001
  );
}

export const spectra = {
  name: "spectra",
  match(section) {
    const arrays = [...spectraOf(section), ...overVocabulary(section)];
    return arrays.length ? { arrays: arrays.map((array) => array.key), title: "Spectra" } : null;
  },
  draw(place, section, page, claimed) {
    const arrays = spectraOf(section).filter((array) => claimed.includes(array.key));
    if (arrays.length) spectraFrame(place, section, page, arrays);
    for (const array of overVocabulary(section)) vocabularyFrame(place, section, array);
  },
};
