// Arrays over training checkpoints: which a section has, where the checkpoints are on an x axis,
// and the entries that grow largest.
import { isRows, placeName } from "./generic_plan.js";

export const CHECKPOINTS = "checkpoints";
const MOST_LINES = 8;
const MOST_SEARCHED = 1e6; // elements of which it is asked whether they change

/** Whether an array's leading axis is that of checkpoints. */
export function isStacked(array) {
  return array.axes[0] === CHECKPOINTS;
}

/** The checkpoints' names. */
export function checkpointNames(section) {
  const axis = section.axis(CHECKPOINTS);
  return Array.from({ length: axis.n }, (_, i) => axis.label(i));
}

/** "step1000" -> 1000; NaN for a name without a number at its end. */
function stepOf(name) {
  const digits = /(\d+)$/.exec(name);
  return digits ? Number(digits[1]) : NaN;
}

/**
 * The x axis of lines(): step numbers on a symmetric log scale where the names ascend in steps,
 * else the names.
 */
export function xOf(section) {
  const names = checkpointNames(section);
  const steps = names.map(stepOf);
  const ascend = steps.every((step, i) => (i ? step > steps[i - 1] : step >= 0));
  if (!ascend || names.length < 2) return { name: CHECKPOINTS, labels: names };
  const least = steps.find((step) => step > 0) || 1;
  return { name: "training step", values: steps, symlog: least, ticks: steps };
}

/**
 * The places of the axes whose entries are the lines: layers with heads, else the last one that is
 * not of rows, which the selected token chooses.
 */
function lineAxes(section, array) {
  const { axes, shape } = array;
  const free = axes
    .map((_, a) => a)
    .filter((a) => a > 0 && shape[a] > 1 && !isRows(section, axes[a]));
  const layers = axes.indexOf("layers");
  if (layers > 0 && axes[layers + 1] === "heads") return [layers, layers + 1];
  return free.slice(-1);
}

/** Whether no entry changes over the checkpoints; large arrays are not looked at. */
function isConstant(array) {
  const values = array.size <= MOST_SEARCHED && array.values();
  if (!values) return false;
  const each = values.length / array.shape[0];
  for (let i = each; i < values.length; i++)
    if (!Object.is(values[i], values[i % each])) return false;
  return true;
}

/** Where a group stands: what changes, then what is of a target, before the others. */
function orderOf(group) {
  return (group.constant ? 2 : 0) + (group.all[1] === "targets" ? 0 : 1);
}

/**
 * Groups of arrays with the same axes: [{keys, axes (places of the checkpoints and lines), all}].
 * Numbers that stay the same at all checkpoints are groups of their own, behind the others.
 */
export function groupsOf(section) {
  const groups = new Map();
  for (const array of section.arrays.values()) {
    if (!isStacked(array) || array.omitted || array.tokenIds || array.size === 0) continue;
    if (section.name === CHECKPOINTS && array.key === "step") continue; // it is the x axis
    const constant = isConstant(array);
    const name = [constant, ...array.axes].join();
    const axes = [0, ...lineAxes(section, array)];
    if (!groups.has(name)) groups.set(name, { keys: [], axes, all: array.axes, constant });
    groups.get(name).keys.push(array.key);
  }
  return [...groups.values()].sort((a, b) => orderOf(a) - orderOf(b));
}

/** All combinations of places on the line axes, as {a: i}. */
function combinations(section, group) {
  const [, ...lines] = group.axes;
  let found = [{}];
  for (const a of lines) {
    const n = section.axis(group.all[a]).n;
    found = found.flatMap((places) =>
      Array.from({ length: n }, (_, i) => Object.assign({}, places, { [a]: i }))
    );
  }
  return found;
}

/** "L2H3" for a layer and a head, else the entry's name; the key where there is one line. */
function nameOf(section, group, places, key) {
  const lines = group.axes.slice(1);
  if (!lines.length) return key;
  if (lines.length === 2) {
    const [layer, head] = lines.map((a) => section.axis(group.all[a]).label(places[a]));
    return `L${layer}H${head}`;
  }
  return placeName(section, group.all[lines[0]], places[lines[0]]);
}

/**
 * The lines of what a Cut shows: [{name, values}], one per entry; of many the MOST_LINES whose
 * magnitude is largest at any checkpoint, the largest first. all: every entry, in order.
 */
export function linesOf(cut) {
  const { section, group, array } = cut;
  const n = section.axis(CHECKPOINTS).n;
  const found = combinations(section, group).map((places) => {
    const values = Array.from({ length: n }, (_, k) => cut.value({ ...places, 0: k }));
    const most = values.reduce((m, value) => (Math.abs(value) > m ? Math.abs(value) : m), -1);
    return { places, values, most };
  });
  const numbers = found.filter((one) => one.most >= 0);
  const kept =
    numbers.length > MOST_LINES
      ? [...numbers].sort((a, b) => b.most - a.most).slice(0, MOST_LINES)
      : numbers;
  const named = kept.map(({ places, values }) => ({
    name: nameOf(section, group, places, array.key),
    values,
  }));
  return { lines: named, others: numbers.length - kept.length };
}
