// How a circuit's first edges do: faithfulness and completeness, and the least that an edge
// matters.
import { frame } from "../parts/frame.js";
import { longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";

/** The curves over the number of edges, and what each is called. */
export const CURVES = {
  curve_faithfulness: "faithfulness: these edges alone",
  curve_completeness: "completeness: all other edges",
  curve_random: "faithfulness of random edges",
  curve_minimality: "least loss of an edge",
  curve_value: "metric of the circuit",
};
const PARTS = [
  { title: "Faithfulness by number of edges", unit: "part of the metric's difference",
    keys: ["curve_faithfulness", "curve_completeness", "curve_random"],
    levels: [{ name: "whole model", value: 1 }],
    caption: "Of the circuit of the first edges, of the model without them, and of as many " +
      "random edges. 1: as the whole model, 0: as the source prompt." },
  { title: "The metric by number of edges", unit: "nats", keys: ["curve_value"], levels: [],
    caption: "The metric when all edges but the first ones are patched." },
  { title: "Minimality by number of edges", unit: "nats", keys: ["curve_minimality"], levels: [],
    caption: "How much the circuit loses without the edge that matters least to it. 0: that edge " +
      "does nothing there." },
];

function seriesOf(section, key) {
  const read = (array) => (array ? Array.from(array.values()) : undefined);
  const interval = section.interval ? section.interval(key) : null;
  const ends = interval ? { low: read(interval.low), high: read(interval.high) } : {};
  return { name: CURVES[key], values: read(section.array(key)), ...ends };
}

/** Adds a frame for each kind of curve that a section has. */
export function curvesFrames(place, section) {
  for (const part of PARTS) {
    const keys = part.keys.filter((key) => section.has(key, ["sizes"]));
    if (!keys.some((key) => [...section.array(key).values()].some(Number.isFinite))) continue;
    const sizes = section.axis("sizes");
    const values = Array.from({ length: sizes.n }, (_, i) => sizes.number(i));
    const spread = keys.some((key) => section.interval && section.interval(key));
    frame(place, {
      title: part.title,
      caption: part.caption + (spread ? " Bands: the 95 % interval of the mean." : ""),
      label: `${part.title}, ${sizes.n} sizes`,
      draw: (area, width) =>
        lines(area, Math.min(width, 760), {
          height: 240,
          label: `${part.title}, from ${values[0]} to ${values[values.length - 1]} edges`,
          x: { name: "edges", values, log: true },
          y: { name: part.unit },
          series: keys.map((key) => seriesOf(section, key)),
          levels: section.isDifference ? [] : part.levels,
        }),
      table: () => longTable(section, keys),
    });
  }
}
