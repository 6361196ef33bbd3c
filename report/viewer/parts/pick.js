// Controls of a figure: a list to choose from, and a row of buttons of which one is pressed.
import { el } from "./dom.js";

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
