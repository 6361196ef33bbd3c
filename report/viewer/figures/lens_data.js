// What a lens left, as quantities that a grid, curves and a token's panel can show.
import { number, short, visible } from "../parts/scales.js";
import { targetTexts } from "../parts/targets.js";

const GRID = ["layers", "rows"];
const TARGETS = ["targets", "layers", "rows"];
const TOP = ["layers", "rows", "top"];

const PER_ROW = {
  entropy: "entropy (nats)",
  kl: "KL(final ‖ layer) (nats)",
  kl_reverse: "KL(layer ‖ final) (nats)",
  log_z: "log Z",
  sigma: "sigma, the divisor",
};
const PER_TARGET = { log_prob: "log p", rank: "rank", logit: "logit" };

/** The keys of a section's lens arrays. */
export function lensKeys(section) {
  const keys = [];
  if (section.has("top_ids", TOP)) keys.push("top_ids");
  if (section.has("top_probs", TOP)) keys.push("top_probs");
  for (const key of Object.keys(PER_ROW)) if (section.has(key, GRID)) keys.push(key);
  for (const key of Object.keys(PER_TARGET)) if (section.has(key, TARGETS)) keys.push(key);
  return keys;
}

/**
 * The quantities that can color a grid: [{key, name, target (index or -1), log, fromZero,
 * at(layer, row index) -> number}].
 */
export function lensQuantities(section) {
  const found = [];
  if (section.has("top_probs", TOP)) {
    const probs = section.array("top_probs");
    found.push({ key: "top_probs", name: "probability of the top token", target: -1,
      at: (l, i) => probs.at(l, i, 0) });
  }
  for (const [key, name] of Object.entries(PER_ROW)) {
    if (!section.has(key, GRID)) continue;
    const array = section.array(key);
    found.push({ key, name, target: -1, at: (l, i) => array.at(l, i) });
  }
  const targets = section.axis("targets") ? targetTexts(section) : [];
  for (const [key, name] of Object.entries(PER_TARGET)) {
    if (!section.has(key, TARGETS)) continue;
    const array = section.array(key);
    const unset = (value) => key === "rank" && (section.isDifference || value < 1);
    for (let t = 0; t < targets.length; t++)
      found.push({ key, target: t, log: key === "rank" && !section.isDifference,
        name: `${name} of ${targets[t]}`,
        at: (l, i) => (unset(array.at(t, l, i)) ? NaN : array.at(t, l, i)) });
  }
  return found;
}

/** The top tokens of a layer and row index: [{id, text, probability}]. */
export function topTokens(section, l, i) {
  if (!section.has("top_ids", TOP)) return [];
  const ids = section.array("top_ids");
  // Equal places of two runs' lists are other tokens: their probabilities have no difference.
  const known = section.has("top_probs", TOP) && !section.isDifference;
  const probs = known ? section.array("top_probs") : null;
  const found = [];
  for (let k = 0; k < ids.shape[2]; k++) {
    const id = ids.at(l, i, k);
    if (id >= 0)
      found.push({ id, text: visible(section.run.tokenText(id)),
        probability: probs ? probs.at(l, i, k) : NaN });
  }
  return found;
}

/** The lines of the tooltip of a cell: place, top tokens, every quantity. */
export function lensLines(section, quantities, head, l, i) {
  const tokens = topTokens(section, l, i).slice(0, 10);
  const lines = [head, ...tokens.map((token) => Number.isNaN(token.probability)
    ? token.text : `${token.text}  ${short(token.probability)}`)];
  for (const quantity of quantities)
    if (quantity.key !== "top_probs")
      lines.push(`${quantity.name}: ${short(quantity.at(l, i))}`);
  return lines;
}

/** The numbers of all cells: a line per layer and row. */
export function lensTable(section, quantities) {
  const rows = section.axis("rows");
  const layers = section.axis("layers");
  const withTop = section.has("top_ids", TOP);
  const lines = [];
  for (let i = rows.n - 1; i >= 0; i--)
    for (let l = layers.n - 1; l >= 0; l--) {
      const token = section.run.tokens[rows.number(i)];
      const top = topTokens(section, l, i);
      lines.push([rows.label(i), token ? visible(token.text) : "", layers.label(l),
        ...(withTop ? [top.length ? top[0].text : "-"] : []),
        ...quantities.map((quantity) => number(quantity.at(l, i)))]);
    }
  return { head: ["row", "token", "layer", ...(withTop ? ["top token"] : []),
    ...quantities.map((quantity) => quantity.name)], rows: lines };
}
