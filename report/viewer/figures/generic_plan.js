// How an array that no figure knows is drawn, by its axes alone. Arrays with the same axes share a
// figure; axes that it does not show get a control.
import { choice } from "../parts/choice.js";
import { labelOf, labelsOf } from "../parts/labels.js";
import { chooseAny } from "../parts/choose.js";

const FEW = 64; // an axis with more places than this is ranked, not spread out
const DOWN = /^(layers|levels|lenses|sites|.*_layers)$/; // axes that a heat map shows downwards
const WIDTHS = { d_mlp: "neuron" }; // what one place of a model's width is
const MOST_SEARCHED = 1e6; // elements in which the largest is looked for

export function isRows(section, name) {
  return section.axis(name).n > 0 && section.rowAt(name, 0) !== null;
}

/** Which two of an array's axes a heat map shows: their places, [down, across]. */
function gridAxes(section, array, places) {
  const name = (a) => array.axes[a];
  const rows = places.find((a) => isRows(section, name(a)));
  const layers = places.find((a) => a !== rows && DOWN.test(name(a)));
  const heads = places.find((a) => name(a) === "heads" && layers !== undefined);
  const last = places.filter((a) => a !== layers).pop();
  const across = [rows, heads, last].find((a) => a !== undefined);
  const others = places.filter((a) => a !== across).sort((a, b) => array.shape[b] - array.shape[a]);
  return [layers !== undefined ? layers : others[0], across];
}

/**
 * How to draw an array: {kind, axes (the places of those shown)}. kinds: "values" (one number),
 * "texts" (token ids), "text" (a number per row), "bars", "lines", "grid".
 */
function planOf(section, array) {
  const places = array.axes.map((_, a) => a).filter((a) => array.shape[a] > 1);
  const isLong = (a) => array.shape[a] > FEW && !isRows(section, array.axes[a]);
  if (array.tokenIds) return { kind: "texts", axes: array.axes.map((_, a) => a).slice(-2) };
  if (places.length === 0) return { kind: "values", axes: [] };
  const long = places.filter(isLong);
  const [first] = places;
  const numbers = section.axis(array.axes[first]).isNumbers;
  if (places.length > 1) {
    if (long.length) return { kind: "bars", axes: long.slice(-1) };
    return { kind: "grid", axes: gridAxes(section, array, places) };
  }
  if (isRows(section, array.axes[first])) return { kind: "text", axes: places };
  return { kind: numbers && array.shape[first] > 2 ? "lines" : "bars", axes: places };
}

/**
 * The groups of a section's free arrays that are drawn as this kind: [{keys, axes (places), all}].
 */
export function groupsOf(section, kind) {
  const groups = new Map();
  for (const array of section.arrays.values()) {
    if (array.omitted || array.size === 0 || array.axes.some((name) => !section.axis(name)))
      continue;
    const plan = planOf(section, array);
    if (plan.kind !== kind) continue;
    const name = array.axes.join();
    if (!groups.has(name)) groups.set(name, { keys: [], axes: plan.axes, all: array.axes });
    groups.get(name).keys.push(array.key);
  }
  return [...groups.values()];
}

/** What match() of a generic figure answers. */
export function claim(section, kind, title) {
  const arrays = groupsOf(section, kind).flatMap((group) => group.keys);
  return arrays.length ? { arrays, title } : null;
}

/** The groups of a kind among claimed keys, of a section that may lack some of them. */
export function claimedGroups(section, kind, claimed) {
  return groupsOf(section, kind)
    .map((group) => ({ ...group, keys: group.keys.filter((key) => claimed.includes(key)) }))
    .filter((group) => group.keys.length);
}

/** The indices of the largest magnitude of an array; all 0 where the array is too large to look. */
function largest(array) {
  const indices = new Array(array.shape.length).fill(0);
  const values = array.size <= MOST_SEARCHED && array.values();
  if (!values) return indices;
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if (Math.abs(values[i]) > Math.abs(values[best]) || Number.isNaN(values[best])) best = i;
  for (let a = indices.length - 1; a >= 0; a--) {
    indices[a] = best % array.shape[a];
    best = Math.floor(best / array.shape[a]);
  }
  return indices;
}

/**
 * Where an axis with a control stands at first: at the last row, at the first label (labels may
 * have different units), else where the array's largest magnitude is.
 */
function firstPlaces(section, array) {
  const most = largest(array);
  return array.axes.map((name, a) => {
    if (isRows(section, name)) return array.shape[a] - 1;
    return section.axis(name).isNumbers ? most[a] : 0;
  });
}

/** A name of one place on an axis: "layer 3", "L0H3", the text of a row's token. */
export function placeName(section, name, i) {
  const axis = section.axis(name);
  if (name === "d_vocab") return section.run.tokenText(i);
  if (!axis.isNumbers || isRows(section, name)) return labelOf(section, name, i);
  const one = name.startsWith("d_") ? WIDTHS[name] || "dimension" : name.replace(/s$/, "");
  return `${one} ${axis.label(i)}`;
}

/** The names of all places. */
export function placeNames(section, name) {
  const axis = section.axis(name);
  if (!axis.isNumbers || isRows(section, name)) return labelsOf(section, name);
  return Array.from({ length: axis.n }, (_, i) => placeName(section, name, i));
}

/**
 * What a group's figure shows now: which of its arrays, and at which places of the axes that it
 * does not draw. Panes of two runs share the choices.
 */
export class Cut {
  constructor(section, group, page) {
    this.section = section;
    this.group = group;
    const name = (what) => `${section.name} ${group.keys[0]}: ${what}`;
    this.key = choice(page, name("array"), 0);
    const first = firstPlaces(section, section.array(group.keys[0]));
    this.extra = group.all
      .map((axis, a) => ({ axis, a, at: choice(page, name(`${axis} ${a}`), first[a]) }))
      .filter(({ a }) => !group.axes.includes(a) && section.array(group.keys[0]).shape[a] > 1);
  }
  get array() {
    return this.section.array(this.group.keys[this.key.value] || this.group.keys[0]);
  }
  /** Full indices for places on the shown axes, given as {a: i}. */
  indices(places) {
    return this.group.all.map((_, a) => {
      if (places[a] !== undefined) return places[a];
      const extra = this.extra.find((one) => one.a === a);
      return extra ? Math.min(extra.at.value, this.axis(a).n - 1) : 0;
    });
  }
  /** The axis at a place of the array's axes. */
  axis(a) {
    return this.section.axis(this.group.all[a]);
  }
  value(places) {
    return this.array.at(...this.indices(places));
  }
  /** The chosen places of the other axes, for longTable(). */
  get fixed() {
    return Object.fromEntries(this.extra.map(({ axis, at }) => [axis, at.value]));
  }
  /** "component L0H3, row ·the" of the chosen places. */
  get words() {
    return this.extra.map(({ axis, at }) => placeName(this.section, axis, at.value)).join(", ");
  }
  /** Controls for the array and the other axes; change() is called when one is used. */
  controls(change) {
    const all = [this.key, ...this.extra.map(({ at }) => at)];
    for (const one of all) one.on(change);
    return [
      chooseAny(this.key, "array", this.group.keys),
      ...this.extra.map(({ axis, at }) =>
        chooseAny(at, axis.replace(/_/g, " "), placeNames(this.section, axis))
      ),
    ].filter(Boolean);
  }
  /** Lets a selected row choose the place of an axis of rows that is not drawn. */
  followRow(page, place) {
    for (const { axis, at } of this.extra)
      if (isRows(this.section, axis))
        page.selection.on((row) => {
          const i = this.section.indexOfRow(axis, row);
          if (i !== null) at.set(i);
        }, place);
  }
}

/** "norm" or "mean, norm and scale": the arrays of a group as a title. */
export function titleOf(group) {
  const { keys } = group;
  if (keys.length === 1) return keys[0];
  if (keys.length > 4) return `${keys.slice(0, 3).join(", ")} and ${keys.length - 3} more`;
  return `${keys.slice(0, -1).join(", ")} and ${keys[keys.length - 1]}`;
}
