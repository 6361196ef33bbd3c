// Numbers as texts.

/** A number with 6 significant digits; "-" where it is unset. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

/** The same with 3 digits, for labels in a figure. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

/** A token's text with its spaces and control characters made visible. */
export function visible(text) {
  return text
    .replace(/ /g, "\u00b7")
    .replace(/\n/g, "\u21b5")
    .replace(/\t/g, "\u21e5")
    .replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) =>
      `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** A text as it reads: its spaces stay, control characters are made visible. */
export function readable(text) {
  return text.split(" ").map(visible).join(" ");
}
