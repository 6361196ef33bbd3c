// Small tables of numbers by level as curves: one panel per array, one line per label. Matches
// arrays of [levels] or [levels, labels] (or the other way round), perhaps after "populations".
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";

const LEVELS = /(^|_)(levels|layers|lenses)$/;
const ROWS = new Set(["populations", "scopes"]);
const MOST_LINES = 10;

/** How an array is drawn: {array, rows, level, series (axis or null)}; null: not by this figure. */
function planOf(section, array) {
  if (array.omitted || array.tokenIds || array.dtype === "I32" || !array.axes.length) return null;
  const rows = ROWS.has(array.axes[0]) ? array.axes[0] : null;
  const free = rows ? array.axes.slice(1) : array.axes;
  const level = free.find((name) => LEVELS.test(name));
  const series = free.filter((name) => name !== level);
  if (!level || free.length > series.length + 1 || series.length > 1 || section.axis(level).n < 2)
    return null;
  if (
    series.length &&
    (LEVELS.test(series[0]) ||
      section.axis(series[0]).isNumbers ||
      section.axis(series[0]).n > MOST_LINES)
  )
    return null;
  return { array, rows, level, series: series[0] || null };
}

/** The numbers along the levels at label k (of the series) in the chosen rows. */
function valuesOf(section, plan, rows, k) {
  const { array, level } = plan;
  return Array.from({ length: section.axis(level).n }, (_, l) =>
    array.at(...array.axes.map((name) => (name === level ? l : name === plan.rows ? rows : k)))
  );
}

/** Marks that belong to an array: the value or array random_X, X_by_chance, X_random. */
function levelsOf(section, plan) {
  const { key } = plan.array;
  for (const name of [`${key}_random`, `${key}_by_chance`, `random_${key}`]) {
    const value = section.values.get(name);
    if (typeof value === "number") return [{ name: "random", value }];
  }
  return [];
}

function panelOf(section, plan, rows) {
  const labels = plan.series ? labelsOf(section, plan.series) : [""];
  const error = section.has(`${plan.array.key}_error`, plan.array.axes)
    ? planOf(section, section.array(`${plan.array.key}_error`))
    : null;
  const series = labels.map((name, k) => {
    const values = valuesOf(section, plan, rows(plan), k);
    const spread = error ? valuesOf(section, error, rows(error), k) : null;
    return {
      name: name || plan.array.key,
      values,
      ...(spread
        ? { low: values.map((v, i) => v - spread[i]), high: values.map((v, i) => v + spread[i]) }
        : {}),
    };
  });
  return {
    title: plan.array.key.replace(/_/g, " "),
    draw: (panel, wide) =>
      lines(panel, wide, {
        x: { name: plan.level.replace(/_/g, " "), labels: labelsOf(section, plan.level) },
        y: { name: "" },
        series,
        height: 180,
        levels: levelsOf(section, plan),
        label: `${plan.array.key} by ${plan.level}`,
      }),
  };
}

/** Plans that share their axes are one frame. */
function groupsOf(plans) {
  const groups = new Map();
  for (const plan of plans) {
    const name = [plan.rows, plan.level, plan.series].join();
    groups.set(name, [...(groups.get(name) || []), plan]);
  }
  return [...groups.values()];
}

function groupFrame(place, section, page, plans) {
  const [{ rows, level, series }] = plans;
  const populations = rows ? labelsOf(section, rows).map((one) => one.replace(/_/g, " ")) : [];
  const chosen = choiceOf(page, section, "curve_rows", Math.max(0, populations.length - 1));
  const shown = plans.filter(
    (plan) =>
      !/_error$/.test(plan.array.key) ||
      !plans.some((other) => `${other.array.key}_error` === plan.array.key)
  );
  const names = shown.map((plan) => plan.array.key.replace(/_/g, " "));
  redrawOn(
    frame(place, {
      title:
        names.length > 3
          ? `${names.length} quantities by ${level.replace(/_/g, " ")}`
          : `${names.join(", ")} by ${level.replace(/_/g, " ")}`,
      label: `Curves by ${level}${series ? `, a line per ${series}` : ""}: ${names.join(", ")}`,
      controls: populations.length > 1 ? [choose(chosen, "Rows", populations)] : [],
      draw: (area, width) =>
        panels(
          area,
          width,
          shown.map((plan) => panelOf(section, plan, () => chosen.value)),
          { least: 260 }
        ),
      table: () =>
        longTable(
          section,
          plans.map((plan) => plan.array.key)
        ),
    }),
    [chosen]
  );
}

export const curves = {
  name: "curves",
  match(section) {
    const arrays = [...section.arrays.values()].filter((array) => planOf(section, array));
    return arrays.length ? { arrays: arrays.map((array) => array.key), title: "By level" } : null;
  },
  draw(place, section, page, claimed) {
    const plans = claimed.map((key) => planOf(section, section.array(key)));
    for (const group of groupsOf(plans)) groupFrame(place, section, page, group);
  },
};
