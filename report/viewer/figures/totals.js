// Means over a corpus with their spread. Matches X_mean with X_variance, X_min or X_max of the same
// axes; of arrays with many neurons the figure of distributions shows more.
import { bars } from "../parts/bars.js";
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { intervals } from "../parts/intervals.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { short, visible } from "../parts/scales.js";

const PARTS = ["variance", "min", "max"];
const SHOWN = 40; // of a long list, those whose mean is largest
const FEW = 12; // quantities with scales of their own, one panel for each

/** The statistics of one quantity: {stem, mean, variance, min, max, axes}. */
function setsOf(section) {
  const found = [];
  for (const mean of section.arrays.values()) {
    if (!/_mean$/.test(mean.key) || mean.omitted || !mean.axes.length) continue;
    const stem = mean.key.slice(0, -"_mean".length);
    const set = { stem, mean, axes: mean.axes, keys: [mean.key] };
    for (const part of PARTS)
      if (section.has(`${stem}_${part}`, mean.axes)) {
        set[part] = section.array(`${stem}_${part}`);
        set.keys.push(`${stem}_${part}`);
      }
    if (set.keys.length > 1 && set.mean.axes[set.mean.axes.length - 1] !== "neurons")
      found.push(set);
  }
  return found;
}

/** {middle, low, high, least, most} at indices; low and high are one standard deviation away. */
function entryAt(set, indices) {
  const middle = set.mean.at(...indices);
  const entry = { middle };
  if (set.variance) {
    const deviation = Math.sqrt(Math.max(0, set.variance.at(...indices)));
    [entry.low, entry.high] = [middle - deviation, middle + deviation];
  }
  if (set.min && set.max)
    [entry.least, entry.most] = [set.min.at(...indices), set.max.at(...indices)];
  return entry;
}

const isChoice = (name) => name === "populations" || name === "scopes" || name === "targets";

/** Axes of a set: those with a control, the list downwards, and the panels (or null). */
function planOf(section, set) {
  const chosen = set.axes.filter(isChoice);
  const free = set.axes.filter((name) => !isChoice(name));
  const panel =
    free.length > 1 && section.axis(free[free.length - 1]).n <= FEW ? free[free.length - 1] : null;
  const down = free.filter((name) => name !== panel);
  return { chosen, down, panel };
}

/** All places of the list: [{name, at: {axis: index}}]; of many, those of the largest means. */
function linesOf(section, set, plan, fixed) {
  let places = [{ name: "", at: fixed }];
  for (const axis of plan.down)
    places = places.flatMap((place) =>
      labelsOf(section, axis).map((label, i) => ({
        name: `${place.name} ${axis === "layers" ? `layer ${label}` : label}`.trim(),
        at: { ...place.at, [axis]: i },
      }))
    );
  if (plan.panel || places.length <= SHOWN) return places;
  const size = (place) => Math.abs(set.mean.at(...set.axes.map((name) => place.at[name]))) || 0;
  return places.sort((a, b) => size(b) - size(a)).slice(0, SHOWN);
}

function drawSet(area, width, section, set, plan, fixed, wide) {
  const list = linesOf(section, set, plan, fixed);
  const one = (more) =>
    list.map((place) =>
      entryAt(
        set,
        set.axes.map((name) => (more[name] === undefined ? place.at[name] : more[name]))
      )
    );
  const given = (title, entries) => ({
    labels: list.map((place) => place.name || set.stem),
    entries,
    title: plan.panel ? "" : title,
    names: ["mean", "one standard deviation", "least to most"],
    wide,
    label: `${title}: means with their spread`,
  });
  if (!plan.panel) {
    intervals(area, Math.min(width, 860), given(set.stem, one({})));
    return;
  }
  panels(
    area,
    width,
    labelsOf(section, plan.panel).map((label, k) => ({
      title: label,
      draw: (panel, w) => intervals(panel, w, given(label, one({ [plan.panel]: k }))),
    })),
    { least: 300, most: 3 }
  );
}

/** "'next' in all rows": what the controls can choose. */
function textsOf(section, axis) {
  return labelsOf(section, axis).map((label) =>
    axis === "targets" ? label.split(" ").map(visible).join(" ") : label
  );
}

function setFrame(place, section, page, set) {
  const plan = planOf(section, set);
  const choices = plan.chosen.map((axis) =>
    choiceOf(page, section, `totals_${axis}`, axis === "targets" ? 0 : section.axis(axis).n - 1)
  );
  const wide = choiceOf(page, section, `totals_${set.stem}_wide`, 0);
  const names = { populations: "Rows", scopes: "Rows", targets: "Target" };
  const controls = plan.chosen
    .map((axis, i) =>
      section.axis(axis).n > 1 ? choose(choices[i], names[axis], textsOf(section, axis)) : null
    )
    .filter(Boolean);
  if (set.min) controls.push(choose(wide, "Axis", ["of the deviations", "least to most"]));
  const count = plan.down.reduce((product, axis) => product * section.axis(axis).n, 1);
  redrawOn(
    frame(place, {
      title: `${set.stem.replace(/_/g, " ")}: mean and spread`,
      caption:
        "Dot: mean. Thick line: one standard deviation to each side. Thin line: least to most." +
        (count > SHOWN && !plan.panel ? ` The ${SHOWN} of ${count} with the largest mean.` : ""),
      label: `Means of ${set.stem} with standard deviation and range`,
      controls,
      draw: (area, width) => {
        const fixed = Object.fromEntries(plan.chosen.map((axis, i) => [axis, choices[i].value]));
        drawSet(area, width, section, set, plan, fixed, wide.value === 1);
      },
      table: () => longTable(section, set.keys),
    }),
    [...choices, wide]
  );
}

/** Counts of rows: [populations] or [populations, targets]. */
function countsFrame(place, section) {
  const array = section.array("rows_counted");
  const { rows } = longTable(section, ["rows_counted"]);
  const labels = rows.map((row) => row.slice(0, -1).join(", "));
  const values = rows.map((_, i) => array.values()[i]);
  frame(place, {
    title: "Rows counted",
    label: `Rows counted: ${labels.map((name, i) => `${name} ${short(values[i])}`).join("; ")}`,
    draw: (area, width) =>
      bars(area, Math.min(width, 560), {
        labels,
        columns: [{ name: "rows", values }],
        label: "Rows counted",
        tip: (i) => [labels[i], short(values[i])],
      }),
    table: () => longTable(section, ["rows_counted"]),
  });
}

export const totals = {
  name: "totals",
  match(section) {
    const sets = setsOf(section);
    if (!sets.length) return null;
    const arrays = sets.flatMap((set) => set.keys);
    if (section.has("rows_counted") && section.array("rows_counted").values())
      arrays.push("rows_counted");
    return { arrays, title: "Means with their spread" };
  },
  draw(place, section, page, claimed) {
    for (const set of setsOf(section)) setFrame(place, section, page, set);
    if (claimed.includes("rows_counted")) countsFrame(place, section);
  },
};
