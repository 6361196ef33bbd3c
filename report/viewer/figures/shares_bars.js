// The largest shares of a logit as bars, and beside them their sum, which ends at the logit.
import { bars } from "../parts/bars.js";
import { el } from "../parts/dom.js";
import { number, short } from "../parts/scales.js";
import { rowTitle } from "../parts/rows.js";
import { noTarget, targetAt } from "../parts/targets.js";
import { sharesOf } from "./shares_levels.js";

const PRECISION = 1e-5; // a relative difference that 6 digits do not show

/** The lines of the figure: [{label, value, sum (so far)}]; the last is what is left out. */
export function shareLines(shares) {
  const lines = [];
  let sum = 0;
  const add = (label, value) => {
    sum += value;
    lines.push({ label, value, sum });
  };
  add("constant", shares.constant);
  for (const { label, value } of shares.shown) add(label, value);
  const { count, value } = shares.others;
  if (count > 0) add(`${count} ${count > 1 ? "others" : "other"}`, value);
  return lines;
}

/** One sentence: the shares and the constant add up to the logit, with the error and its bound. */
export function completeness(section, shares) {
  const total = shares.constant + shares.sum;
  const parts = `constant ${short(shares.constant)} + ${shares.count} shares ${short(shares.sum)}`;
  if (shares.logit === null) return `${parts} = ${number(total)}.`;
  const rounded = Math.abs(total - shares.logit);
  const sentence = `${parts} = ${number(total)}; the logit is ${number(shares.logit)}.` +
    (rounded > PRECISION * (1 + Math.abs(shares.logit))
      ? ` The page rounds shares: their sum here is off by ${rounded.toExponential(1)}.` : "");
  if (section.isDifference || shares.error === null) return sentence;
  const bound = section.values.get("completeness_bound");
  const relative = shares.error / (1 + (shares.sumAbs || 0));
  const verdict = typeof bound === "number" && !(relative <= bound) ? "NOT COMPLETE: the" : "The";
  return `${sentence} ${verdict} run's own error is ${relative.toExponential(1)} times ` +
    `(1 + sum |share|)${typeof bound === "number" ? `, the bound ${bound.toExponential(0)}` : ""}.`;
}

/** Draws the bars of state {level, filter, most, target} at row index i. */
export function drawShares(area, width, section, state, i) {
  const { level, filter, most, target } = state;
  const shares = sharesOf(section, level, target, i, filter, most);
  const row = section.axis("rows").number(i);
  const head = `${rowTitle(section.run, row)} → ${targetAt(section, target, i)}`;
  area.append(el("p", { class: "which" }, head));
  if (shares.missing) {
    area.append(el("p", { class: "note" }, noTarget(section)));
    return;
  }
  const lines = shareLines(shares);
  const goal = shares.logit === null ? shares.constant + shares.sum : shares.logit;
  bars(area, width, {
    labels: lines.map((line) => line.label),
    aside: (k) => k > shares.shown.length,
    columns: [
      { name: "share (nats)", values: lines.map((line) => line.value) },
      { name: `sum so far, to the logit ${short(goal)}`, kind: "line", goal,
        values: lines.map((line) => line.sum) },
    ],
    label: `Shares of the logit, ${head}: ${shares.count} shares; the largest is ` +
      `${lines[1].label}, ${short(lines[1].value)}; the logit is ${short(goal)}`,
    tip: (k) => [lines[k].label, `share ${number(lines[k].value)}`,
      `sum so far ${number(lines[k].sum)}`],
  });
  area.append(el("p", { class: "completeness" }, completeness(section, shares)));
}

/** The numbers of the bars at row index i. */
export function shareTable(section, state, i) {
  const shares = sharesOf(section, state.level, state.target, i, state.filter, state.most);
  const lines = shareLines(shares)
    .map((line) => [line.label, number(line.value), number(line.sum)]);
  return { head: ["component", "share", "sum so far"],
    rows: [...lines, ["logit", shares.logit === null ? "-" : number(shares.logit), ""]] };
}
