// Frozen against recomputed LayerNorm, side by side per component and as points.
import { bars } from "../parts/bars.js";
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { category } from "../parts/colors.js";
import { el } from "../parts/dom.js";
import { rowFrame } from "../parts/row_frame.js";
import { rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { scatter } from "../parts/scatter.js";
import { lastWithTarget, noTarget, targetAt } from "../parts/targets.js";
import { effectLevels, effectsOf, frozenSum } from "./denominators_data.js";
import { component } from "./shares_data.js";

const COUNTS = [12, 30, 60];
const ORDERS = [
  ["effect", (entry) => Math.max(Math.abs(entry.frozen) || 0, Math.abs(entry.recomputed) || 0)],
  ["what freezing misses", (entry) => Math.abs(entry.error) || 0],
];
const KINDS = [["attention", 0], ["MLP", 1], ["embed and others", 2]];

function kindOf(label) {
  const { kind } = component(label);
  if (/^(head|source|attn)/.test(kind)) return 0;
  return /^(mlp|neuron)/.test(kind) ? 1 : 2;
}

function ranked(section, level, t, i, order) {
  const [, weight] = ORDERS[order];
  return effectsOf(section, level, t, i).sort((a, b) => weight(b) - weight(a) || a.index - b.index);
}

function headOf(section, level, t, i) {
  const row = rowTitle(section.run, section.axis(level.rows).number(i));
  return `${row} → ${targetAt(section, t, i)}`;
}

/** "frozen_ln sums to -7.69, and -S/sigma is -7.69": the direct effects close. */
function closing(section, level, t, i) {
  const sum = frozenSum(section, level, t, i);
  const [sites, rows] = [section.axis("sites"), section.axis("rows")];
  if (section.isDifference || !section.has("numerator", ["targets", level.rows]) || !sites ||
      !section.has("scale", ["sites", "rows"])) return `frozen_ln sums to ${number(sum)}.`;
  const at = rows.indexOf(section.axis(level.rows).label(i));
  const site = sites.indexOf("ln_final");
  if (at < 0 || site < 0) return `frozen_ln sums to ${number(sum)}.`;
  const sigma = section.array("scale").at(site, at);
  const all = -section.array("numerator").at(t, i) / sigma;
  return `frozen_ln of all components sums to ${number(sum)}; minus the logit without its ` +
    `constant, -S/sigma, is ${number(all)}.`;
}

function drawBars(area, width, section, state, i) {
  const { level, target, order, most } = state;
  const shown = ranked(section, level, target, i, order).slice(0, most);
  area.append(el("p", { class: "which" }, headOf(section, level, target, i)));
  if (!shown.length) {
    area.append(el("p", { class: "note" }, noTarget(section)));
    return;
  }
  bars(area, width, {
    labels: shown.map((entry) => entry.label),
    columns: [
      { name: "frozen (nats)", values: shown.map((entry) => entry.frozen) },
      { name: "recomputed (nats)", values: shown.map((entry) => entry.recomputed) },
      { name: "missed by freezing", values: shown.map((entry) => entry.error) },
    ],
    label: `${headOf(section, level, target, i)}: without ${shown[0].label} the logit changes by ` +
      `${short(shown[0].frozen)} with the scale frozen, ${short(shown[0].recomputed)} recomputed`,
    tip: (k) => [`without ${shown[k].label}`, `frozen ${number(shown[k].frozen)}`,
      `recomputed ${number(shown[k].recomputed)}`, `missed by freezing ${number(shown[k].error)}`],
  });
  const cut = section.array(level.frozen).encoding === "top"
    ? " The page lacks the numbers without a bar." : "";
  area.append(el("p", { class: "note" }, closing(section, level, target, i) + cut));
}

function drawPoints(area, width, section, level, t, i) {
  const entries = effectsOf(section, level, t, i);
  if (!entries.length) return;
  area.append(el("p", { class: "which" }, headOf(section, level, t, i)));
  const color = (k) => category([0, 1, 7][k]);
  scatter(area, Math.min(width, 560), {
    x: { name: "frozen: change of the logit (nats)" },
    y: { name: "recomputed (nats)" },
    points: entries.map((entry) => ({ x: entry.frozen, y: entry.recomputed,
      text: `without ${entry.label}`, color: color(kindOf(entry.label)) })),
    diagonal: true,
    legend: KINDS.filter(([, k]) => entries.some((entry) => kindOf(entry.label) === k))
      .map(([name, k]) => ({ name, color: color(k) })),
    height: 340,
    label: `recomputed_ln by frozen_ln of ${entries.length} components; on the line both agree`,
  });
}

/** Adds both figures to place; target: the shared choice. */
export function effectFigures(place, section, page, target) {
  const levels = effectLevels(section);
  if (!levels.length) return;
  const level = choiceOf(page, section, "ln level", 0);
  const order = choiceOf(page, section, "ln order", 0);
  const count = choiceOf(page, section, "ln bars", 0);
  const now = () => ({ level: levels[level.value], target: target.value, order: order.value,
    most: COUNTS[count.value] });
  const axis = section.axis(levels[0].rows);
  const first = lastWithTarget(section, 0, axis.n);
  redrawOn(rowFrame(place, page, {
    axis,
    first,
    title: "Without each component: frozen against recomputed",
    caption: "The change of the logit if a component's write is taken out of the final residual, " +
      "with the LayerNorm's scale as it was (frozen) or as it becomes (recomputed).",
    label: "Effects of removing each component, frozen beside recomputed",
    controls: [chooseAny(level, "level", levels.map((one) => one.name)),
      chooseAny(order, "largest by", ORDERS.map(([name]) => name)),
      chooseAny(count, "bars", COUNTS.map(String))].filter(Boolean),
    draw: (area, width, i) => drawBars(area, width, section, now(), i),
    table: (i) => ({
      head: ["component", "frozen_ln", "recomputed_ln", "freeze_error"],
      rows: ranked(section, now().level, target.value, i, order.value).map((entry) =>
        [entry.label, ...[entry.frozen, entry.recomputed, entry.error].map(number)]),
    }),
  }), [level, order, count, target]);
  redrawOn(rowFrame(place, page, {
    axis,
    first,
    title: "Frozen against recomputed, all components",
    caption: "Components off the line act through the denominator.",
    label: "recomputed_ln by frozen_ln",
    draw: (area, width, i) => drawPoints(area, width, section, now().level, target.value, i),
    table: (i) => ({
      head: ["component", "frozen_ln", "recomputed_ln"],
      rows: effectsOf(section, now().level, target.value, i).map((entry) =>
        [entry.label, number(entry.frozen), number(entry.recomputed)]),
    }),
  }), [level, target]);
}
