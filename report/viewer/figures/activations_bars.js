// Neurons as bars: those with the largest shares, and those with the largest activations.
import { bars } from "../parts/bars.js";
import { el } from "../parts/dom.js";
import { rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { noTarget, targetAt } from "../parts/targets.js";

const MOST = 20;

/** The listed neurons at (t, i): [{label, share, pre, gate, post}], as the results rank them. */
export function topNeurons(section, t, i) {
  const read = (key, k) => (section.array(key) && !section.array(key).omitted
    ? section.array(key).at(t, i, k) : NaN);
  const found = [];
  for (let k = 0; k < section.axis("top").n; k++) {
    const [layer, neuron] = [read("top_layer", k), read("top_neuron", k)];
    if (!(layer >= 0) || !(neuron >= 0)) continue;
    const [pre, gate] = [read("top_pre", k), read("top_gate", k)];
    found.push({ label: `L${layer}N${neuron}`, share: read("top_share", k), pre, gate,
      post: pre * gate });
  }
  return found;
}

/** Draws them: share, pre-activation, gate, activation. */
export function drawTop(area, width, section, t, i) {
  const top = topNeurons(section, t, i);
  const row = rowTitle(section.run, section.axis("target_rows").number(i));
  area.append(el("p", { class: "which" }, `${row} → ${targetAt(section, t, i)}`));
  if (!top.length) {
    area.append(el("p", { class: "note" }, noTarget(section)));
    return;
  }
  bars(area, width, {
    labels: top.map((one) => one.label),
    columns: [
      { name: "share (nats)", values: top.map((one) => one.share), own: true },
      { name: "pre", values: top.map((one) => one.pre), own: true },
      { name: "gate, 0 to 1", values: top.map((one) => one.gate), own: true },
      { name: "pre × gate", values: top.map((one) => one.post), own: true },
    ],
    label: `${row}: the neuron with the largest share is ${top[0].label}, ${short(top[0].share)}`,
    tip: (k) => [top[k].label, `share ${number(top[k].share)}`, `pre ${number(top[k].pre)}`,
      `gate ${number(top[k].gate)}`, `pre × gate ${number(top[k].post)}`],
  });
}

/** The numbers of the listed neurons. */
export function topTable(section, t, i) {
  return { head: ["neuron", "share", "pre", "gate", "pre × gate"],
    rows: topNeurons(section, t, i).map((one) =>
      [one.label, ...[one.share, one.pre, one.gate, one.post].map(number)]) };
}

/** The values of kept, with a pre-activation that the page lacks made of post = pre * gate. */
function closed(kept, values, isDifference) {
  const [post, pre, gate] = ["post", "pre", "gate"].map((key) => kept.indexOf(key));
  if (isDifference || post < 0 || pre < 0 || gate < 0 || !Number.isNaN(values[pre])) return values;
  return values.map((value, k) => (k === pre ? values[post] / values[gate] : value));
}

/**
 * The neurons with the largest kept[0] at row index i, of a layer or all (-1):
 * [{label, values (of kept; NaN where the page lacks it)}].
 */
export function activations(section, kept, layer, i, most) {
  const arrays = kept.map((key) => section.array(key));
  const layers = section.axis("layers");
  const neurons = section.axis("neurons");
  const found = [];
  for (let l = 0; l < layers.n; l++)
    if (layer < 0 || l === layer)
      for (const { index, value } of arrays[0].top(l, i, { n: most }))
        found.push({ l, index, value });
  found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  return found.slice(0, most).map(({ l, index }) => ({
    label: `L${layers.label(l)}N${neurons.label(index)}`,
    values: closed(kept, arrays.map((array) =>
      (array.isKept(l, i, index) ? array.at(l, i, index) : NaN)), section.isDifference),
  }));
}

/** Draws them. */
export function drawActivations(area, width, section, kept, layer, i) {
  const shown = activations(section, kept, layer, i, MOST);
  const row = rowTitle(section.run, section.axis("rows").number(i));
  area.append(el("p", { class: "which" }, row));
  bars(area, width, {
    labels: shown.map((one) => one.label),
    columns: kept.map((key, k) =>
      ({ name: key, own: true, values: shown.map((one) => one.values[k]) })),
    label: `${row}: the largest ${kept[0]} is that of ` +
      (shown.length ? `${shown[0].label}, ${short(shown[0].values[0])}` : "no neuron"),
    tip: (n) => [shown[n].label, ...kept.map((key, k) => `${key} ${number(shown[n].values[k])}`)],
  });
  if (kept.some((key) => section.array(key).encoding === "top"))
    area.append(el("p", { class: "note" }, "The page keeps the largest numbers of each layer and " +
      "row; the others are in tensors.safetensors."));
}

/** The numbers of the drawn neurons. */
export function activationTable(section, kept, layer, i) {
  return { head: ["neuron", ...kept],
    rows: activations(section, kept, layer, i, MOST).map((one) =>
      [one.label, ...one.values.map(number)]) };
}
