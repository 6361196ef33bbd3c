// Neurons of a run: the largest shares with their gates, the activations at a token, and how many
// neurons do the work, by layer and row.
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { rowFrame, rowList } from "../parts/row_frame.js";
import { rowMap, rowMapTable } from "../parts/row_map.js";
import { indexOfRow } from "../parts/rows.js";
import { short } from "../parts/scales.js";
import { lastWithTarget, targetAt, targetTexts } from "../parts/targets.js";
import { activationTable, activations, drawActivations, drawTop, topNeurons, topTable } from
  "./activations_bars.js";
import { drawFires, drawSpan, firesTable, spanTable } from "./activations_maps.js";

const ROWS = ["rows", "target_rows"];
const PER_LAYER = {
  participation: "participation ratio of the write",
  share_participation: "participation ratio of the shares",
  relu_error: "ReLU's error, relative",
  relu_error_target: "ReLU's error on the logit (nats)",
  feature_span: "feature span",
  feature_span_random: "feature span of random detectors",
};
const KEPT = ["post", "pre", "gate"];
const TOP = ["top_share", "top_layer", "top_neuron", "top_pre", "top_gate"];
const SPAN = ["span_neuron", "span_random_neuron", "span_projection"];
const PANEL = 5;

/** Quantities by layer and row: [{key, name, rows (axis), at(target) -> (layer, i) -> number}]. */
function quantities(section) {
  const found = [];
  for (const [key, name] of Object.entries(PER_LAYER))
    for (const axis of ROWS) {
      if (section.has(key, ["layers", axis]))
        found.push({ key, name, rows: section.axis(axis),
          at: () => (l, i) => section.array(key).at(l, i) });
      if (section.has(key, ["targets", "layers", axis]))
        found.push({ key, name, rows: section.axis(axis),
          at: (t) => (l, i) => section.array(key).at(t, l, i) });
    }
  return found;
}

function keysOf(section) {
  const has = (keys, axes) => keys.filter((key) => section.has(key, axes));
  const keys = quantities(section).map((one) => one.key);
  keys.push(...has(KEPT, ["layers", "rows", "neurons"]));
  const top = has(TOP, ["targets", "target_rows", "top"]);
  if (top.includes("top_layer") && top.includes("top_neuron")) keys.push(...top);
  if (section.has("span_neuron", ["layers", "rows", "span"]))
    keys.push(...has(SPAN, ["layers", "rows", "span"]));
  return keys.length ? [...keys, ...has(["fires"], ["layers", "neurons"])] : keys;
}

function topFigure(place, section, page, target, keys) {
  if (!keys.includes("top_layer") || section.isDifference) return;
  const axis = section.axis("target_rows");
  redrawOn(rowFrame(place, page, {
    axis,
    first: lastWithTarget(section, 0, axis.n),
    title: "Neurons with the largest shares",
    caption: "Each neuron's part of the logit, its pre-activation and how far its gate is open.",
    label: "Neurons with the largest shares of the logit",
    draw: (area, width, i) => drawTop(area, width, section, target.value, i),
    table: (i) => topTable(section, target.value, i),
  }), [target]);
}

function activationFigure(place, section, page, keys) {
  const kept = KEPT.filter((key) => keys.includes(key));
  if (!kept.length) return;
  const layers = section.axis("layers");
  const names = ["all", ...Array.from({ length: layers.n }, (_, l) => layers.label(l))];
  const layer = choiceOf(page, section, "layer", 0);
  redrawOn(rowFrame(place, page, {
    axis: section.axis("rows"),
    title: "Largest activations at the token",
    caption: "pre-activation × gate = activation, of the neurons with the largest activations.",
    label: "Neurons with the largest activations at the selected token",
    controls: [chooseAny(layer, "layer", names, 8)].filter(Boolean),
    draw: (area, width, i) => drawActivations(area, width, section, kept, layer.value - 1, i),
    table: (i) => activationTable(section, kept, layer.value - 1, i),
  }), [layer]);
}

function layerFigure(place, section, page, target) {
  const all = quantities(section);
  if (!all.length) return;
  const chosen = choiceOf(page, section, "layer quantity", 0);
  const given = () => {
    const { name, rows, at } = all[chosen.value];
    return { lines: section.axis("layers"), rows, name, at: at(target.value), prefix: "layer ",
      upward: true };
  };
  redrawOn(frame(place, {
    title: "By layer and row",
    label: `Statistics of ${section.axis("layers").n} layers by row`,
    controls: [chooseAny(chosen, "show", all.map((one) => one.name), 1)].filter(Boolean),
    draw: (area, width) => rowMap(area, width, section, page, given()),
    table: () => rowMapTable(section, given()),
  }), [chosen, target]);
}

function draw(place, section, page, keys) {
  const target = choiceOf(page, section, "target", 0);
  const rows = section.axis("target_rows") || section.axis("rows");
  const controls = [
    section.axis("targets") ? chooseAny(target, "target", targetTexts(section)) : null,
    rows ? rowList(section.run, page, rows, lastWithTarget(section, 0, rows.n)) : null,
  ].filter(Boolean);
  if (controls.length) place.append(el("div", { class: "controls" }, controls));
  topFigure(place, section, page, target, keys);
  activationFigure(place, section, page, keys);
  layerFigure(place, section, page, target);
  if (section.isDifference)
    place.append(el("p", { class: "note" }, "Lists by rank are of other neurons in each run and " +
      "have no difference."));
  else if (keys.includes("span_neuron"))
    rowFrame(place, page, {
      axis: section.axis("rows"),
      title: "Most active detectors at the token",
      caption: "The signed length of the residual along each detector's direction.",
      label: "The most active detectors of each layer",
      draw: (area, width, i) => drawSpan(area, width, section, i),
      table: (i) => spanTable(section, i),
    });
  if (keys.includes("fires"))
    frame(place, {
      title: "How often neurons fire",
      caption: "Neurons of each layer by the number of rows at which they fire.",
      label: "Neurons by the number of rows at which they fire",
      draw: (area, width) => drawFires(area, width, section),
      table: () => firesTable(section),
    });
}

/** The token's panel: the neurons with the largest shares, or the largest activations. */
function panel(section, row, page, keys) {
  const line = (name, value) => el("tr", null, el("th", { scope: "row" }, name),
    el("td", null, short(value)));
  const table = (title, lines) => el("div", null, el("p", null, title),
    el("table", { class: "panel" }, el("tbody", null, lines)));
  if (keys && keys.includes("top_layer")) {
    const i = indexOfRow(section.axis("target_rows"), row);
    const top = i < 0 ? [] : topNeurons(section, 0, i).slice(0, PANEL);
    if (top.length)
      return table(`Neurons' shares of ${targetAt(section, 0, i)}`,
        top.map((one) => line(one.label, one.share)));
  }
  if (!section.has("post", ["layers", "rows", "neurons"])) return null;
  const i = indexOfRow(section.axis("rows"), row);
  if (i < 0) return null;
  return table("Largest activations", activations(section, ["post"], -1, i, PANEL)
    .map((one) => line(one.label, one.values[0])));
}

export const activationsFigure = {
  name: "activations",
  match(section) {
    const keys = keysOf(section);
    if (!keys.length) return null;
    if (section.has("target_ids", ["targets", "target_rows", "ids"])) keys.push("target_ids");
    return { arrays: keys, title: "Neurons and gates" };
  },
  draw,
  detail: panel,
};
