// How far trees of spans agree: levels with each other ([levels, levels], [levels, other_levels])
// and with trees that know nothing of the model ([levels, trees]); the strength of cuts by length.
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { number, short } from "../parts/scales.js";

const WORDS = {
  shared: "brackets that two levels share",
  overlap: "brackets shared with trees that know nothing of the model",
};

const words = (key) => WORDS[key] || key.replace(/_/g, " ");
const isUsable = (array) => !array.omitted && array.dtype !== "I32" && !array.tokenIds;

function isMatrix(array) {
  const [first, second] = array.axes;
  return (
    isUsable(array) &&
    array.axes.length === 2 &&
    first === "levels" &&
    (second === first || second === `other_${first}` || second === "trees")
  );
}

const isByLength = (array) =>
  isUsable(array) && array.key === "strength" && array.axes.join() === "levels,lengths";

/** False where no element of a dense array is set. */
function hasNumbers(array) {
  const values = array.values();
  return !values || values.some((value) => !Number.isNaN(value));
}

const levelNames = (section, axis) =>
  labelsOf(section, axis).map((label) => (/levels$/.test(axis) ? `level ${label}` : label));

function matrixPanel(section, array) {
  const [down, across] = array.axes.map((axis) => levelNames(section, axis));
  const isOne = (r, c) => array.axes[1] !== "trees" && r === c;
  const values = down.flatMap((_, r) => across.map((_, c) => array.at(r, c)));
  return {
    title: words(array.key),
    draw: (place, width) =>
      heatmap(place, width, {
        rows: down,
        columns: across,
        value: (r, c) => (isOne(r, c) ? NaN : array.at(r, c)),
        text: (r, c) => (isOne(r, c) ? "" : short(array.at(r, c))),
        scale: section.isDifference
          ? colorScale(values, { signed: true })
          : colorScale({ low: 0, high: 1 }),
        legend: section.isDifference ? "difference of shares" : "share of brackets",
        maxCell: 84,
        label: words(array.key),
        tip: (r, c) => [`${down[r]}, ${across[c]}`, `share ${number(array.at(r, c))}`],
      }),
  };
}

/** Levels beside levels and beside trees of no model. */
function matricesFrame(place, section, arrays) {
  const columns = arrays.flatMap((array) =>
    levelNames(section, array.axes[1]).map((label, c) => ({
      name: `${array.key} ${label}`,
      array,
      c,
    }))
  );
  frame(place, {
    title: "Agreement between trees",
    label: `shares of brackets: ${arrays.map(({ key }) => words(key)).join("; ")}`,
    caption: "Shares of a level's brackets, without the whole.",
    draw: (area, width) =>
      panels(
        area,
        width,
        arrays.map((array) => matrixPanel(section, array)),
        { least: 330, most: 2 }
      ),
    table: () => ({
      head: ["level", ...columns.map(({ name }) => name)],
      rows: labelsOf(section, "levels").map((label, r) => [
        label,
        ...columns.map(({ array, c }) => number(array.at(r, c))),
      ]),
    }),
  });
}

function lengthFrame(place, section, array) {
  const levels = labelsOf(section, "levels");
  const lengths = labelsOf(section, "lengths");
  frame(place, {
    title: "Mean strength of cuts by length",
    label: `mean strength of brackets at ${levels.length} levels by length in units`,
    caption:
      "What the right part of a bracket reads of the left, by the bracket's length in units.",
    draw: (area, width) =>
      lines(area, width, {
        x: { name: "units", labels: lengths },
        y: { name: "strength" },
        series: levels.map((label, l) => ({
          name: `level ${label}`,
          values: lengths.map((_, i) => array.at(l, i)),
          points: true,
        })),
        label: "strength by length",
      }),
    table: () => ({
      head: ["level", ...lengths],
      rows: levels.map((label, l) => [label, ...lengths.map((_, i) => number(array.at(l, i)))]),
    }),
  });
}

export const agreement = {
  name: "agreement",
  match(section) {
    const found = [...section.arrays.values()].filter(
      (array) => isMatrix(array) || isByLength(array)
    );
    return found.length ? { arrays: found.map(({ key }) => key), title: "Agreement" } : null;
  },
  draw(place, section, page, claimed) {
    const of = (is) =>
      claimed
        .map((key) => section.array(key))
        .filter((array) => array && !array.omitted && is(array));
    const matrices = of(isMatrix).filter(hasNumbers);
    if (matrices.length) matricesFrame(place, section, matrices);
    else if (of(isMatrix).length)
      place.append(el("p", { class: "note" }, "There are no brackets to compare."));
    for (const array of of(isByLength)) lengthFrame(place, section, array);
  },
};
