// Shares of a logit (direct logit attribution): ranked bars whose sum ends at the logit, by layer
// and head, by the position that heads read, and over all rows.
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { rowFrame, rowList } from "../parts/row_frame.js";
import { indexOfRow } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { lastWithTarget, targetAt, targetTexts } from "../parts/targets.js";
import { drawShares, shareTable } from "./shares_bars.js";
import { shareKeys } from "./shares_data.js";
import { filtersOf, firstLevel, levelsOf, sharesOf } from "./shares_levels.js";
import { drawRows, rowsMap } from "./shares_rows.js";
import { drawLayers, drawSources, layerTable, sourceMap, sourceTable } from "./shares_maps.js";

const COUNTS = [12, 30, 60];
const PANEL = 6; // shares in the token's panel

/** Ranked bars with the level, the kind and the number of bars to choose. */
function ranked(place, section, page, target) {
  const levels = levelsOf(section);
  const level = choiceOf(page, section, "level", firstLevel(levels));
  const kind = choiceOf(page, section, "kind", 0);
  const count = choiceOf(page, section, "bars", 0);
  const now = () => {
    const filters = filtersOf(section, levels[level.value]);
    return { level: levels[level.value], filter: filters[kind.value] || filters[0],
      most: COUNTS[count.value], target: target.value };
  };
  const kinds = el("span", null);
  const fillKinds = () => kinds.replaceChildren(...[chooseAny(kind, "kind",
    filtersOf(section, levels[level.value]).map((filter) => filter.name))].filter(Boolean));
  const figure = rowFrame(place, page, {
    axis: section.axis("rows"),
    first: lastWithTarget(section, 0, section.axis("rows").n),
    title: "Largest shares",
    caption: "Direct logit attribution: each component's part of the logit. The line at the " +
      "right adds them up to the logit.",
    label: "The largest shares of the logit, as bars, and their sum",
    controls: [chooseAny(level, "level", levels.map((one) => one.name), 6), kinds,
      chooseAny(count, "bars", COUNTS.map(String))].filter(Boolean),
    draw: (area, width, i) => drawShares(area, width, section, now(), i),
    table: (i) => shareTable(section, now(), i),
  });
  level.on(() => {
    kind.set(0);
    fillKinds();
  });
  fillKinds();
  redrawOn(figure, [level, kind, count, target]);
}

/** Components by row, where there are several rows. */
function overRows(place, section, page, target, key) {
  const rows = section.axis("rows");
  const figure = frame(place, {
    title: "Over the rows",
    caption: "The same components at every row that has shares.",
    label: `Shares of the target at ${rows.n} rows`,
    draw: (area, width) => {
      const map = drawRows(area, width, section, page, key, target.value);
      follow(page, area, (row) => map.highlight(row));
    },
    table: () => {
      const map = rowsMap(section, key, target.value);
      return { head: ["row", ...map.kept.map((_, r) => map.label(r))],
        rows: Array.from({ length: rows.n }, (_, c) => [rows.label(c),
          ...map.kept.map((_, r) => number(map.value(r, c)))]) };
    },
  });
  redrawOn(figure, [target]);
}

/** The coarsest array that has single heads, else the coarsest. */
function mapKey(section) {
  const levels = levelsOf(section).filter((level) => !level.group);
  return (levels.find((level) => level.name === "head") ||
    levels.find((level) => level.name !== "layer" && level.name !== "source") || levels[0]).key;
}

function draw(place, section, page) {
  const axis = section.axis("rows");
  const first = lastWithTarget(section, 0, axis.n);
  const target = choiceOf(page, section, "target", 0);
  place.append(el("div", { class: "controls" },
    [chooseAny(target, "target", targetTexts(section)), rowList(section.run, page, axis, first)]
      .filter(Boolean)));
  ranked(place, section, page, target);
  const key = mapKey(section);
  redrawOn(rowFrame(place, page, {
    axis,
    first,
    title: "By layer and head",
    caption: "Neurons and the MLP's bias are one sum per layer.",
    label: "Shares by layer and head",
    draw: (area, width, i) => drawLayers(area, width, section, key, target.value, i),
    table: (i) => layerTable(section, key, target.value, i),
  }), [target]);
  const source = levelsOf(section).find((level) => level.name === "source");
  if (source)
    redrawOn(rowFrame(place, page, {
      axis,
      first,
      title: "By the token read",
      label: "Shares by the token that heads read",
      caption: "What heads read from each position and wrote at this row.",
      draw: (area, width, i) => drawSources(area, width, section, source.key, target.value, i),
      table: (i) => sourceTable(section, source.key, target.value, i),
    }), [target]);
  const coarse = shareKeys(section)[0];
  if (axis.n > 1) overRows(place, section, page, target, coarse);
}

/** The token's panel: its largest shares for up to three targets. */
function panel(section, row) {
  const i = indexOfRow(section.axis("rows"), row);
  if (i < 0) return null;
  const levels = levelsOf(section);
  const level = levels[firstLevel(levels)];
  const parts = [];
  for (let t = 0; t < Math.min(3, section.axis("targets").n); t++) {
    const shares = sharesOf(section, level, t, i, { kinds: null }, PANEL);
    if (shares.missing) continue;
    parts.push(el("p", null, `Logit of ${targetAt(section, t, i)}: ${short(shares.logit)}`),
      el("table", { class: "panel" }, el("tbody", null, shares.shown.map((entry) =>
        el("tr", null, el("th", { scope: "row" }, entry.label),
          el("td", { class: "number" }, short(entry.value)))))));
  }
  if (!parts.length) return null;
  return { element: el("div", null, parts), tints: sourceTints(section, i) };
}

/** Weights 0 to 1 of the tokens that heads read at row index i, for the first target. */
function sourceTints(section, i) {
  const source = levelsOf(section).find((level) => level.name === "source");
  if (!source) return [];
  const { first, sums } = sourceMap(section, source.key, 0, i);
  const most = Math.max(1e-30, ...sums.map(Math.abs));
  const rows = (sign) => new Map([...sums].map((sum, j) => [first + j, (sign * sum) / most])
    .filter(([, weight]) => weight > 0));
  return [{ label: "raises the logit", rows: rows(1), tone: "positive" },
    { label: "lowers the logit", rows: rows(-1), tone: "negative" }];
}

export const sharesFigure = {
  name: "shares",
  match(section) {
    const keys = shareKeys(section);
    if (!keys.length) return null;
    const beside = [...section.arrays.keys()].filter((key) =>
      /^(values|constant|completeness_error|sum_abs_share)(\.|$)/.test(key) &&
      section.has(key, ["targets", "rows"]));
    if (section.has("sigma", ["rows"])) beside.push("sigma");
    if (section.has("target_ids", ["targets", "rows", "ids"])) beside.push("target_ids");
    return { arrays: [...keys, ...beside], title: "Shares of the logit" };
  },
  draw,
  detail: panel,
};
