// Names and numbers for the token's panel.
import { el } from "./dom.js";
import { short } from "./scales.js";

/** A list of pairs [name, number or text]; null where there are none. */
export function facts(pairs) {
  if (!pairs.length) return null;
  const text = (value) => (typeof value === "number" ? short(value) : value);
  return el(
    "dl",
    { class: "values" },
    pairs.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, text(value))))
  );
}
