// How wide a text is in a figure, and the part of a text that fits.

const FONT = "12px system-ui, sans-serif";
let context = null;

/** The width in pixels of a text of 12 px, or of size px. */
export function textWidth(text, size = 12) {
  if (!context) {
    context = document.createElement("canvas").getContext("2d");
    context.font = FONT;
  }
  return (context.measureText(text).width * size) / 12;
}

/** The widest of some texts, in pixels, at most most. */
export function widest(texts, most, size = 12) {
  let width = 0;
  for (const text of texts) {
    if (width >= most) return most;
    width = Math.max(width, textWidth(text, size));
  }
  return Math.min(most, width);
}

/** The text, or its beginning and "…" where it is wider than width pixels. */
export function fit(text, width, size = 12) {
  if (textWidth(text, size) <= width) return text;
  const characters = [...text];
  let low = 0;
  let high = characters.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(`${characters.slice(0, middle).join("")}…`, size) <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${characters.slice(0, low).join("")}…` : "";
}
