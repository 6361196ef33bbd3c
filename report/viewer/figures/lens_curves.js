// Curves over the layers at the selected token: how its prediction forms.
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { lines } from "../parts/lines.js";
import { rowFrame } from "../parts/row_frame.js";
import { rowTitle } from "../parts/rows.js";
import { number } from "../parts/scales.js";
import { lensQuantities } from "./lens_data.js";

const VIEWS = [
  { name: "entropy and KL", unit: "nats", keys: ["entropy", "kl", "kl_reverse"] },
  { name: "log p", unit: "log p (nats)", keys: ["log_prob"] },
  { name: "rank", unit: "rank", keys: ["rank"], log: true },
  { name: "logit", unit: "logit", keys: ["logit"] },
  { name: "log Z", unit: "log Z (nats)", keys: ["log_z"] },
  { name: "sigma", unit: "sigma", keys: ["sigma"] },
];

/** The views that the section's quantities allow: [{name, unit, log, quantities}]. */
function viewsOf(section) {
  const all = lensQuantities(section);
  return VIEWS.map((view) => Object.assign({}, view, {
    quantities: all.filter((quantity) => view.keys.includes(quantity.key)),
    log: view.log && !section.isDifference,
  })).filter((view) => view.quantities.length);
}

function valuesOf(quantity, layers, i) {
  return Array.from({ length: layers.n }, (_, l) => quantity.at(l, i));
}

function drawCurves(area, width, section, view, i) {
  const layers = section.axis("layers");
  const row = section.axis("rows").number(i);
  area.append(el("p", { class: "which" }, rowTitle(section.run, row)));
  lines(area, width, {
    x: { name: "layer", labels: Array.from({ length: layers.n }, (_, l) => layers.label(l)) },
    y: { name: view.unit, log: view.log, zero: view.keys[0] === "entropy" },
    series: view.quantities.map((quantity) =>
      ({ name: quantity.name, values: valuesOf(quantity, layers, i) })),
    height: 240,
    legend: true,
    label: `${view.name} by layer at ${rowTitle(section.run, row)}`,
  });
}

/** Adds the curves to place. */
export function lensCurves(place, section, page) {
  const views = viewsOf(section);
  if (!views.length) return;
  const rows = section.axis("rows");
  const layers = section.axis("layers");
  const chosen = choiceOf(page, section, "curves", 0);
  const view = () => views[chosen.value];
  redrawOn(rowFrame(place, page, {
    axis: rows,
    title: "Over the layers",
    caption: "At the selected token; without one, the last row.",
    label: `Curves over ${layers.n} layers: ${views.map((one) => one.name).join(", ")}`,
    controls: [chooseAny(chosen, "show", views.map((one) => one.name), 6)].filter(Boolean),
    draw: (area, width, i) => drawCurves(area, width, section, view(), i),
    table: (i) => ({
      head: ["row", "layer", ...view().quantities.map((quantity) => quantity.name)],
      rows: Array.from({ length: layers.n }, (_, l) => [rows.label(i), layers.label(l),
        ...view().quantities.map((quantity) => number(quantity.at(l, i)))]),
    }),
  }), [chosen]);
}
