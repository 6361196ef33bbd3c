// How strongly each head's output is read by later heads, by the weights. Matches X_composition
// [layers, heads, reader_layers, reader_heads].
import { bars } from "../parts/bars.js";
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf } from "../parts/labels.js";
import { number, short } from "../parts/scales.js";

const AXES = ["layers", "heads", "reader_layers", "reader_heads"];
const LISTED = 12;
const KINDS = {
  q: "Q: what the reader looks for",
  k: "K: what the reader finds",
  v: "V: what the reader carries",
};

function kindsOf(section) {
  return [...section.arrays.keys()].filter(
    (key) => /_composition$/.test(key) && section.has(key, AXES)
  );
}

function headNames(section, layers, heads) {
  return labelsOf(section, layers).flatMap((l) =>
    labelsOf(section, heads).map((h) => `L${l}H${h}`)
  );
}

/** The map's writers (rows) and readers (columns), without those that never compose. */
function mapOf(section, array) {
  const [layers, heads, readerLayers, readerHeads] = array.shape;
  const writers = headNames(section, "layers", "heads").slice(0, (layers - 1) * heads);
  const readers = headNames(section, "reader_layers", "reader_heads").slice(readerHeads);
  const value = (r, c) => {
    const reader = c + readerHeads;
    return array.at(
      Math.floor(r / heads),
      r % heads,
      Math.floor(reader / readerHeads),
      reader % readerHeads
    );
  };
  return { writers, readers, value, n: readerLayers };
}

/** All pairs that compose, the strongest first: [{name, value}]. */
function pairsOf(map) {
  const pairs = [];
  map.writers.forEach((writer, r) =>
    map.readers.forEach((reader, c) => {
      const value = map.value(r, c);
      if (!Number.isNaN(value))
        pairs.push({ name: `${writer} → ${reader}`, writer, reader, value });
    })
  );
  return pairs.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

/** The score of unrelated matrices, 1/sqrt(d_model); null where d_model is not known. */
function chanceOf(section) {
  const config = section.run.model && section.run.model.config;
  return config && config.d_model > 0 ? 1 / Math.sqrt(config.d_model) : null;
}

function drawMap(area, width, section, key) {
  const map = mapOf(section, section.array(key));
  const pairs = pairsOf(map);
  const values = pairs.map((pair) => pair.value);
  heatmap(area, width, {
    rows: map.writers,
    columns: map.readers,
    value: map.value,
    minCell: 4,
    maxCell: 26,
    scale: colorScale(values, { signed: section.isDifference, fromZero: section.isDifference }),
    legend: `${key.replace(/_/g, " ")} (rows write, columns read)`,
    label: `${key} of all heads`,
    tip: (r, c) => [`${map.writers[r]} → ${map.readers[c]}`, `${key}  ${short(map.value(r, c))}`],
  });
  const strongest = pairs.slice(0, LISTED);
  bars(area, Math.min(width, 560), {
    labels: strongest.map((pair) => pair.name),
    columns: [{ name: "strongest pairs", values: strongest.map((pair) => pair.value) }],
    label: `The ${LISTED} strongest pairs`,
    tip: (i) => [strongest[i].name, short(strongest[i].value)],
  });
}

export const composition = {
  name: "composition",
  match(section) {
    const arrays = kindsOf(section);
    if (!arrays.length || section.axis("reader_layers").n < 2) return null;
    return { arrays, title: "Composition" };
  },
  draw(place, section, page) {
    const keys = kindsOf(section);
    const chosen = choiceOf(page, section, "composition", 0);
    const chance = chanceOf(section);
    redrawOn(
      frame(place, {
        title: "Composition of heads",
        caption:
          "|A B| / (|A| |B|) of an earlier head's W_OV with a later head's weights. Empty: the " +
          `reader is not in a later layer.${
            chance ? ` Unrelated matrices score about ${short(chance)}.` : ""
          }`,
        label: `Composition scores of all pairs of heads, ${keys.join(", ")}`,
        controls: [
          choose(
            chosen,
            "Through",
            keys.map((key) => KINDS[key[0]] || key),
            2
          ),
        ],
        draw: (area, width) => drawMap(area, width, section, keys[chosen.value]),
        table: () => ({
          head: ["writer", "reader", keys[chosen.value]],
          rows: pairsOf(mapOf(section, section.array(keys[chosen.value]))).map((pair) => [
            pair.writer,
            pair.reader,
            number(pair.value),
          ]),
        }),
      }),
      [chosen]
    );
  },
};
