// The levels at which a logit's shares can be listed: those that the results have, and sums of
// them by layer and by the position that heads read.
import { visible } from "../parts/scales.js";
import { besideShares, components, levelName, shareKeys } from "./shares_data.js";

const ATTENTION = new Set(["head", "source", "attn_out", "attn_bias"]);

/** "attention 3", "MLP 3", "embed": the layer's part that a component belongs to. */
export function layerGroup({ kind, layer }) {
  if (layer < 0) return kind;
  return ATTENTION.has(kind) ? `attention ${layer}` : `MLP ${layer}`;
}

/** Where heads read: "from 7 ·wolf"; all other writes are their kind. */
function positionGroup(tokens) {
  return ({ kind, position }) => {
    if (position < 0) return { embed: "embed", edit: "edit", attn_bias: "attention biases",
      mlp_out: "MLPs" }[kind] || kind;
    const token = tokens.find((one) => one.position === position);
    return token ? `from ${position} ${visible(token.text)}` : `from ${position}`;
  };
}

/**
 * All levels, the coarsest first: [{name, key, group}]. group(component) is the name of the sum
 * that a component belongs to; null: components are listed as they are.
 */
export function levelsOf(section) {
  const keys = shareKeys(section);
  const levels = keys.map((key) => ({ name: levelName(section, key), key, group: null }));
  const source = levels.find((level) => level.name === "source");
  if (source) {
    const group = positionGroup(section.run.tokens);
    levels.push({ name: "position read", key: source.key, group });
  }
  if (!levels.some((level) => level.name === "layer"))
    levels.unshift({ name: "layer", key: keys[0], group: layerGroup });
  return levels;
}

/** The level that a list of single components begins with: heads and MLPs, else the finest. */
export function firstLevel(levels) {
  const heads = levels.findIndex((level) => level.name === "head");
  if (heads >= 0) return heads;
  return levels.filter((level) => !level.group).length - (levels[0].group ? 0 : 1);
}

/** What can be listed at a level: "all", or one kind of its components. */
export function filtersOf(section, level) {
  const found = [{ name: "all", kinds: null }];
  if (level.group) return found;
  const array = section.array(level.key);
  const kinds = new Set(components(section.axis(array.axes[2])).map(({ kind }) => kind));
  for (const [kind, name] of [["head", "heads"], ["source", "sources"], ["neuron", "neurons"]])
    if (kinds.has(kind)) found.push({ name, kinds: new Set([kind]) });
  return found.length > 1 ? found : found.slice(0, 1);
}

/** Every share on the page at (t, i), ranked: [{label, value, kind, of (components in it)}]. */
function entriesOf(section, level, t, i) {
  const array = section.array(level.key);
  const axis = section.axis(array.axes[2]);
  const all = components(axis);
  const ranked = array.top(t, i);
  if (!level.group)
    return ranked.map(({ index, value }) =>
      ({ label: axis.label(index), value, kind: all[index].kind, of: 1 }));
  const sums = new Map();
  for (const { index, value } of ranked) {
    const label = level.group(all[index]);
    const sum = sums.get(label) || { label, value: 0, kind: "sum", of: 0 };
    sum.value += value;
    sum.of += 1;
    sums.set(label, sum);
  }
  return [...sums.values()].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

/**
 * The largest shares at target t and row index i and what a list of them leaves out: {constant,
 * logit, sum (of all shares), shown [{label, value, of}], others {count, value}, error, sumAbs,
 * count, missing (there is no such target at this row)}.
 */
export function sharesOf(section, level, t, i, filter, most) {
  const array = section.array(level.key);
  const entries = entriesOf(section, level, t, i);
  const rest = array.rest(t, i);
  const sum = entries.reduce((total, entry) => total + entry.value, 0) + rest;
  const shown = entries.filter((entry) => entry.value !== 0 &&
    (!filter.kinds || filter.kinds.has(entry.kind))).slice(0, most);
  const number = (name) => besideShares(section, name, level.key, t, i);
  return {
    shown, sum,
    constant: number("constant") || 0,
    logit: number("values"),
    error: number("completeness_error"),
    sumAbs: number("sum_abs_share"),
    count: array.last,
    others: { count: array.last - shown.reduce((total, entry) => total + entry.of, 0),
      value: shown.reduce((total, entry) => total - entry.value, sum) },
    missing: !entries.length,
  };
}
