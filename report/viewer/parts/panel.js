// What the page knows of the selected token: its place, and what each figure's detail() says of it.
import { button, el } from "./dom.js";
import { number, visible } from "./scales.js";

const WAIT = 350; // ms after which a screen reader is told of a new token

/** A figure's answer as {element, tints}. It may give an element, or an object with rows or tints. */
export function detailOf(answer) {
  if (!answer) return null;
  if (answer instanceof Node) return { element: answer, tints: [] };
  const given = answer.tints || (answer.rows ? [answer] : []);
  const tints = given.map(({ label, rows, tone }) => ({
    label: label || "weight", rows, tone: tone || (/ by\b/.test(label || "") ? "negative" : "positive"),
  }));
  return { element: answer.element || null, tints };
}

/** The numbers of a section that a row has alone: [[key, text]]. */
function ownValues(section, row) {
  const found = [];
  for (const array of section.arrays.values()) {
    if (array.omitted || array.axes.length !== 1) continue;
    const i = section.indexOfRow(array.axes[0], row);
    if (i !== null) found.push([array.key, number(array.at(i))]);
  }
  return found;
}

function aboutToken(run, row) {
  const token = run.tokens[row];
  const facts = [["id", token.id], ["position", token.position], ["row", row]];
  if (run.tokens.some((other) => other.sequence !== 0)) facts.push(["sequence", token.sequence]);
  return el("dl", { class: "facts" }, facts.map(([name, value]) =>
    el("div", null, el("dt", null, name), el("dd", null, String(value)))));
}

/** Buttons that say which tints the spine shows. shown: a Set of labels. */
function legend(tints, shown, change) {
  if (tints.length === 0) return null;
  return el("div", { class: "tints", role: "group", "aria-label": "Colors of the tokens" },
    tints.map(({ label, tone }) => {
      const press = () => {
        if (!shown.delete(label)) shown.add(label);
        change();
      };
      return button(label, press, { class: `tint ${tone}`, "aria-pressed": String(shown.has(label)) });
    }));
}

/** The blocks of all figures that know something of a row: [{title, element, tints}]. */
function gather(parts, row, page) {
  const found = [];
  for (const { figure, section, title, arrays } of parts) {
    if (!figure.detail) continue;
    try {
      const detail = detailOf(figure.detail(section, row, page, arrays));
      if (detail) found.push({ title: `${section.name}: ${title}`, ...detail });
    } catch (error) {
      console.error(error);
    }
  }
  return found;
}

/**
 * The panel: {element}. parts: [{figure, section, title, arrays}] of the run; tint: the spine's.
 */
export function panel(run, parts, page, tint) {
  const body = el("div", { class: "panel-body", tabindex: "0", role: "region", "aria-label": "The selected token" });
  const told = el("p", { class: "hidden", role: "status", "aria-live": "polite" });
  const shown = new Set();
  const known = new Set();
  let timer = 0;
  const show = (row, locked) => {
    const blocks = gather(parts, row, page);
    const tints = blocks.flatMap((block) => block.tints);
    const first = blocks.find((block) => block.tints.length);
    if (first && known.size === 0) first.tints.forEach(({ label }) => shown.add(label));
    tints.forEach(({ label }) => known.add(label));
    const paint = () => tint(tints.filter(({ label }) => shown.has(label)));
    const key = legend(tints, shown, () => show(row, locked));
    paint();
    const lock = button(locked === row ? "Unlock" : "Lock", () => page.selection.lock(row),
      { "aria-pressed": String(locked === row) });
    body.replaceChildren(
      el("div", { class: "panel-head" }, el("h2", null, visible(run.tokens[row].text)), lock),
      aboutToken(run, row), ...[key].filter(Boolean),
      ...blocks.filter((block) => block.element).map(({ title, element }) =>
        el("section", null, el("h3", null, title), element)),
      ...run.sections.map((section) => [section.name, ownValues(section, row)]).filter(([, values]) => values.length)
        .map(([name, values]) => el("section", null, el("h3", null, name),
          el("dl", { class: "values" }, values.map(([key, text]) =>
            el("div", null, el("dt", null, key), el("dd", null, text)))))));
    clearTimeout(timer);
    timer = setTimeout(() => {
      told.textContent = `${visible(run.tokens[row].text)}, row ${row}${locked === row ? ", locked" : ""}`;
    }, WAIT);
  };
  const hint = () => {
    tint([]);
    body.replaceChildren(el("h2", null, "Tokens"), el("p", { class: "note" },
      "Point at a token, or move through them with the arrow keys. Enter or a click keeps one; Escape lets it go."));
  };
  let waits = false;
  const update = () => {
    waits = false;
    const { row, locked } = page.selection;
    if (row === null) hint();
    else show(row, locked);
  };
  page.selection.on(() => {
    if (!waits) requestAnimationFrame(update);
    waits = true;
  });
  document.addEventListener("themechange", update);
  update();
  const bigger = button("More", () => {
    const open = element.classList.toggle("open");
    bigger.setAttribute("aria-expanded", String(open));
    bigger.textContent = open ? "Less" : "More";
  }, { class: "bigger", "aria-expanded": "false" });
  const element = el("aside", { class: "panel", "aria-label": "Token" }, body, bigger, told);
  return { element };
}
