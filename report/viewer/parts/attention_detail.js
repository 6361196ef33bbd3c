// What a pattern knows of one token: the tokens that it reads and those that read it, each with the
// mean over heads and the strongest head.
import { el } from "./dom.js";
import { short, visible } from "./scales.js";

const LISTED = 6;

/** Adds a head's weight to the entry of a row: {row, sum, head, weight} (the strongest head). */
function add(found, row, head, weight) {
  if (row === null) return;
  if (!found.has(row)) found.set(row, { row, sum: 0, head, weight: 0 });
  const entry = found.get(row);
  entry.sum += weight;
  if (Math.abs(weight) > Math.abs(entry.weight)) Object.assign(entry, { head, weight });
}

/** Both directions of row `index` of a sequence: Maps of the run's row -> entry of add(). */
function readsOf(pattern, sequence, index, first) {
  const reads = new Map();
  const readBy = new Map();
  const i = sequence.rows[index];
  const position = pattern.positionOf(sequence, index);
  const key = pattern.keyAt(position);
  for (const head of pattern.heads) {
    pattern.each(
      head,
      i,
      first,
      (k, weight) => k < sequence.keys && add(reads, pattern.keyRow(sequence, k), head, weight)
    );
    if (key < 0) continue;
    for (let r = index + 1; r < sequence.rows.length; r++) {
      const weight = pattern.shown(head, sequence.rows[r], key, first);
      if (weight) add(readBy, pattern.runRow(sequence.rows[r]), head, weight);
    }
  }
  return { reads, readBy };
}

/** Row -> 0 to 1, the square root of its part of the largest sum. */
function tintOf(entries) {
  const most = Math.max(0, ...[...entries.values()].map(({ sum }) => Math.abs(sum)));
  return new Map(
    [...entries.values()].map(({ row, sum }) => [row, Math.sqrt(Math.abs(sum) / (most || 1))])
  );
}

function listOf(pattern, title, entries) {
  const ranked = [...entries.values()].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const lines = ranked
    .slice(0, LISTED)
    .map(({ row, sum, head, weight }) =>
      el(
        "tr",
        null,
        el("th", { scope: "row" }, `${visible(pattern.text(row))}`),
        el("td", null, short(sum / pattern.heads.length)),
        el("td", null, `${head.label} ${short(weight)}`)
      )
    );
  if (lines.length === 0) return el("p", { class: "note" }, `${title}: nothing`);
  const head = ["", "mean", "strongest head"].map((text) => el("th", { scope: "col" }, text));
  return el(
    "table",
    { class: "attention-detail" },
    el("caption", null, title),
    el("thead", null, el("tr", null, head)),
    el("tbody", null, lines)
  );
}

/** {element, tints} for the panel of a row of the run; null if the pattern lacks the row. */
export function attentionDetail(pattern, row, first) {
  const place = pattern.place.get(row);
  if (!place) return null;
  const sequence = pattern.sequences[place.sequence];
  const { reads, readBy } = readsOf(pattern, sequence, place.index, first);
  return {
    element: el("div", null, listOf(pattern, "reads", reads), listOf(pattern, "read by", readBy)),
    tints: [
      { label: "reads", rows: tintOf(reads) },
      { label: "read by", rows: tintOf(readBy) },
    ],
  };
}
