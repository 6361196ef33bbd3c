// Elements without markup: every text becomes a text node, so no data can become markup.
import * as selection from "d3-selection";

export const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(
  (
    "svg g path rect circle ellipse line polyline polygon text tspan title desc defs " +
    "clipPath marker pattern mask image use linearGradient radialGradient stop"
  ).split(" ")
);

/**
 * A new element. attributes: "on" is an object of listeners, "style" an object of CSS properties,
 * any other key an attribute (null and false: left out). children: elements, texts, null.
 * The names of SVG's elements make SVG elements ("title" is a tooltip).
 */
export function el(tag, attributes, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "on") {
      for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    } else if (key === "style") {
      for (const [name, css] of Object.entries(value)) node.style.setProperty(name, css);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

/** A button. attributes as in el(); a click calls press(event). */
export function button(text, press, attributes) {
  return el("button", { type: "button", ...attributes, on: { click: press } }, text);
}

/**
 * A labelled <select>. options: [[value, text]]; change(value as text) is called when the reader
 * chooses. Returns the label element; its .value is the chosen value.
 */
export function chooser(label, options, value, change) {
  const select = el(
    "select",
    { on: { change: () => change(select.value) } },
    options.map(([key, text]) =>
      el("option", { value: key, selected: String(key) === String(value) }, text)
    )
  );
  const whole = el("label", { class: "chooser" }, el("span", null, label), select);
  Object.defineProperty(whole, "value", {
    get: () => select.value,
    set: (chosen) => {
      select.value = chosen;
    },
  });
  return whole;
}

/** The event of a d3 listener: its first argument from D3 6 on, before that d3-selection's. */
export function eventOf(first) {
  return first && first.type && first.sourceEvent !== undefined ? first : selection["event"];
}

/** A text as a part of ids and file names: "KL (nats)" -> "kl-nats". */
export function slug(text) {
  return (
    String(text)
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 60) || "x"
  );
}

let ids = 0;
/** An id that no other element of the page has. */
export function freshId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
