// Controls of a figure: a list to choose from, and a row of buttons of which one is pressed.
import { el } from "./dom.js";

const MOST_BUTTONS = 5;
const MOST_TEXT = 60; // characters on a row of buttons

/** A labelled list of texts; on(index) is called when the reader chooses. */
export function pickList(label, options, index, on) {
  const list = el("select", { on: { change: () => on(list.selectedIndex) } },
    options.map((text, i) => el("option", { value: i, selected: i === index }, text)));
  return el("label", { class: "pick" }, `${label} `, list);
}

/** A row of buttons; the pressed one is options[index]. */
export function pickButtons(label, options, index, on) {
  const buttons = options.map((text, i) => el("button", {
    type: "button", "aria-pressed": String(i === index), on: { click: () => {
      buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)));
      on(i);
    } },
  }, text));
  return el("span", { class: "pick", role: "group", "aria-label": label },
    el("span", { class: "muted" }, `${label} `), buttons);
}

/**
 * A control of a choice (parts/choice.js) whose value is an index of options: buttons where they
 * are few and short, else a list. Null where there is nothing to choose.
 */
export function pickShared(label, options, choice) {
  if (options.length < 2) return null;
  const few = options.length <= MOST_BUTTONS && options.join("").length <= MOST_TEXT;
  const set = (i) => choice.set(i);
  const control = (few ? pickButtons : pickList)(label, options, choice.value, set);
  choice.on((i) => {
    if (few) control.querySelectorAll("button").forEach((button, k) =>
      button.setAttribute("aria-pressed", String(k === i)));
    else control.querySelector("select").selectedIndex = i;
  });
  return control;
}
