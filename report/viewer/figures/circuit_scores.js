// The scores of all edges of one kind as a map: receivers down, senders across.
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { componentOf } from "../parts/circuit_model.js";
import { colorScale } from "../parts/colorscale.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf } from "../parts/labels.js";
import { number, short } from "../parts/scales.js";

const KINDS = ["q", "k", "v", "MLPs and logits"];
const TALLEST = 480; // pixels of a map of many receivers
const LOWEST = 3; // pixels of a line

const kindOf = (label) => {
  const component = componentOf(label);
  return component && component.input ? component.input : KINDS[3];
};

/** The kind with the edge of the largest size. */
function largestKind(score, labels) {
  let [best, most] = [0, -1];
  labels.forEach((label, r) => {
    const [top] = score.top(r, { n: 1 });
    if (top && Math.abs(top.value) > most) [best, most] = [KINDS.indexOf(kindOf(label)),
      Math.abs(top.value)];
  });
  return best;
}

/** The edges of all receivers, the largest first. */
function tableOf(score, receivers, senders) {
  const rows = receivers.flatMap((label, r) =>
    score.top(r).map(({ index, value }) => [label, senders[index], value]));
  rows.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
  return { head: ["receiver", "sender", "score"],
    rows: rows.map(([to, from, value]) => [to, from, number(value)]) };
}

/** Adds the frame. */
export function scoresFrame(place, section, page) {
  const score = section.array("score");
  const [receivers, senders] = ["receivers", "senders"].map((name) => labelsOf(section, name));
  const kind = choiceOf(page, section, "receivers", largestKind(score, receivers));
  const all = score.range();
  redrawOn(frame(place, {
    title: "Scores of all edges",
    caption: "The estimated or exact change of the metric when an edge alone is patched. White: " +
      "no " +
      "edge.",
    label: `Scores of the edges of ${receivers.length} receivers and ${senders.length} senders`,
    controls: [choose(kind, "Into", KINDS)],
    draw: (area, width) => {
      const rows = receivers.map((_, r) => r)
        .filter((r) => kindOf(receivers[r]) === KINDS[kind.value]).reverse();
      const value = (r, c) => score.at(rows[r], c);
      heatmap(area, width, {
        rows: rows.map((r) => receivers[r]),
        columns: senders,
        value,
        legend: "score (nats)",
        cellHeight: Math.max(LOWEST, Math.min(18, TALLEST / Math.max(1, rows.length))),
        scale: colorScale(all, { signed: true }),
        label: `Scores of ${rows.length} receivers by ${senders.length} senders`,
        tip: (r, c) => [`${senders[c]} → ${receivers[rows[r]]}`, `score  ${short(value(r, c))}`],
      });
    },
    table: () => tableOf(score, receivers, senders),
  }), [kind]);
}
