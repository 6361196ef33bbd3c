// Effects that a gradient estimates: a map of all places as of a sweep, and beside it how the exact
// effects of some places differ. Matches the array "estimate", with cell_* [targets, cells] and the
// statistics [targets, sets] beside it.
import { choose, redrawOn } from "../parts/choose.js";
import { frame, tableOf } from "../parts/frame.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { errorsFrame } from "./estimate_errors.js";
import { drawEffects, effectsAt, isEstimate } from "./sweep.js";

const CELLS = ["cell_estimate", "cell_exact", "cell_end", "cell_largest"];
const STATISTICS = ["bias", "error", "correlation", "spearman", "checked", "wrong_sign", "small"];

const statisticsOf = (section) =>
  STATISTICS.filter((key) => section.has(key, ["targets", "sets"]));

const hasCells = (section) =>
  ["cell_estimate", "cell_exact"].every((key) => section.has(key, ["targets", "cells"]));

/** The sets of points of a target: the largest estimates, and the other places. */
function setsOf(section, target) {
  const number = (key, i) =>
    section.has(key, ["targets", "cells"]) ? section.array(key).at(target, i) : NaN;
  const points = labelsOf(section, "cells").map((name, i) => ({
    name,
    estimate: number("cell_estimate", i),
    exact: number("cell_exact", i),
    rank: number("cell_largest", i),
    facts: [["by the changed run's gradient", number("cell_end", i)]],
  })).filter((point) => Number.isFinite(point.estimate) && Number.isFinite(point.exact));
  const sets = section.axis("sets");
  const names = sets ? labelsOf(section, "sets") : [];
  if (names.length !== 2 || !section.has("bias", ["targets", "sets"]) ||
      !section.has("cell_largest", ["targets", "cells"]))
    return points.length ? [{ name: "all places", points }] : [];
  const parts = [points.filter((point) => point.rank > 0), points.filter((point) => !point.rank)];
  return parts.map((part, k) =>
    ({ name: `${names[k]} places`, points: part, bias: section.array("bias").at(target, k) }))
    .filter((set) => set.points.length || Number.isFinite(set.bias));
}

function statisticsFrame(place, section) {
  const keys = statisticsOf(section);
  if (!keys.length) return;
  const given = () => longTable(section, keys);
  frame(place, {
    title: "How good the estimates are",
    caption: "Of the largest estimates, and of random places, which stand for all. Bias and " +
      "error are " +
      "in nats; small: a large effect of which less than a quarter is estimated.",
    label: "Statistics of the estimates",
    draw: (area) => area.append(tableOf(given(), "Statistics of the estimates")),
    table: given,
  });
}

export const attributionFigure = {
  name: "attribution",
  examples: true,
  match(section) {
    if (!isEstimate(section.array("estimate"))) return null;
    const keys = ["estimate", ...statisticsOf(section)];
    if (hasCells(section))
      keys.push(...CELLS.filter((key) => section.has(key, ["targets", "cells"])));
    if (section.has("cell_sampled", ["cells"])) keys.push("cell_sampled");
    return { arrays: keys, title: "Estimated effects" };
  },
  draw(place, section, page) {
    const { target, targets } = drawEffects(place, section, page);
    if (hasCells(section))
      redrawOn(errorsFrame(place, {
        title: "Estimates and exact effects",
        section,
        sets: () => setsOf(section, target.value),
        controls: targets.length > 1 ? [choose(target, "Target", targets)] : [],
      }), [target]);
    statisticsFrame(place, section);
  },
  detail: (section, row, page) => effectsAt(section, row, page, "estimate"),
};
