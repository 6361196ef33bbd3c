// What the marks of a network mean: kinds of nodes, their shapes and colors, and the key above it.
import { category, signed } from "./colors.js";

export const LETTER = 6.3; // pixels of a letter of a name
const LINE = 16; // pixels of a line of the key

/**
 * Kinds of nodes: a shape, the place of its color among the colors of categories (not the blue and
 * the orange of links), and a name.
 */
export const KINDS = {
  __proto__: null, // a plugin's kind may be called "constructor"
  embed: ["triangle", 7, "embedding"],
  head: ["circle", 2, "head"],
  attn_bias: ["cross", 7, "attention bias"],
  mlp: ["square", 3, "MLP"],
  neuron: ["diamond", 3, "neuron"],
  mlp_bias: ["plus", 7, "MLP bias"],
  logit: ["star", 7, "logit"],
  residual: ["dot", 7, "residual"],
  node: ["circle", 2, "node"],
};

/** A kind's name for readers. */
export function kindName(kind) {
  return KINDS[kind] ? KINDS[kind][2] : kind;
}

/**
 * The key of a network in lines of `width` pixels from `left` on:
 * {items: [{look, kind, name, x, y}], height}.
 */
export function keyOf(network, left, width) {
  const kinds = Object.keys(KINDS).filter((kind) =>
    network.nodes.some((node) => node.kind === kind)
  );
  const items = kinds.map((kind) => ({ look: "kind", kind, name: kindName(kind) }));
  if (network.nodes.some((node) => node.size < 0))
    items.push({ look: "hollow", name: "hollow: below 0" });
  items.push({ look: "positive", name: "positive" }, { look: "negative", name: "negative" });
  let x = left + 6;
  let y = 11;
  for (const item of items) {
    const wide = 26 + LETTER * item.name.length;
    if (x > left + 6 && x + wide > width) {
      x = left + 6;
      y += LINE;
    }
    Object.assign(item, { x, y });
    x += wide;
  }
  return { items, height: y + 11 };
}

/** The colors of the present theme, kind(name) among them. */
export function colorsNow() {
  const style = getComputedStyle(document.documentElement);
  const named = {};
  for (const name of ["ink", "paper", "raised", "muted", "accent"])
    named[name] = style.getPropertyValue(`--${name}`).trim();
  const kind = (name) => (name === "logit" ? named.ink : category((KINDS[name] || KINDS.node)[1]));
  return { ...named, positive: signed(1), negative: signed(-1), kind };
}
