// Elements without markup: every text becomes a text node, so no data can become markup.
import * as selection from "d3-selection";

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "title", "tspan"]);

/**
 * A new element. attributes: "on" is an object of listeners, "style" an object of CSS properties,
 * any other key an attribute (null and false: left out). children: elements, texts, null.
 */
export function el(tag, attributes, ...children) {
  const svg = SVG_TAGS.has(tag) && tag !== "title";
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (key === "style") for (const [name, css] of Object.entries(value)) node.style.setProperty(name, css);
    else if (value !== null && value !== undefined && value !== false)
      node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** The event of a d3 listener: its first argument from D3 6 on, before that d3-selection's. */
export function eventOf(first) {
  return first && first.type && first.sourceEvent !== undefined ? first : selection["event"];
}
