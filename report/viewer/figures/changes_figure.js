// Effects of an intervention: the exact change beside what the direct path predicts, the change of
// the whole distribution by token, and the most probable tokens before and after.
import { bars } from "../parts/bars.js";
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { rowFrame } from "../parts/row_frame.js";
import { indexOfRow, rowText, rowTexts, rowTitle } from "../parts/rows.js";
import { number, short, visible } from "../parts/scales.js";
import { targetAt, targetTexts } from "../parts/targets.js";
import { tinted } from "../parts/tinted.js";

const PER_TARGET = ["dz", "recomputed_ln", "frozen_ln", "dlog_p"];
const NAMES = { dz: "logit, exact", recomputed_ln: "logit, recomputed", frozen_ln: "logit, frozen",
  dlog_p: "log p, exact" };
const PER_ROW = { kl: "KL(before ‖ after) (nats)", dlog_z: "dlog Z (nats)" };
const TOP = ["top_before", "top_p_before", "top_after", "top_p_after"];
const MOST_LINES = 40;

function targetKeys(section) {
  return PER_TARGET.filter((key) => section.has(key, ["targets", "rows"]));
}

/** Lines of the comparison: per row where there are several, else per target. */
function linesOf(section, t) {
  const keys = targetKeys(section);
  const rows = section.axis("rows");
  const at = (target, i) => keys.map((key) => section.array(key).at(target, i));
  if (rows.n === 1)
    return targetTexts(section).map((_, target) =>
      ({ row: 0, label: targetAt(section, target, 0), values: at(target, 0) }));
  const all = Array.from({ length: rows.n }, (_, i) => ({ row: i, values: at(t, i),
    label: `${rows.label(i)} ${rowText(section.run, rows.number(i))}` }))
    .filter((line) => line.values.some((value) => !Number.isNaN(value)));
  const weight = (line) => Math.max(...line.values.map((value) => Math.abs(value) || 0));
  const kept = new Set([...all].sort((a, b) => weight(b) - weight(a)).slice(0, MOST_LINES));
  return all.filter((line) => kept.has(line));
}

function drawComparison(area, width, section, page, t) {
  const keys = targetKeys(section);
  const rows = section.axis("rows");
  const shown = linesOf(section, t);
  if (!shown.length) {
    area.append(el("p", { class: "note" }, "No row has such a target."));
    return;
  }
  const largest = shown.reduce((a, b) =>
    (Math.abs(b.values[0]) > Math.abs(a.values[0]) ? b : a));
  const drawn = bars(area, width, {
    labels: shown.map((line) => line.label),
    columns: keys.map((key, k) =>
      ({ name: NAMES[key], values: shown.map((line) => line.values[k]) })),
    label: `Exact and predicted changes; the largest exact one is ${short(largest.values[0])} at ` +
      largest.label,
    tip: (n) => [`${rowTitle(section.run, rows.number(shown[n].row))} → ` +
      (rows.n === 1 ? shown[n].label : targetAt(section, t, shown[n].row)),
    ...keys.map((key, k) => `${NAMES[key]} ${number(shown[n].values[k])}`)],
    onEnter: (n) => page.selection.set(rows.number(shown[n].row)),
    onPick: (n) => page.selection.lock(rows.number(shown[n].row)),
  });
  if (rows.n === 1) return;
  const left = rows.n - shown.length;
  if (left > 0)
    area.append(el("p", { class: "note" }, "Rows with smaller changes or without the target are " +
      `left out: ${left}.`));
  follow(page, area, (row) =>
    drawn.highlight(shown.findIndex((line) => rows.number(line.row) === row)));
}

function comparison(place, section, page) {
  const target = choiceOf(page, section, "target", 0);
  const keys = targetKeys(section);
  const rows = section.axis("rows");
  const why = section.values.get("no_prediction");
  redrawOn(frame(place, {
    title: "Exact change beside the predictions",
    caption: "After minus before, in nats. Predictions know the direct path only: with the last " +
      "LayerNorm's scale recomputed or frozen. The rest is what later components did.",
    label: "Exact and predicted changes of the logit",
    notes: typeof why === "string" && why ? [`No prediction: ${why}`] : [],
    controls: [rows.n > 1 ? chooseAny(target, "target", targetTexts(section)) : null]
      .filter(Boolean),
    draw: (area, width) => drawComparison(area, width, section, page, target.value),
    table: () => ({ head: ["target", "row", "token", ...keys],
      rows: targetTexts(section).flatMap((text, t) => rowTexts(section.run, rows)
        .map((token, i) => [text, rows.label(i), token,
          ...keys.map((key) => number(section.array(key).at(t, i)))])) }),
  }), [target]);
}

function drawByToken(area, width, section, page, key) {
  const rows = section.axis("rows");
  const array = section.array(key);
  const { low, high } = array.range();
  const value = (i) => array.at(i);
  const drawn = tinted(area, width, {
    tokens: rowTexts(section.run, rows),
    value,
    scale: colorScale({ low, high }, { signed: section.isDifference }),
    legend: PER_ROW[key],
    label: `${PER_ROW[key]} at ${rows.n} tokens, from ${short(low)} to ${short(high)}`,
    tip: (i) => [rowTitle(section.run, rows.number(i)), `${PER_ROW[key]}: ${number(value(i))}`],
    onEnter: (i) => page.selection.set(rows.number(i)),
    onPick: (i) => page.selection.lock(rows.number(i)),
  });
  follow(page, area, (row) => drawn.highlight(indexOfRow(rows, row)));
}

function byToken(place, section, page) {
  const keys = Object.keys(PER_ROW).filter((key) => section.has(key, ["rows"]));
  if (!keys.length) return;
  const rows = section.axis("rows");
  const shown = choiceOf(page, section, "change", 0);
  const mean = section.values.get("kl_mean");
  redrawOn(frame(place, {
    title: "Change of the prediction after each token",
    label: "Change of the prediction by token",
    notes: typeof mean === "number" ? [`The mean KL is ${short(mean)} nats; the most probable ` +
      `token changes at ${number(section.values.get("top_changed"))} of ${rows.n} rows.`] : [],
    controls: [chooseAny(shown, "show", keys.map((key) => PER_ROW[key]))].filter(Boolean),
    draw: (area, width) => drawByToken(area, width, section, page, keys[shown.value]),
    table: () => ({ head: ["row", "token", ...keys],
      rows: rowTexts(section.run, rows).map((text, i) =>
        [rows.label(i), text, ...keys.map((key) => number(section.array(key).at(i)))]) }),
  }), [shown]);
}

/** Tokens that lead before or after at row index i: [{text, before, after}]; NaN: not listed. */
export function leaders(section, i) {
  const found = new Map();
  const [before, pBefore, after, pAfter] = TOP.map((key) => section.array(key));
  const take = (ids, probabilities, name) => {
    for (let k = 0; k < ids.last; k++) {
      const id = ids.at(i, k);
      if (id < 0) continue;
      if (!found.has(id)) found.set(id, { id, before: NaN, after: NaN });
      found.get(id)[name] = probabilities.at(i, k);
    }
  };
  take(before, pBefore, "before");
  take(after, pAfter, "after");
  return [...found.values()].map((one) =>
    ({ ...one, text: visible(section.run.tokenText(one.id)) }));
}

function drawLeaders(area, width, section, i) {
  const shown = leaders(section, i);
  const row = rowTitle(section.run, section.axis("rows").number(i));
  area.append(el("p", { class: "which" }, row));
  bars(area, Math.min(width, 720), {
    labels: shown.map((one) => one.text),
    columns: [
      { name: "before", values: shown.map((one) => one.before) },
      { name: "after", values: shown.map((one) => one.after) },
    ],
    label: `${row}: the most probable token before is ${shown.length ? shown[0].text : "unset"}`,
    tip: (n) => [shown[n].text, `before ${number(shown[n].before)}`,
      `after ${number(shown[n].after)}`],
  });
}

export const changesFigure = {
  name: "changes",
  match(section) {
    const keys = targetKeys(section);
    const top = TOP.every((key) => section.has(key, ["rows", "ranks"]));
    if (!keys.includes("dz") && !top) return null;
    keys.push(...Object.keys(PER_ROW).filter((key) => section.has(key, ["rows"])));
    if (top) keys.push(...TOP);
    if (section.has("target_ids", ["targets", "rows", "ids"])) keys.push("target_ids");
    return { arrays: keys, title: "What the intervention changed" };
  },
  draw(place, section, page, keys) {
    if (targetKeys(section).length) comparison(place, section, page);
    byToken(place, section, page);
    if (section.isDifference)
      place.append(el("p", { class: "note" }, "Lists of the most probable tokens have no " +
        "difference."));
    else if (keys.includes("top_before"))
      rowFrame(place, page, {
        axis: section.axis("rows"),
        title: "Most probable tokens before and after",
        caption: "A token without a bar is not among the listed ones.",
        label: "The most probable tokens before and after",
        draw: (area, width, i) => drawLeaders(area, width, section, i),
        table: (i) => ({ head: ["token", "before", "after"],
          rows: leaders(section, i).map((one) =>
            [one.text, number(one.before), number(one.after)]) }),
      });
  },
  detail(section, row) {
    const i = indexOfRow(section.axis("rows"), row);
    if (i < 0 || !section.has("kl", ["rows"])) return null;
    return el("p", null, `KL(before ‖ after) ${short(section.array("kl").at(i))} nats`);
  },
};
