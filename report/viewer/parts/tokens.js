// The spine of the page: all tokens of the run in reading order. Pointing at a token, or moving to
// it with the arrow keys, selects it; Enter or a click locks it, Escape unlocks it.
import { theme } from "./colors.js";
import { el } from "./dom.js";
import { visible } from "./scales.js";

const TONES = {
  positive: { light: "31,95,191", dark: "106,165,255" },
  negative: { light: "184,82,0", dark: "255,157,63" },
};
const STRONGEST = 0.45; // alpha of the heaviest tint: the ink stays readable on it

/** A token's chip. role: of the list that it is in. */
function chipOf(token, row) {
  return el(
    "span",
    {
      class: "chip",
      role: "option",
      tabindex: "-1",
      "data-row": row,
      "aria-selected": "false",
      title: `row ${row}, id ${token.id}`,
    },
    visible(token.text)
  );
}

/** The tokens of a run by sequence: [{sequence, rows: [row]}]. */
export function sequencesOf(tokens) {
  const found = new Map();
  tokens.forEach((token, row) => {
    if (!found.has(token.sequence))
      found.set(token.sequence, { sequence: token.sequence, rows: [] });
    found.get(token.sequence).rows.push(row);
  });
  return [...found.values()];
}

/** The chip one line above (-1) or below (1) another, nearest in place. */
function chipInLine(chips, row, direction) {
  const from = chips[row].getBoundingClientRect();
  const center = from.left + from.width / 2;
  let best = row;
  let nearest = Infinity;
  let line = null;
  for (let i = row + direction; i >= 0 && i < chips.length; i += direction) {
    const box = chips[i].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < box.height / 2) continue;
    if (line === null) line = box.top;
    if (Math.abs(box.top - line) > box.height / 2) break;
    const distance = Math.abs(box.left + box.width / 2 - center);
    if (distance < nearest) [nearest, best] = [distance, i];
  }
  return best;
}

/** The row that a key leads to from a row; null for other keys. */
function rowAfterKey(key, row, chips) {
  const last = chips.length - 1;
  switch (key) {
    case "ArrowRight":
      return Math.min(last, row + 1);
    case "ArrowLeft":
      return Math.max(0, row - 1);
    case "ArrowDown":
      return chipInLine(chips, row, 1);
    case "ArrowUp":
      return chipInLine(chips, row, -1);
    case "Home":
      return 0;
    case "End":
      return last;
    default:
      return null;
  }
}

/** Scrolls the list, not the page, so that a chip is seen. */
function reveal(list, chip) {
  const box = chip.getBoundingClientRect();
  const around = list.getBoundingClientRect();
  if (box.top < around.top) list.scrollTop += box.top - around.top - 4;
  else if (box.bottom > around.bottom) list.scrollTop += box.bottom - around.bottom + 4;
}

function rowOfEvent(event) {
  const chip = event.target.closest(".chip");
  return chip ? Number(chip.dataset.row) : null;
}

/** Makes keys and pointer of the list set the selection. */
function listen(list, chips, selection) {
  const current = () => (selection.row === null ? 0 : selection.row);
  list.addEventListener("pointerover", (event) => {
    const row = rowOfEvent(event);
    if (row !== null && event.pointerType !== "touch") selection.set(row);
  });
  list.addEventListener("click", (event) => {
    const row = rowOfEvent(event);
    if (row !== null) selection.lock(row);
  });
  list.addEventListener("focusin", (event) => {
    const row = rowOfEvent(event);
    if (row !== null) selection.set(row);
  });
  list.addEventListener("keydown", (event) => {
    const here = rowOfEvent(event);
    const row = rowAfterKey(event.key, here === null ? current() : here, chips);
    if (row !== null) {
      if (selection.locked !== null) selection.lock(row);
      chips[row].focus({ preventScroll: true });
    } else if (event.key === "Enter" || event.key === " ") {
      selection.lock(current());
    } else {
      return;
    }
    event.preventDefault();
  });
}

/** Colors chips by the tints: [{rows: Map(row -> weight 0 to 1), tone, label}]. */
function tinter(chips) {
  let colors = new Map(); // row -> its color now
  return (tints) => {
    const next = new Map();
    const name = theme();
    for (const { rows, tone } of tints)
      for (const [row, weight] of rows) {
        const alpha = Math.round(100 * STRONGEST * Math.min(1, weight)) / 100;
        if (chips[row] && alpha > 0) next.set(row, `rgba(${TONES[tone][name]},${alpha})`);
      }
    for (const row of colors.keys())
      if (!next.has(row)) chips[row].style.removeProperty("background-color");
    for (const [row, color] of next)
      if (colors.get(row) !== color) chips[row].style.setProperty("background-color", color);
    colors = next;
  };
}

/**
 * The spine of a run: {element, tint(tints)}; null where there are no tokens (a corpus).
 * A tint is {label, rows: Map(row -> weight 0 to 1), tone: "positive" (blue) or "negative"}.
 */
export function spine(run, page) {
  if (run.tokens.length === 0) return null;
  const chips = run.tokens.map(chipOf);
  const sequences = sequencesOf(run.tokens);
  const list = el(
    "div",
    {
      class: "chips",
      role: "listbox",
      "aria-label": "Tokens of the run",
      "aria-orientation": "horizontal",
    },
    sequences.length === 1
      ? chips
      : sequences.map(({ sequence, rows }) =>
          el(
            "div",
            { class: "sequence", role: "group", "aria-label": `Sequence ${sequence}` },
            el("span", { class: "sequence-name", "aria-hidden": "true" }, `${sequence}`),
            rows.map((row) => chips[row])
          )
        )
  );
  chips[chips.length - 1].tabIndex = 0;
  listen(list, chips, page.selection);
  let marked = null;
  page.selection.on((row, locked) => {
    if (marked !== null) {
      chips[marked].classList.remove("here", "locked");
      chips[marked].setAttribute("aria-selected", "false");
    }
    marked = row;
    if (row === null) return;
    list.querySelectorAll('[tabindex="0"]').forEach((chip) => {
      chip.tabIndex = -1;
    });
    chips[row].tabIndex = 0;
    chips[row].classList.add("here");
    chips[row].classList.toggle("locked", locked === row);
    chips[row].setAttribute("aria-selected", "true");
    requestAnimationFrame(() => row === marked && reveal(list, chips[row])); // one layout per frame
  });
  return { element: el("div", { class: "spine" }, list), tint: tinter(chips) };
}
