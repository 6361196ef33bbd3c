// How a quantity of neurons is distributed in each layer. Matches numbers of [..., layers, neurons]
// ("layers" may have a prefix, as in "geometry_layers"), and marks like "dead" that are 0 or 1.
import { bars } from "../parts/bars.js";
import { choiceOf, choose, chooseList, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { binned, histogram } from "../parts/histogram.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { short } from "../parts/scales.js";

const WIDE = 300; // a range of more than this factor is drawn in log steps
const PREFIXES = new Set(["populations", "scopes", "targets"]);

function matches(array) {
  const n = array.axes.length;
  return (
    !array.omitted &&
    array.values() &&
    n >= 2 &&
    array.axes[n - 1] === "neurons" &&
    /(^|_)layers$/.test(array.axes[n - 2]) &&
    array.axes.slice(0, n - 2).every((a) => PREFIXES.has(a))
  );
}

/** True for an array of marks: integers that are 0 or 1. */
function isMark(array) {
  return array.dtype === "I32" && array.range().low >= 0 && array.range().high <= 1;
}

/** The numbers of a layer at the indices of the axes before it. */
function valuesOf(array, prefix, layer) {
  const n = array.shape[array.shape.length - 1];
  const start = array.place([...prefix, layer]);
  return Array.from(array.values().slice(start, start + n));
}

/** True where numbers above 0 reach over several powers of ten. */
function isWide(lists) {
  let low = Infinity;
  let high = 0;
  for (const list of lists)
    for (const value of list) {
      if (value < 0) return false;
      if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
  return high > WIDE * low;
}

function nameOf(key) {
  return key.replace(/_/g, " ");
}

function drawLayers(area, width, section, array, prefix) {
  const name = array.axes[array.axes.length - 2];
  const layers = labelsOf(section, name);
  const lists = layers.map((_, l) => valuesOf(array, prefix, l).filter((v) => !Number.isNaN(v)));
  const log = !section.isDifference && isWide(lists);
  const all = lists.flat().filter((value) => !log || value > 0);
  if (!all.length) return;
  const low = all.reduce((a, b) => Math.min(a, b));
  const high = all.reduce((a, b) => Math.max(a, b));
  const whole = !log && all.every(Number.isInteger);
  const chance = section.values.get(`${array.key}_by_chance`);
  panels(
    area,
    width,
    layers.map((layer, l) => {
      const { edges, counts, outside } = binned(lists[l], {
        log,
        whole,
        bins: 30,
        domain: low < high ? [low, high] : undefined,
      });
      const zeros = log && outside ? `, ${outside} at 0` : "";
      return {
        title: `layer ${layer}${zeros}`,
        draw: (panel, wide) =>
          histogram(panel, wide, {
            edges,
            series: [{ name: "neurons", counts }],
            x: { name: nameOf(array.key), log, whole },
            y: { name: "neurons" },
            height: 150,
            levels: typeof chance === "number" ? [{ name: "by chance", value: chance }] : [],
            label: `${nameOf(array.key)} of layer ${layer}: ${lists[l].length} neurons`,
          }),
      };
    }),
    { least: 240 }
  );
}

/** All indices of the axes before the layers: [{name, prefix}]. */
function prefixesOf(section, array) {
  const [axis] = array.axes.slice(0, -2);
  if (!axis) return [{ name: null, prefix: [] }];
  return labelsOf(section, axis).map((name, i) => ({ name, prefix: [i] }));
}

function distributionFrame(place, section, page, keys) {
  const chosen = choiceOf(page, section, "distribution", 0);
  const arrays = keys.map((key) => section.array(key));
  const populations = arrays
    .map((array) => prefixesOf(section, array))
    .find((list) => list[0].name);
  const population = choiceOf(
    page,
    section,
    "neuron_rows",
    populations ? populations.length - 1 : 0
  );
  const controls = [chooseList(chosen, "Show", keys.map(nameOf))];
  if (populations)
    controls.push(
      choose(
        population,
        "Rows",
        populations.map((one) => one.name)
      )
    );
  redrawOn(
    frame(place, {
      title: "Distributions over the neurons",
      caption: "How many neurons of each layer have a value.",
      label: `Histograms over neurons by layer of ${keys.length} quantities`,
      controls,
      draw: (area, width) => {
        const array = arrays[chosen.value];
        const all = prefixesOf(section, array);
        drawLayers(
          area,
          width,
          section,
          array,
          all[Math.min(population.value, all.length - 1)].prefix
        );
      },
      table: () => longTable(section, [keys[chosen.value]]),
    }),
    [chosen, population]
  );
}

function marksFrame(place, section, keys) {
  const [first] = keys.map((key) => section.array(key));
  const layers = labelsOf(section, first.axes[first.axes.length - 2]);
  const counts = keys.map((key) =>
    layers.map((_, l) => valuesOf(section.array(key), [], l).reduce((sum, value) => sum + value, 0))
  );
  const tokens = section.values.get("tokens");
  frame(place, {
    title: `Neurons that are ${keys.map(nameOf).join(" or ")}`,
    caption:
      (tokens ? `Over ${short(tokens)} tokens; a rare neuron is dead in a short text. ` : "") +
      "dead: a > 0 at no token; silent: |g| < 0.01 at all tokens.",
    label: `Counts by layer: ${keys.map((key, k) => `${key} ${counts[k].join(", ")}`).join("; ")}`,
    draw: (area, width) =>
      bars(area, Math.min(width, 560), {
        labels: layers.map((l) => `layer ${l}`),
        columns: keys.map((key, k) => ({ name: key, values: counts[k] })),
        label: "Neurons by layer",
        tip: (l) => [`layer ${layers[l]}`, ...keys.map((key, k) => `${key}  ${counts[k][l]}`)],
      }),
    table: () => ({
      head: ["layers", ...keys],
      rows: layers.map((layer, l) => [layer, ...counts.map((list) => list[l])]),
    }),
  });
}

export const distributions = {
  name: "distributions",
  match(section) {
    const arrays = [...section.arrays.values()].filter(matches).map((array) => array.key);
    return arrays.length ? { arrays, title: "Neurons by layer" } : null;
  },
  draw(place, section, page, claimed) {
    const marks = claimed.filter((key) => isMark(section.array(key)));
    const others = claimed.filter((key) => !marks.includes(key));
    if (others.length) distributionFrame(place, section, page, others);
    const plain = marks.filter((key) => section.array(key).axes.length === 2);
    if (plain.length) marksFrame(place, section, plain);
  },
};
