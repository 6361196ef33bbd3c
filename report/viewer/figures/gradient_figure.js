// How a prediction depends on each token: the text colored by the gradient's norm, gradient times
// input or integrated gradients; how these converge; and what each leaves.
//   arrays: norm, times_input, integrated [targets, target_rows, rows]; value, baseline_value,
//   input_gap, integrated_gap, steps [targets, target_rows]; path_gap [.., path_steps]
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { facts } from "../parts/facts.js";
import { follow } from "../parts/follow.js";
import { frame, tableOf } from "../parts/frame.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { number, short } from "../parts/scales.js";
import { targetTexts } from "../parts/targets.js";
import { tinted } from "../parts/tinted.js";

const AXES = ["targets", "target_rows", "rows"];
const PER_JOB = ["targets", "target_rows"];
const TOKENS = {
  integrated: "integrated gradients (nats)",
  times_input: "gradient × input (nats)",
  norm: "norm of the gradient",
};
const SUMS = ["value", "baseline_value", "input_gap", "integrated_gap", "steps"];

const tokenKeys = (section) => Object.keys(TOKENS).filter((key) => section.has(key, AXES));
const sumKeys = (section) => SUMS.filter((key) => section.has(key, PER_JOB));

/** The places [target, row] that have a prediction, and their names. */
function jobsOf(section) {
  const array = section.array(tokenKeys(section)[0]);
  const targets = targetTexts(section);
  const rows = labelsOf(section, "target_rows");
  const found = [];
  targets.forEach((target, t) =>
    rows.forEach((row, r) => {
      const some = Array.from({ length: array.last }, (_, i) => array.at(t, r, i));
      if (some.some(Number.isFinite))
        found.push({ at: [t, r], name: rows.length > 1 ? `${target} after ${row}` : target });
    }));
  return found;
}

function drawTokens(area, width, section, page, key, job) {
  const array = section.array(key);
  const tokens = labelsOf(section, "rows");
  const value = (i) => array.at(...job.at, i);
  const values = tokens.map((_, i) => value(i));
  const rowAt = (i) => section.rowAt("rows", i);
  const pick = (act) => (i) => rowAt(i) !== null && act(rowAt(i));
  const drawn = tinted(area, width, {
    tokens,
    value,
    scale: colorScale(values, { signed: key !== "norm" || section.isDifference }),
    legend: TOKENS[key],
    label: `${TOKENS[key]} at ${tokens.length} tokens, for ${job.name}`,
    tip: (i) => [tokens[i], ...tokenKeys(section).map((one) =>
      `${TOKENS[one]}  ${short(section.array(one).at(...job.at, i))}`)],
    onEnter: pick((row) => page.selection.set(row)),
    onPick: pick((row) => page.selection.lock(row)),
  });
  follow(page, area, (row) => {
    const i = section.indexOfRow("rows", row);
    drawn.highlight(i === null ? -1 : i);
  });
}

/** |gap| by number of steps of each prediction. */
function convergence(place, section, jobs) {
  if (!section.has("path_gap", [...PER_JOB, "path_steps"])) return;
  const axis = section.axis("path_steps");
  const values = Array.from({ length: axis.n }, (_, i) => axis.number(i));
  if (axis.n < 2) return;
  const gap = section.array("path_gap");
  const bound = Number(section.options.error);
  const series = jobs.slice(0, 6).map(({ at, name }) =>
    ({ name, values: values.map((_, i) => Math.abs(gap.at(...at, i))), points: true }));
  const [first] = jobs;
  const known = bound > 0 && first && section.has("value", PER_JOB) && !section.isDifference;
  const whole = known
    ? Math.abs(section.array("value").at(...first.at) -
      section.array("baseline_value").at(...first.at)) : NaN;
  frame(place, {
    title: "Convergence of integrated gradients",
    caption: "What the sum over tokens lacks of the difference to the baseline. The number of " +
      "steps " +
      "doubles until it is within the bound.",
    label: `The gap of integrated gradients with ${values[0]} to ${values[axis.n - 1]} steps`,
    draw: (area, width) =>
      lines(area, Math.min(width, 640), {
        height: 220,
        label: `The gap by steps, of ${series.length} predictions`,
        x: { name: "steps", values, log: true, ticks: values },
        y: { name: "|gap| (nats)", log: true },
        series,
        levels: known && jobs.length === 1 ? [{ name: "bound", value: bound * whole }] : [],
      }),
    table: () => longTable(section, ["path_gap"]),
  });
}

function sumsFrame(place, section, jobs) {
  const keys = sumKeys(section);
  if (!keys.length) return;
  const given = () => ({
    head: ["prediction", ...keys.map((key) => key.replace(/_/g, " "))],
    rows: jobs.map(({ at, name }) =>
      [name, ...keys.map((key) => number(section.array(key).at(...at)))]),
  });
  frame(place, {
    title: "What the attributions leave",
    caption: "A gap is the difference of the value to the baseline's, minus the sum over tokens.",
    label: "Values, gaps and steps",
    draw: (area) => area.append(tableOf(given(), "What the attributions leave")),
    table: given,
  });
}

export const gradientFigure = {
  name: "gradient",
  examples: true,
  match(section) {
    const keys = tokenKeys(section);
    if (!keys.includes("norm") || !keys.includes("times_input")) return null;
    keys.push(...sumKeys(section));
    if (section.has("path_gap", [...PER_JOB, "path_steps"])) keys.push("path_gap");
    return { arrays: keys, title: "What each token does" };
  },
  draw(place, section, page) {
    const keys = tokenKeys(section);
    const jobs = jobsOf(section);
    const key = choiceOf(page, section, "quantity", 0);
    const job = choiceOf(page, section, "prediction", 0);
    if (!jobs.length) return;
    redrawOn(frame(place, {
      title: "The prediction by token",
      caption: "How much the prediction depends on the embedding of each token.",
      label: "The tokens, colored by their attribution",
      controls: [chooseAny(key, "Show", keys.map((one) => TOKENS[one])),
        chooseAny(job, "Prediction", jobs.map(({ name }) => name), 3)].filter(Boolean),
      draw: (area, width) =>
        drawTokens(area, width, section, page, keys[key.value], jobs[job.value] || jobs[0]),
      table: () => longTable(section, keys),
    }), [key, job]);
    convergence(place, section, jobs);
    sumsFrame(place, section, jobs);
  },
  /** What the first prediction owes to a token. */
  detail(section, row, page) {
    const i = section.indexOfRow("rows", row);
    const jobs = jobsOf(section);
    const job = jobs[choiceOf(page, section, "prediction", 0).value];
    if (i === null || !job) return null;
    return facts(tokenKeys(section).map((key) =>
      [TOKENS[key], section.array(key).at(...job.at, i)]));
  },
};
