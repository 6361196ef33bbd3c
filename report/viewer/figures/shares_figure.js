// Shares of a logit (direct logit attribution): ranked bars whose sum ends at the logit, by layer
// and head, by the position that heads read, and over all rows.
import { choice } from "../parts/choice.js";
import { el } from "../parts/dom.js";
import { drawSelected, follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { pickList, pickShared } from "../parts/pick.js";
import { indexOfRow, rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { targetAt, targetTexts } from "../parts/targets.js";
import { drawShares, shareTable } from "./shares_bars.js";
import { shareKeys } from "./shares_data.js";
import { filtersOf, levelsOf, sharesOf } from "./shares_levels.js";
import { drawRows, rowsMap } from "./shares_rows.js";
import { drawLayers, drawSources, layerTable, sourceTable } from "./shares_maps.js";

const COUNTS = [12, 30, 60];
const PANEL = 6; // shares in the token's panel

/** A list of the rows that have shares; choosing one locks its token. */
function rowList(section, page) {
  const rows = section.axis("rows");
  if (rows.n < 2) return null;
  const texts = Array.from({ length: rows.n }, (_, i) => rowTitle(section.run, rows.number(i)));
  const list = pickList("row", texts, rows.n - 1, (i) => {
    if (page.selection.locked !== rows.number(i)) page.selection.lock(rows.number(i));
  });
  page.selection.on((row) => {
    const i = indexOfRow(rows, row);
    if (i >= 0) list.querySelector("select").selectedIndex = i;
  });
  return list;
}

/** Ranked bars with the level, the kind and the number of bars to choose. */
function ranked(place, section, page, target) {
  const levels = levelsOf(section);
  const finest = levels.filter((one) => !one.group).length - (levels[0].group ? 0 : 1);
  const level = choice(page, `${section.name} level`, finest);
  const kind = choice(page, `${section.name} kind`, 0);
  const count = choice(page, `${section.name} count`, 0);
  const state = { shown: -1 };
  const now = () => {
    const filters = filtersOf(section, levels[level.value]);
    return { level: levels[level.value], filter: filters[kind.value] || filters[0],
      most: COUNTS[count.value], target: target.value };
  };
  const kinds = el("span", null);
  const fillKinds = () => kinds.replaceChildren(...[pickShared("kind",
    filtersOf(section, levels[level.value]).map((filter) => filter.name), kind)].filter(Boolean));
  const figure = frame(place, {
    title: "Largest shares",
    caption: "Each component's part of the logit. The line at the right adds them up to the logit.",
    label: "The largest shares of the logit, as bars, and their sum",
    controls: [pickShared("level", levels.map((one) => one.name), level), kinds,
      pickShared("bars", COUNTS.map(String), count)].filter(Boolean),
    draw: (area, width) => drawSelected(page, area, section.axis("rows"), state, (i) =>
      drawShares(area, width, section, now(), i)),
    table: () => shareTable(section, now(), shownRow(section, state)),
  });
  level.on(() => {
    kind.set(0);
    fillKinds();
  });
  fillKinds();
  for (const one of [level, kind, count, target]) one.on(() => figure.redraw());
}

function shownRow(section, state) {
  return state.shown < 0 ? section.axis("rows").n - 1 : state.shown;
}

/** A map at the selected row: draw(area, width, i), table(i). */
function mapFrame(place, section, page, target, given) {
  const state = { shown: -1 };
  const figure = frame(place, {
    title: given.title,
    caption: given.caption,
    label: given.title,
    draw: (area, width) => drawSelected(page, area, section.axis("rows"), state, (i) =>
      given.draw(area, width, i)),
    table: () => given.table(shownRow(section, state)),
  });
  target.on(() => figure.redraw());
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
  target.on(() => figure.redraw());
}

/** The coarsest array that has single heads, else the coarsest. */
function mapKey(section) {
  const levels = levelsOf(section).filter((level) => !level.group);
  return (levels.find((level) => level.name === "head") ||
    levels.find((level) => level.name !== "layer" && level.name !== "source") || levels[0]).key;
}

function draw(place, section, page) {
  const target = choice(page, `${section.name} target`, 0);
  place.append(el("div", { class: "controls" },
    [pickShared("target", targetTexts(section), target), rowList(section, page)].filter(Boolean)));
  ranked(place, section, page, target);
  const key = mapKey(section);
  mapFrame(place, section, page, target, {
    title: "By layer and head", caption: "Neurons and the MLP's bias are one sum per layer.",
    draw: (area, width, i) => drawLayers(area, width, section, key, target.value, i),
    table: (i) => layerTable(section, key, target.value, i),
  });
  const source = levelsOf(section).find((level) => level.name === "source");
  if (source)
    mapFrame(place, section, page, target, {
      title: "By the token read",
      caption: "What heads read from each position and wrote at this row.",
      draw: (area, width, i) => drawSources(area, width, section, source.key, target.value, i),
      table: (i) => sourceTable(section, source.key, target.value, i),
    });
  const coarse = shareKeys(section)[0];
  if (section.axis("rows").n > 1) overRows(place, section, page, target, coarse);
}

/** The token's panel: its largest shares for up to three targets. */
function panel(section, row) {
  const i = indexOfRow(section.axis("rows"), row);
  if (i < 0) return null;
  const levels = levelsOf(section);
  const level = levels.filter((one) => !one.group).pop();
  const parts = [];
  for (let t = 0; t < Math.min(3, section.axis("targets").n); t++) {
    const shares = sharesOf(section, level, t, i, { kinds: null }, PANEL);
    if (shares.missing) continue;
    parts.push(el("p", null, `Logit of ${targetAt(section, t, i)}: ${short(shares.logit)}`),
      el("table", { class: "panel" }, el("tbody", null, shares.shown.map((entry) =>
        el("tr", null, el("th", { scope: "row" }, entry.label),
          el("td", { class: "number" }, short(entry.value)))))));
  }
  return parts.length ? el("div", null, parts) : null;
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
