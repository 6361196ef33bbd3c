// Two runs: each figure for this run, for the run beside it, and for their difference.
import { differenceOf } from "../difference.js";
import { chooser, el } from "./dom.js";

const MODES = [
  ["side", "side by side"],
  ["this", "this run"],
  ["beside", "the run beside"],
  ["difference", "difference"],
];
const SHOWN = {
  side: ["this", "beside"],
  this: ["this"],
  beside: ["beside"],
  difference: ["difference"],
};

/** The switch at the top of a page of two runs. */
export function paneSwitch() {
  document.documentElement.dataset.panes = "side";
  return chooser("Runs", MODES, "side", (mode) => {
    document.documentElement.dataset.panes = mode;
    document.dispatchEvent(new Event("paneschange"));
  });
}

const CUT =
  "The page keeps the largest entries of some arrays. " +
  "An entry that it keeps of one run only is compared with 0.";

function isCut(array) {
  return array.encoding === "top";
}

function names(page) {
  const [first, second] = page.runs.map((run) => run.label);
  return {
    this: first || "this run",
    beside: second || "the run beside",
    difference: "difference",
  };
}

/** Draws a pane. draw(place, section) adds the figures. */
function fill({ kind, pane, sectionOf }, draw) {
  const section = sectionOf();
  draw(pane, section);
  if (kind === "difference" && [...section.arrays.values()].some(isCut))
    pane.append(el("p", { class: "note" }, CUT));
}

/**
 * Calls draw(place, section) once, or in a page of two runs for every pane that the reader has
 * chosen, when it is first seen.
 */
export function inPanes(place, section, page, draw) {
  if (!section.beside) {
    draw(place, section);
    return;
  }
  const sections = {
    this: () => section,
    beside: () => section.beside,
    difference: () => differenceOf(section),
  };
  const panes = Object.entries(names(page)).map(([kind, name]) => {
    const title = el("p", { class: "pane-name" }, name);
    const pane = el("div", { class: "pane", "data-pane": kind }, title);
    return { kind, pane, sectionOf: sections[kind], isFilled: false };
  });
  const update = () => {
    const shown = SHOWN[document.documentElement.dataset.panes];
    for (const one of panes) {
      one.pane.hidden = !shown.includes(one.kind);
      if (one.pane.hidden || one.isFilled) continue;
      one.isFilled = true;
      fill(one, draw);
    }
  };
  const both = el("div", { class: "panes" });
  both.append(...panes.map(({ pane }) => pane));
  place.append(both);
  update();
  document.addEventListener("paneschange", update);
}
