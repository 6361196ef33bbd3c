// A figure as one SVG, whatever it is made of: SVG is copied with the styles that it has on the
// page, a canvas becomes an image, and of HTML the boxes and the lines of text are drawn.
import { SVG } from "./dom.js";

const MARGIN = 12; // pixels
const LINE = 18; // of title and caption
const INHERITED = {
  fill: "rgb(0, 0, 0)",
  "fill-opacity": "1",
  "fill-rule": "nonzero",
  stroke: "none",
  "stroke-opacity": "1",
  "stroke-width": "1px",
  "stroke-dasharray": "none",
  "stroke-linecap": "butt",
  "stroke-linejoin": "miter",
  "font-family": "",
  "font-size": "",
  "font-weight": "400",
  "font-style": "normal",
  "text-anchor": "start",
  "dominant-baseline": "auto",
  "letter-spacing": "normal",
  visibility: "visible",
  "paint-order": "normal",
  "writing-mode": "horizontal-tb",
};
const OWN = {
  opacity: "1",
  "clip-path": "none",
  mask: "none",
  "marker-start": "none",
  "marker-mid": "none",
  "marker-end": "none",
  "stop-color": "rgb(0, 0, 0)",
  "stop-opacity": "1",
  "vector-effect": "none",
  "image-rendering": "auto",
};
const LEFT_OUT = /^(class|style|tabindex|role|cursor|aria-.*|data-.*|on.*)$/;
const CONTROLS = new Set(["INPUT", "SELECT", "TEXTAREA", "SCRIPT", "STYLE", "OPTION"]);

/** A text without the characters that XML forbids. */
function legal(text) {
  // eslint-disable-next-line no-control-regex
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(^|[^\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** What is being drawn: a document for it, the page's place of its origin, and the edges so far. */
class Sheet {
  constructor(area) {
    const box = area.getBoundingClientRect();
    this.document = document.implementation.createDocument(SVG, "svg", null);
    this.root = this.document.documentElement;
    this.left = box.left;
    this.top = box.top;
    this.width = box.width;
    this.height = box.height;
    this.clips = 0;
    this.measure = document.createElement("canvas").getContext("2d");
    this.ascents = new Map();
  }
  add(parent, tag, attributes) {
    const node = this.document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return parent.appendChild(node);
  }
  /** A rectangle of the page in the sheet's coordinates; the sheet grows to hold it. */
  place(rect) {
    const x = rect.left - this.left;
    const y = rect.top - this.top;
    this.width = Math.max(this.width, x + rect.width);
    this.height = Math.max(this.height, y + rect.height);
    return { x: round(x), y: round(y), width: round(rect.width), height: round(rect.height) };
  }
  /** Pixels from the top of a line's box to its baseline. */
  ascent(font) {
    if (!this.ascents.has(font)) {
      this.measure.font = font;
      this.ascents.set(font, this.measure.measureText("x").fontBoundingBoxAscent || 12);
    }
    return this.ascents.get(font);
  }
}

function round(x) {
  return Math.round(x * 100) / 100;
}

function isClear(color) {
  return color === "transparent" || /,\s*0\)$/.test(color);
}

/** Writes the styles of an SVG element as attributes; parent: those that it would inherit. */
function copyStyles(node, style, parent) {
  const passed = {};
  for (const key of Object.keys(INHERITED)) {
    passed[key] = style.getPropertyValue(key);
    if (passed[key] && passed[key] !== parent[key]) node.setAttribute(key, passed[key]);
  }
  for (const [key, usual] of Object.entries(OWN)) {
    const value = style.getPropertyValue(key);
    if (value && value !== usual)
      node.setAttribute(key, value.replace(/url\("#/g, "url(#").replace(/"\)/g, ")"));
  }
  return passed;
}

/** Copies an SVG element and all that it holds into parent. */
function copyVector(sheet, parent, source, inherited) {
  const style = getComputedStyle(source);
  if (style.display === "none") return null;
  const node = sheet.add(parent, source.localName, {});
  for (const { name, value } of source.attributes)
    if (
      !LEFT_OUT.test(name) &&
      !name.includes(":") &&
      !(name === "href" && !/^(#|data:image)/.test(value))
    )
      node.setAttribute(name, legal(value));
  const passed = copyStyles(node, style, inherited);
  if (!source.hasAttribute("transform") && style.transform !== "none" && source.localName !== "svg")
    node.setAttribute("transform", style.transform);
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE)
      node.append(sheet.document.createTextNode(legal(child.data)));
    else if (child.namespaceURI === SVG) copyVector(sheet, node, child, passed);
  }
  return node;
}

function placeVector(sheet, parent, source) {
  const copy = copyVector(sheet, parent, source, INHERITED);
  if (!copy) return;
  const box = sheet.place(source.getBoundingClientRect());
  for (const [key, value] of Object.entries(box)) copy.setAttribute(key, value);
  if (getComputedStyle(source).overflow === "visible") copy.setAttribute("overflow", "visible");
}

/** The background and the border of an HTML element. */
function drawBoxes(sheet, parent, source, style) {
  const fill = isClear(style.backgroundColor) ? "none" : style.backgroundColor;
  const sides = ["Top", "Right", "Bottom", "Left"].map((side) =>
    style[`border${side}Style`] === "none" ? 0 : parseFloat(style[`border${side}Width`]) || 0
  );
  if (fill === "none" && !sides.some(Boolean)) return;
  const even = sides.every((side) => side === sides[0]);
  const rx = parseFloat(style.borderTopLeftRadius) || 0;
  for (const rect of source.getClientRects()) {
    const box = sheet.place(rect);
    sheet.add(parent, "rect", {
      ...box,
      rx,
      fill,
      stroke: even && sides[0] ? style.borderTopColor : "none",
      "stroke-width": even ? sides[0] : 0,
    });
    if (even) continue;
    const right = box.x + box.width;
    const bottom = box.y + box.height;
    const ends = [
      [box.x, box.y, right, box.y],
      [right, box.y, right, bottom],
      [box.x, bottom, right, bottom],
      [box.x, box.y, box.x, bottom],
    ];
    ["Top", "Right", "Bottom", "Left"].forEach((side, i) => {
      const [x1, y1, x2, y2] = ends[i];
      const stroke = style[`border${side}Color`];
      if (sides[i] && !isClear(stroke))
        sheet.add(parent, "line", { x1, y1, x2, y2, stroke, "stroke-width": sides[i] });
    });
  }
}

/** The lines of a text node: [{text, rect}]. */
function linesOf(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const rects = range.getClientRects();
  if (rects.length === 0) return [];
  if (rects.length === 1) return [{ text: node.data, rect: rects[0] }];
  const lines = [];
  for (let i = 0; i < node.length; i++) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const rect = range.getClientRects()[0];
    if (!rect) continue;
    const line = lines[lines.length - 1];
    if (line && Math.abs(line.rect.top - rect.top) < rect.height / 2) line.text += node.data[i];
    else lines.push({ text: node.data[i], rect });
  }
  return lines;
}

function drawText(sheet, parent, node, style) {
  if (!node.data.trim()) return;
  const keeps = style.whiteSpace.startsWith("pre") || style.whiteSpace.startsWith("break");
  const font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  for (const { text, rect } of linesOf(node)) {
    const shown = keeps ? text : text.replace(/\s+/g, " ").replace(/^ | $/g, "");
    const box = sheet.place(rect);
    const written = sheet.add(parent, "text", {
      x: box.x,
      y: round(box.y + sheet.ascent(font)),
      fill: style.color,
      "font-family": style.fontFamily,
      "font-size": style.fontSize,
      "font-weight": style.fontWeight,
      "font-style": style.fontStyle,
      "xml:space": "preserve",
    });
    written.textContent = legal(style.textTransform === "uppercase" ? shown.toUpperCase() : shown);
  }
}

function clipTo(sheet, parent, source) {
  const id = `cut-${sheet.clips++}`;
  const clip = sheet.add(parent, "clipPath", { id });
  sheet.add(clip, "rect", sheet.place(source.getBoundingClientRect()));
  return sheet.add(parent, "g", { "clip-path": `url(#${id})` });
}

function drawElement(sheet, parent, source) {
  if (CONTROLS.has(source.tagName)) return;
  const style = getComputedStyle(source);
  if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0") return;
  if (source.localName === "svg") {
    placeVector(sheet, parent, source);
    return;
  }
  const into = style.opacity === "1" ? parent : sheet.add(parent, "g", { opacity: style.opacity });
  drawBoxes(sheet, into, source, style);
  if (source.localName === "canvas") {
    if (source.width && source.height)
      sheet.add(into, "image", {
        ...sheet.place(source.getBoundingClientRect()),
        href: source.toDataURL(),
      });
    return;
  }
  const inside = style.overflowX === "hidden" ? clipTo(sheet, into, source) : into;
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) drawText(sheet, inside, child, style);
    else if (child.nodeType === Node.ELEMENT_NODE) drawElement(sheet, inside, child);
  }
}

/** Lets scrollable parts show all they hold. Returns a function that takes it back. */
function unroll(area) {
  const changed = [...area.querySelectorAll("*")].filter(
    (node) => !(node instanceof SVGElement) && /auto|scroll/.test(getComputedStyle(node).overflow)
  );
  const before = changed.map((node) => [
    node.style.overflow,
    node.style.maxHeight,
    node.scrollLeft,
    node.scrollTop,
  ]);
  // What follows the scrolling moves at once.
  const tell = (node) => node.dispatchEvent(new Event("scroll"));
  for (const node of changed) {
    Object.assign(node.style, { overflow: "visible", maxHeight: "none" });
    tell(node);
  }
  return () =>
    changed.forEach((node, i) => {
      const [overflow, maxHeight, left, top] = before[i];
      Object.assign(node.style, { overflow, maxHeight });
      node.scrollTo({ left, top, behavior: "instant" });
      tell(node);
    });
}

/** Splits a text into lines of at most width pixels. */
function wrapped(measure, text, width) {
  const lines = [];
  for (const word of text.split(/\s+/)) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && measure.measureText(longer).width <= width)
      lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Puts what a sheet holds under its title, on paper. */
function finish(sheet, body, title) {
  const style = getComputedStyle(document.body);
  const family = style.fontFamily;
  sheet.measure.font = `600 14px ${family}`;
  const lines = wrapped(sheet.measure, legal(title), Math.max(200, sheet.width));
  const top = MARGIN + lines.length * LINE + 6;
  const width = Math.ceil(sheet.width + 2 * MARGIN);
  const height = Math.ceil(sheet.height + top + MARGIN);
  const { root } = sheet;
  for (const [key, value] of Object.entries({
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    "font-family": family,
    "font-size": "12px",
  }))
    root.setAttribute(key, value);
  sheet.add(root, "title", {}).textContent = legal(title);
  sheet.add(root, "rect", {
    width,
    height,
    fill: getComputedStyle(document.documentElement).backgroundColor,
  });
  lines.forEach((line, i) => {
    sheet.add(root, "text", {
      x: MARGIN,
      y: MARGIN + 12 + i * LINE,
      "font-size": "14px",
      "font-weight": "600",
      fill: style.color,
    }).textContent = line;
  });
  body.setAttribute("transform", `translate(${MARGIN},${top})`);
  root.append(body);
  return { text: new XMLSerializer().serializeToString(root), width, height };
}

/**
 * The drawing in an area as SVG: {text, width, height in pixels}. given: title, and optionally
 * svg(),
 * which gives an SVG element to be used instead of what the area shows.
 */
export function vectorOf(area, given) {
  const sheet = new Sheet(area);
  const body = sheet.add(sheet.root, "g", {});
  const own = given.svg && given.svg();
  const takeBack = own ? () => own.remove() : unroll(area);
  try {
    if (own) {
      area.append(own);
      sheet.width = sheet.height = 0;
      const box = own.getBoundingClientRect();
      Object.assign(sheet, { left: box.left, top: box.top });
      placeVector(sheet, body, own);
    } else {
      for (const child of area.childNodes)
        if (child.nodeType === Node.ELEMENT_NODE) drawElement(sheet, body, child);
    }
  } finally {
    takeBack();
  }
  return finish(sheet, body, given.title);
}
