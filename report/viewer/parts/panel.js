// What the page knows of the selected token: its place, and what each figure's detail() says of it.
import { button, el } from "./dom.js";
import { number, visible } from "./scales.js";

const MOST_LATE = 150; // ms that the panel may be behind the pointer
const WAIT = 350; // ms after which a screen reader is told of a new token

/**
 * A figure's answer as {element, tints}. It may give an element, or an object with rows or tints.
 */
export function detailOf(answer) {
  if (!answer) return null;
  if (answer instanceof Node) return { element: answer, tints: [] };
  const given = answer.tints || (answer.rows ? [answer] : []);
  const tints = given.map(({ label, rows, tone }) => ({
    label: label || "weight",
    rows,
    tone: tone || (/ by\b/.test(label || "") ? "negative" : "positive"),
  }));
  return { element: answer.element || null, tints };
}

/** What act() gives; null where it throws. The console has the reason. */
function attempt(act) {
  try {
    return act();
  } catch (error) {
    console.error(error);
    return null;
  }
}

/** The numbers of a section that a row has alone: [[key, text]]. */
function ownValues(section, row) {
  const found = [];
  for (const array of section.arrays.values()) {
    if (array.omitted || array.axes.length !== 1) continue;
    const i = section.indexOfRow(array.axes[0], row);
    if (i !== null) found.push([array.key, number(attempt(() => array.at(i)))]);
  }
  return found;
}

function aboutToken(run, row) {
  const token = run.tokens[row];
  const facts = [
    ["id", token.id],
    ["row", row],
  ];
  if (token.position !== row) facts.push(["position", token.position]);
  if (run.tokens.some((other) => other.sequence !== 0)) facts.push(["sequence", token.sequence]);
  return el(
    "dl",
    { class: "facts" },
    facts.map(([name, value]) =>
      el("div", null, el("dt", null, name), el("dd", null, String(value)))
    )
  );
}

/** What the figures know of a row: [{title, element, tints}], those with tints first. */
function gather(parts, row, page) {
  const found = [];
  for (const { figure, section, title, arrays } of parts) {
    if (!figure.detail) continue;
    const detail = attempt(() => detailOf(figure.detail(section, row, page, arrays)));
    if (detail) found.push({ title: `${section.name}: ${title}`, ...detail });
  }
  return [...found.filter((one) => one.tints.length), ...found.filter((one) => !one.tints.length)];
}

/** A heading with what belongs under it. */
function block(title, element) {
  return el("section", null, el("h3", null, title), element);
}

/** A list of names and numbers. */
function valueList(values) {
  return el(
    "dl",
    { class: "values" },
    values.map(([key, text]) => el("div", null, el("dt", null, key), el("dd", null, text)))
  );
}

/** Which tints the spine shows: the first figure's that has any, until the reader chooses. */
class Tints {
  constructor(paint) {
    this.paint = paint;
    this.shown = null;
  }
  /** Colors the spine by the blocks' tints. Returns the buttons that switch them, or null. */
  show(blocks) {
    const tints = blocks.flatMap((one) => one.tints);
    const first = blocks.find((one) => one.tints.length);
    if (first && !this.shown) this.shown = new Set(first.tints.map(({ label }) => label));
    const paint = () => this.paint(tints.filter(({ label }) => this.shown.has(label)));
    paint();
    if (!first) return null;
    const switchOf = ({ label, tone }) => {
      const press = () => {
        if (!this.shown.delete(label)) this.shown.add(label);
        node.setAttribute("aria-pressed", String(this.shown.has(label)));
        paint();
      };
      const pressed = String(this.shown.has(label));
      const node = button(label, press, { class: `tint ${tone}`, "aria-pressed": pressed });
      return node;
    };
    return el(
      "div",
      { class: "tints", role: "group", "aria-label": "Colors of the tokens" },
      tints.map(switchOf)
    );
  }
}

const HINT =
  "Point at a token, or move with the arrow keys. " +
  "Enter or a click keeps one; Escape lets it go.";

/** The panel's parts. The title and the buttons stay, so that the focus on them does. */
class Panel {
  constructor(run, parts, page, tint) {
    Object.assign(this, { run, parts, page, timer: 0 });
    this.tints = new Tints(tint);
    this.title = el("h2", null, "Tokens");
    this.lock = button("Lock", () => page.selection.lock(page.selection.row), { hidden: true });
    this.more = el("div", null);
    this.told = el("p", { class: "hidden", role: "status", "aria-live": "polite" });
    this.bigger = button("More", () => this.resize(), {
      class: "bigger",
      "aria-expanded": "false",
      "aria-label": "More of the token",
    });
    const body = el(
      "div",
      { class: "token-panel-body", tabindex: "0", role: "region", "aria-label": "Details" },
      el("div", { class: "token-panel-head" }, this.title, this.lock),
      this.more
    );
    const within = { class: "token-panel", "aria-label": "Token" };
    this.element = el("aside", within, body, this.bigger, this.told);
  }
  /** On a phone: more or less of the window. */
  resize() {
    const open = this.element.classList.toggle("open");
    this.bigger.setAttribute("aria-expanded", String(open));
    this.bigger.textContent = open ? "Less" : "More";
    this.bigger.setAttribute("aria-label", open ? "Less of the token" : "More of the token");
  }
  update() {
    const { row, locked } = this.page.selection;
    this.lock.hidden = row === null;
    this.lock.textContent = locked === null ? "Lock" : "Unlock";
    this.lock.setAttribute("aria-pressed", String(locked !== null));
    if (row === null) {
      this.tints.paint([]);
      this.title.textContent = "Tokens";
      this.more.replaceChildren(el("p", { class: "note" }, HINT));
      return;
    }
    const text = visible(this.run.tokens[row].text);
    this.title.textContent = text;
    const blocks = gather(this.parts, row, this.page);
    const own = this.run.sections.map((section) => [section.name, ownValues(section, row)]);
    this.more.replaceChildren(
      ...[
        aboutToken(this.run, row),
        this.tints.show(blocks),
        ...blocks.filter((one) => one.element).map((one) => block(one.title, one.element)),
        ...own.filter(([, values]) => values.length).map(([n, v]) => block(n, valueList(v))),
      ].filter(Boolean)
    );
    clearTimeout(this.timer);
    const state = locked === null ? "" : ", locked";
    this.timer = setTimeout(() => {
      this.told.textContent = `${text}, row ${row}${state}`;
    }, WAIT);
  }
}

/** Calls act in the next frame; while calls are many, act gets at most half of the time. */
function paced(act) {
  let waits = false;
  let next = 0; // ms, when act may run again
  const run = () => {
    waits = false;
    const start = performance.now();
    act();
    next = start + 2 * (performance.now() - start);
  };
  return () => {
    if (waits) return;
    waits = true;
    const left = Math.min(MOST_LATE, next - performance.now());
    if (left > 0) setTimeout(() => requestAnimationFrame(run), left);
    else requestAnimationFrame(run);
  };
}

/**
 * The panel's element. parts: [{figure, section, title, arrays}] of the run; tint: the spine's.
 */
export function panel(run, parts, page, tint) {
  const made = new Panel(run, parts, page, tint);
  page.selection.on(paced(() => made.update()));
  document.addEventListener("themechange", () => made.update());
  made.update();
  return made.element;
}
