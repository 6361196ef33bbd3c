// Shares of a logit: which arrays have them, and what a component's label says.

const KINDS = [
  [/^embed$/, "embed"],
  [/^edit$/, "edit"],
  [/^L(\d+)H(\d+)@(\d+)$/, "source"],
  [/^L(\d+)H(\d+)$/, "head"],
  [/^L(\d+)N(\d+)$/, "neuron"],
  [/^(\d+)_attn_out$/, "attn_out"],
  [/^(\d+)_attn_bias$/, "attn_bias"],
  [/^(\d+)_mlp_out$/, "mlp_out"],
  [/^(\d+)_mlp_bias$/, "mlp_bias"],
];
const parsed = new WeakMap();

/** What a component's label says: {kind, layer, unit (head or neuron), position}; -1: has none. */
export function component(label) {
  for (const [pattern, kind] of KINDS) {
    const found = pattern.exec(label);
    if (found) {
      const part = (i) => (found[i] === undefined ? -1 : Number(found[i]));
      return { kind, layer: part(1), unit: part(2), position: part(3) };
    }
  }
  return { kind: "other", layer: -1, unit: -1, position: -1 };
}

/** The components of an axis, parsed once. */
export function components(axis) {
  if (!parsed.has(axis))
    parsed.set(axis, Array.from({ length: axis.n }, (_, i) => component(axis.label(i))));
  return parsed.get(axis);
}

/** The level of an array "contributions.head" or "contributions" by its components. */
export function levelName(section, key) {
  const dot = key.indexOf(".");
  if (dot >= 0) return key.slice(dot + 1);
  const finest = section.values.get("finest_level");
  return typeof finest === "string" ? finest : "all";
}

/** The keys of a section's contributions [targets, rows, components], the coarsest first. */
export function shareKeys(section) {
  const keys = [...section.arrays.keys()].filter((key) => /^contributions(\.|$)/.test(key));
  return keys.filter((key) => {
    const { axes, omitted } = section.array(key);
    return !omitted && axes.length === 3 && axes[0] === "targets" && axes[1] === "rows" &&
      !section.axis(axes[2]).isNumbers;
  }).sort((a, b) => section.array(a).last - section.array(b).last);
}

/** The number of [targets, rows] under a key of the same level as the contributions; else null. */
export function besideShares(section, name, key, t, i) {
  const full = key.replace(/^contributions/, name);
  const found = section.has(full, ["targets", "rows"]) ? full : name;
  return section.has(found, ["targets", "rows"]) ? section.array(found).at(t, i) : null;
}

/** The sum of the shares of an array's page at (t, i) per bin(component): a Map bin -> sum. */
export function sharesBy(section, key, t, i, bin) {
  const array = section.array(key);
  const all = components(section.axis(array.axes[2]));
  const sums = new Map();
  for (const { index, value } of array.top(t, i)) {
    const name = bin(all[index]);
    if (name !== null) sums.set(name, (sums.get(name) || 0) + value);
  }
  return sums;
}
