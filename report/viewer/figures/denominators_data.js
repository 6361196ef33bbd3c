// What a frozen LayerNorm misses: pairs of frozen and recomputed effects, the statistics of the
// sites, the coupling of the writers. Found by keys and axes.

/** Effects per component: [{name, suffix, keys, components (axis)}], single components first. */
export function effectLevels(section) {
  const found = [];
  for (const key of section.arrays.keys()) {
    const suffix = /^frozen_ln(\..+)?$/.test(key) ? key.slice("frozen_ln".length) : null;
    const array = section.array(key);
    if (suffix === null || array.axes.length !== 3 || array.axes[0] !== "targets") continue;
    if (!section.has(key, array.axes) || section.axis(array.axes[2]).isNumbers) continue;
    const recomputed = `recomputed_ln${suffix}`;
    if (!section.has(recomputed, array.axes)) continue;
    const error = `freeze_error${suffix}`;
    found.push({ name: suffix ? suffix.slice(1) : "component", frozen: key, recomputed,
      error: section.has(error, array.axes) ? error : null,
      rows: array.axes[1], components: array.axes[2] });
  }
  return found.sort((a, b) => section.axis(b.components).n - section.axis(a.components).n);
}

/**
 * Components at (t, i): [{index, label, frozen, recomputed, error}]; NaN where the page lacks the
 * number. None where there is no such target.
 */
export function effectsOf(section, level, t, i) {
  const axis = section.axis(level.components);
  const [frozen, recomputed] = [section.array(level.frozen), section.array(level.recomputed)];
  const error = level.error ? section.array(level.error) : null;
  const found = [];
  const read = (array, c) => (array.isKept(t, i, c) ? array.at(t, i, c) : NaN);
  for (let c = 0; c < axis.n; c++) {
    const [a, b] = [read(frozen, c), read(recomputed, c)];
    if (Number.isNaN(a) && Number.isNaN(b)) continue;
    found.push({ index: c, label: axis.label(c), frozen: a, recomputed: b,
      error: error ? read(error, c) : b - a });
  }
  return found;
}

/** The sum of frozen_ln over all components at (t, i), with those that the page lacks. */
export function frozenSum(section, level, t, i) {
  const frozen = section.array(level.frozen);
  return frozen.top(t, i).reduce((total, entry) => total + entry.value, frozen.rest(t, i));
}

const SITES = {
  scale: "scale, the divisor sigma",
  norm: "norm |P(x)|",
  mean: "mean of x",
  coupling_fraction: "coupling fraction",
  coupling_error: "error of the coupling's sum",
};

/** Statistics of the sites: [{key, name, array, rows (axis)}]. */
export function siteQuantities(section) {
  return Object.entries(SITES).filter(([key]) =>
    section.has(key, ["sites", "rows"]) || section.has(key, ["sites", "target_rows"]))
    .map(([key, name]) => {
      const array = section.array(key);
      return { key, name, array, rows: section.axis(array.axes[1]) };
    });
}

/** The keys that these figures draw. */
export function denominatorKeys(section) {
  const keys = effectLevels(section).flatMap((level) =>
    [level.frozen, level.recomputed, level.error].filter(Boolean));
  keys.push(...siteQuantities(section).map((quantity) => quantity.key));
  if (section.has("coupling", ["target_rows", "writers", "writers"])) keys.push("coupling");
  if (section.has("shares", ["sites", "target_rows", "writers"])) keys.push("shares");
  return keys;
}
