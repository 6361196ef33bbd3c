// The sentences of a plugin's summary: the first lines in sight, the others folded. Lines with
// columns keep their spaces.
import { el, freshId } from "./dom.js";

const MOST = 6; // lines in sight

/** True for a line of a table: it has several spaces in a row between other characters. */
function isColumns(line) {
  return /\S {2,}\S/.test(line);
}

/** Lines as blocks: sentences alone, lines of a table together. [{lines, isTable}] */
function blocksOf(lines) {
  const blocks = [];
  for (const line of lines) {
    const last = blocks[blocks.length - 1];
    const isTable = isColumns(line);
    if (last && isTable && last.isTable) last.lines.push(line);
    else blocks.push({ lines: [line], isTable });
  }
  return blocks;
}

function elementOf({ lines, isTable }) {
  if (!isTable) return el("p", { class: "sentence" }, lines[0]);
  const label = { tabindex: "0", role: "group", "aria-label": "A table of the summary" };
  return el("pre", { class: "sentence", ...label }, lines.join("\n"));
}

/** How many of the blocks are in sight: those of the first MOST lines, at least one. */
function countInSight(blocks) {
  let lines = 0;
  let count = 0;
  while (count < blocks.length && (count === 0 || lines + blocks[count].lines.length <= MOST))
    lines += blocks[count++].lines.length;
  return count;
}

/** The elements of a section's sentences. */
export function sentences(section) {
  const texts = section.summary.filter((item) => typeof item === "string");
  const blocks = blocksOf(texts.flatMap((text) => text.split("\n")).filter((line) => line.trim()));
  const count = countInSight(blocks);
  const shown = blocks.slice(0, count).map(elementOf);
  const folded = blocks.slice(count).map(elementOf);
  if (folded.length === 0) return shown;
  const title = el("summary", { id: freshId("more") }, "More of the summary");
  return [...shown, el("details", { class: "more" }, title, folded)];
}

/** The lists of a summary that a terminal shows as bars: [{title, unit, labels, values}]. */
export function listsOf(section) {
  return section.summary.filter((item) => typeof item === "object" && item !== null);
}
