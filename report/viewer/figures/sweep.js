// The effect of changing each place of the model in turn: layer by head, layer by position, head by
// position, or the edges of a layer. Matches the array "effect", and "normalized" beside it. The
// figure
// of attributions draws its estimates of the same effects by drawEffects().
import { bars } from "../parts/bars.js";
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { facts } from "../parts/facts.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { cellNumber, labelOf, labelsOf, longTable, rowOf } from "../parts/labels.js";
import { number, short } from "../parts/scales.js";
import { targetTexts } from "../parts/targets.js";

const LISTED = 15;
const MOST_LINES = 48; // head by position: more lines than this are drawn layer by layer
const FORMS = [
  "layers,heads",
  "layers,rows",
  "layers,heads,rows",
  "heads,rows,keys",
];
const LISTED_ONLY = "layers,neurons"; // too wide for a map
const ESTIMATED = [...FORMS, "layers,heads,rows,keys", LISTED_ONLY];
const DONE = {
  zero: "set to 0",
  mean: "set to its mean",
  patch: "patched from the source prompt",
  cut: "cut",
};
const PLACES = {
  heads: "each head",
  heads_by_pos: "each head at each row",
  resid_pre: "the residual at each layer and row",
  edges: "each attention edge",
  attn_out: "the attention write at each layer and row",
  mlp_out: "the MLP write at each layer and row",
  neurons: "each neuron",
};

/** The axes of the array without the targets. */
function placesOf(array) {
  return array.axes.filter((name) => name !== "targets");
}

/** The axis of the rows: older results call it "positions". */
const rowAxis = (axes) => (axes.includes("positions") ? "positions" : "rows");

/** The form of the array, one of FORMS if it is a sweep's. */
function formOf(axes) {
  return axes.join().replace("positions", "rows");
}

/** What the numbers are, from the options. */
function quantity(section, array) {
  if (array.key === "estimate") return "estimated change (nats)";
  if (array.key === "normalized") return "change / (source - before)";
  const metric = section.options.metric;
  if (metric === "log_prob") return "change of log p (nats)";
  if (metric === "kl") return "KL(before || after) (nats)";
  return metric === "logit" ? "change of the logit (nats)" : "effect";
}

function captionOf(section, array) {
  const place = PLACES[section.options.over];
  const done = DONE[section.options.do];
  if (!place || !done) return null;
  if (array.key === "estimate")
    return `What the gradient expects if ${place} is ${done}: the change at the target's last row.`;
  return (
    `${place[0].toUpperCase()}${place.slice(1)} is ${done} in a run of its own. ` +
    `Color: the ${quantity(section, array)}, after minus before, at the last row.`
  );
}

/** The value at indices of the places, of the chosen target. */
function reader(array, target) {
  const prefix = array.axes[0] === "targets" ? [target] : [];
  return (...indices) => array.at(...prefix, ...indices);
}

/** The name of a place: "L3H1 at ' of'", "layer 2 at ...", "head 3: a to b". */
function placeName(section, axes, indices) {
  const at = (name) =>
    axes.includes(name) ? labelOf(section, name, indices[axes.indexOf(name)]) : null;
  const row = rowAxis(axes);
  if (axes.includes("neurons")) return `L${at("layers")}N${at("neurons")}`;
  const layer = at("layers") === null ? "" : `L${at("layers")}`;
  if (axes.includes("keys")) return `${layer}H${at("heads")} ${at(row)} → ${at("keys")}`;
  const head = at("heads") === null ? `layer ${at("layers")}` : `L${at("layers")}H${at("heads")}`;
  return at(row) === null ? head : `${head} at ${at(row)}`;
}

/** All places in the order of |effect|: [{indices, value}]. */
function ranked(array, target, most) {
  const first = array.axes[0] === "targets" ? [target] : [];
  const found = [];
  const visit = (indices) => {
    const a = first.length + indices.length;
    if (a < array.shape.length - 1)
      for (let i = 0; i < array.shape[a]; i++) visit([...indices, i]);
    else
      for (const { index, value } of array.top(...first, ...indices, { n: most }))
        if (value) found.push({ indices: [...indices, index], value });
  };
  visit([]);
  return found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, most);
}

/** The indices of the chosen head: [head], or [layer, head] where all layers are there. */
function placeOfHead(section, axes, slice) {
  const { n } = section.axis("heads");
  return axes[0] === "layers" ? [Math.floor(slice / n), slice % n] : [slice];
}

/** The map: {rows, columns, last (axis of the columns), indices(r, c), value(r, c)}. */
function mapOf(section, array, target, slice) {
  const axes = placesOf(array);
  const read = reader(array, target);
  const last = axes[axes.length - 1];
  const columns =
    last === "heads" ? labelsOf(section, last).map((text) => `H${text}`) : labelsOf(section, last);
  const layers = axes[0] === "layers" ? labelsOf(section, "layers") : [];
  if (axes.length === 2)
    return {
      axes,
      last,
      columns,
      rows: layers.map((text) => `layer ${text}`),
      indices: (r, c) => [r, c],
      value: (r, c) => read(r, c),
    };
  if (last === "keys") {
    const at = placeOfHead(section, axes, slice);
    return {
      axes,
      last,
      columns,
      rows: labelsOf(section, rowAxis(axes)),
      indices: (r, c) => [...at, r, c],
      value: (r, c) => read(...at, r, c),
    };
  }
  const heads = section.axis("heads").n;
  const first = slice < 0 ? 0 : slice * heads;
  const n = slice < 0 ? layers.length * heads : heads;
  const split = (r) => [Math.floor((first + r) / heads), (first + r) % heads];
  return {
    axes,
    last,
    columns,
    rows: Array.from({ length: n }, (_, r) => `L${layers[split(r)[0]]}H${split(r)[1]}`),
    indices: (r, c) => [...split(r), c],
    value: (r, c) => read(...split(r), c),
  };
}

/** The scale over everything of the chosen target, so that layers and heads compare. */
function scaleOf(section, array, target) {
  const per = array.axes[0] === "targets" ? array.size / array.shape[0] : array.size;
  const values = array.values();
  const own = values ? values.slice(target * per, (target + 1) * per) : array.range();
  return colorScale(own, { signed: section.isDifference });
}

function drawMap(area, width, section, page, array, target, slice) {
  const map = mapOf(section, array, target, slice);
  const scale = scaleOf(section, array, target);
  const row = (c) => rowOf(section, map.last, c);
  const drawn = heatmap(area, width, {
    rows: map.rows,
    columns: map.columns,
    scale,
    legend: quantity(section, array),
    value: map.value,
    wholeTexts: true,
    text: (r, c) => cellNumber(map.value(r, c), array.range().most),
    label: `${quantity(section, array)}: ${map.rows.length} by ${map.columns.length} places`,
    tip: (r, c) => [
      placeName(section, map.axes, map.indices(r, c)),
      `${quantity(section, array)}  ${short(map.value(r, c))}`,
    ],
    onEnter: (r, c) => row(c) >= 0 && page.selection.set(row(c)),
    onPick: (r, c) => row(c) >= 0 && page.selection.lock(row(c)),
  });
  if (map.last === "heads") return;
  const columnOf = new Map(map.columns.map((_, c) => [row(c), c]));
  follow(page, area, (selected) =>
    drawn.highlight(columnOf.has(selected) ? columnOf.get(selected) : -1)
  );
}

function listFrame(place, section, chosenArray, chosen) {
  const axes = placesOf(chosenArray());
  const entries = () => ranked(chosenArray(), chosen.target.value, LISTED);
  const unit = () => quantity(section, chosenArray());
  const name = (entry) => placeName(section, axes, entry.indices);
  return frame(place, {
    title: chosenArray().key === "estimate" ? "Largest estimates" : "Largest effects",
    label: `The ${LISTED} largest effects as bars`,
    draw: (area, width) => {
      const list = entries();
      bars(area, Math.min(width, 640), {
        labels: list.map(name),
        columns: [{ name: unit(), values: list.map((entry) => entry.value) }],
        tip: (i) => [name(list[i]), `${unit()}  ${short(list[i].value)}`],
      });
    },
    table: () => ({
      head: ["place", unit()],
      rows: entries().map((entry) => [name(entry), number(entry.value)]),
    }),
  });
}

/** The layer or head that is drawn first, and the control that chooses another. */
function slices(page, section, array) {
  const axes = placesOf(array);
  if (axes.length === 2) return { chosen: null, control: null, of: () => 0 };
  const [best] = ranked(array, 0, 1);
  if (axes.length === 4) {
    const heads = section.axis("heads").n;
    const names = labelsOf(section, "layers").flatMap((layer) =>
      labelsOf(section, "heads").map((head) => `L${layer}H${head}`));
    const first = best ? best.indices[0] * heads + best.indices[1] : 0;
    const chosen = choiceOf(page, section, "head", first);
    return { chosen, control: choose(chosen, "Head", names), of: () => chosen.value };
  }
  const kind = axes[0] === "heads" ? "head" : "layer";
  const names = labelsOf(section, axes[0]).map((text) => `${kind} ${text}`);
  if (axes[2] === "keys") {
    const chosen = choiceOf(page, section, "head", best ? best.indices[0] : 0);
    return { chosen, control: choose(chosen, "Head", names), of: () => chosen.value };
  }
  const few = section.axis("layers").n * section.axis("heads").n <= MOST_LINES;
  const chosen = choiceOf(page, section, "layer", few ? 0 : 1 + (best ? best.indices[0] : 0));
  return {
    chosen,
    control: choose(chosen, "Layers", ["all", ...names]),
    of: () => chosen.value - 1,
  };
}

/** The arrays that are drawn: of patches, also the effects on the scale of the source. */
function keysOf(section) {
  if (!section.array("effect")) return ["estimate"];
  const normalized = section.array("normalized");
  const known = normalized && !normalized.omitted && normalized.range().most > 0;
  return known ? ["effect", "normalized"] : ["effect"];
}

/** Whether an array has estimates of effects that drawEffects() can draw. */
export function isEstimate(array) {
  return Boolean(array) && !array.omitted && ESTIMATED.includes(formOf(placesOf(array)));
}

/** "' Oz': 3.1 before, 2.5 on the source prompt." */
function valuesNote(section, targets) {
  const base = section.values.get("base");
  const source = section.values.get("source");
  if (!Array.isArray(base) || !targets.length) return [];
  const beside = (i) =>
    Array.isArray(source) ? `, ${short(source[i])} on the source prompt` : "";
  const texts = targets.map((text, i) => `${text}: ${short(base[i])} before${beside(i)}`);
  return [`${texts.join("; ")}.`];
}

/**
 * Adds the map and the list of the largest effects, or of their estimates. Returns the choice of
 * the
 * target, which more figures may follow, and the targets' texts.
 */
export function drawEffects(place, section, page) {
  const keys = keysOf(section);
  const array = section.array(keys[0]);
  const targets = array.axes[0] === "targets" ? targetTexts(section) : [];
  const chosen = { target: choiceOf(page, section, "target", 0) };
  const what = keys[0] === "estimate" ? "Estimated effects" : "Effects";
  const kind = choiceOf(page, section, "number", 0);
  const chosenArray = () => section.array(keys[kind.value] ?? keys[0]);
  if (formOf(placesOf(array)) !== LISTED_ONLY) {
    const slice = slices(page, section, array);
    const controls = [slice.control];
    if (keys.length > 1) controls.unshift(choose(kind, "Number", keys));
    if (targets.length > 1) controls.unshift(choose(chosen.target, "Target", targets));
    const map = frame(place, {
      title: targets.length === 1 ? `${what} on ${targets[0]}` : what,
      caption: captionOf(section, array),
      notes: valuesNote(section, targets),
      label:
        `${quantity(section, array)} of each place; ` +
        `the largest is ${short(array.range().most)}`,
      controls: controls.filter((control) => control),
      draw: (area, width) =>
        drawMap(area, width, section, page, chosenArray(), chosen.target.value, slice.of()),
      table: () => longTable(section, keys),
    });
    redrawOn(map, [chosen.target, kind, ...(slice.chosen ? [slice.chosen] : [])]);
  }
  redrawOn(listFrame(place, section, chosenArray, chosen), [chosen.target, kind]);
  return { target: chosen.target, targets };
}

export const sweep = {
  name: "sweep",
  examples: true,
  match(section) {
    const array = section.array("effect");
    if (!array || array.omitted || !FORMS.includes(formOf(placesOf(array)))) return null;
    return { arrays: keysOf(section), title: "Effects" };
  },
  draw(place, section, page) {
    drawEffects(place, section, page);
  },
  detail: (section, row, page) => effectsAt(section, row, page, "effect"),
};

/** What the panel says of a token: the effects at its row by layer; null for other forms. */
export function effectsAt(section, row, page, key) {
  const array = section.array(key);
  const axes = placesOf(array);
  if (formOf(axes) !== "layers,rows") return null;
  const name = rowAxis(axes);
  const i = labelsOf(section, name).findIndex((_, p) => rowOf(section, name, p) === row);
  if (i < 0) return null;
  const read = reader(array, choiceOf(page, section, "target", 0).value);
  const layers = labelsOf(section, "layers");
  return facts(layers.map((layer, l) => [`layer ${layer}`, read(l, i)]));
}
