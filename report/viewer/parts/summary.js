// The sentences of a plugin's summary: the first lines in sight, the others folded. Lines with
// columns keep their spaces.
import { el, freshId } from "./dom.js";

const MOST = 6; // lines in sight
const MOST_LETTERS = 800; // in sight

/**
 * True for a line of a table: it has several spaces in a row between other characters, or a number
 * and a letter or dot for each token.
 */
function isColumns(line) {
  return /\S {2,}\S/.test(line) || /^\s*\d+ +[.*A-Z]{2,}\s*$/.test(line);
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
  if (!isTable || lines.length === 1)
    return el("p", { class: "sentence" }, lines[0].trim().replace(/ {2,}/g, " "));
  const label = { tabindex: "0", role: "group", "aria-label": "A table of the summary" };
  return el("pre", { class: "sentence", ...label }, lines.join("\n"));
}

/**
 * How many of the blocks are in sight: as many as the limits allow. A sentence that announces lines
 * which are folded is folded with them.
 */
function countInSight(blocks) {
  let [lines, letters, count] = [0, 0, 0];
  for (const block of blocks) {
    lines += block.lines.length;
    letters += block.isTable ? 0 : block.lines[0].length;
    if (lines > MOST || letters > MOST_LETTERS) break;
    count++;
  }
  while (count > 0 && count < blocks.length && blocks[count - 1].lines[0].endsWith(":")) count--;
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
  const name = count ? "More of the summary" : "The summary";
  const title = el("summary", { id: freshId("more") }, name);
  return [...shown, el("details", { class: "more" }, title, folded)];
}

/** The lists of a summary that a terminal shows as bars: [{title, unit, labels, values}]. */
export function listsOf(section) {
  return section.summary.filter((item) => typeof item === "object" && item !== null);
}
