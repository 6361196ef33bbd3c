// Pictures of weights: one pixel per cell, or several cells per pixel where they do not fit.
// A color shows the square root of a weight's share of the largest, so that small ones are seen.
import { rgb } from "d3-color";
import { diverging } from "./colors.js";
import { el } from "./dom.js";

const STEPS = 255;

/** The color of a weight; most: the weight of the deepest color. */
export function weightColor(weight, most) {
  return diverging(Math.sign(weight) * Math.sqrt(Math.min(1, Math.abs(weight) / most)));
}

/** The colors from -most to most as [red, green, blue] each. */
function palette() {
  const colors = [];
  for (let i = -STEPS; i <= STEPS; i++) {
    const { r, g, b } = rgb(diverging(i / STEPS));
    colors.push([r, g, b]);
  }
  return colors;
}

/** Writes cells (row-major) into an image of the same size; 0 stays transparent. */
function paint(image, cells, most, colors) {
  for (let i = 0; i < cells.length; i++) {
    const weight = cells[i];
    if (weight === 0) continue;
    const depth = Math.round(STEPS * Math.sqrt(Math.min(1, Math.abs(weight) / most)));
    const color = colors[STEPS + (weight < 0 ? -depth : depth)];
    image.data[4 * i] = color[0];
    image.data[4 * i + 1] = color[1];
    image.data[4 * i + 2] = color[2];
    image.data[4 * i + 3] = 255;
  }
}

/** A matrix [rows, columns] as the address of an image that has times x times pixels per cell. */
export function matrixImage(matrix, columns, most, times) {
  const rows = matrix.length / columns;
  const small = el("canvas", { width: columns, height: rows });
  const context = small.getContext("2d");
  const image = context.createImageData(columns, rows);
  paint(image, matrix, most, palette());
  context.putImageData(image, 0, 0);
  if (times <= 1) return small.toDataURL();
  const large = el("canvas", { width: columns * times, height: rows * times });
  const scaled = large.getContext("2d");
  scaled.imageSmoothingEnabled = false;
  scaled.drawImage(small, 0, 0, large.width, large.height);
  return large.toDataURL();
}

/** The largest weights of a head's rows x keys on side x side pixels. */
function thumbnail(pattern, head, sequence, first, side) {
  const cells = new Float32Array(side * side);
  const { rows, keys } = sequence;
  const from = (i, n) => Math.floor((i * side) / n);
  const to = (i, n) => Math.max(from(i, n) + 1, Math.floor(((i + 1) * side) / n));
  rows.forEach((i, r) => {
    const [top, bottom] = [from(r, rows.length), to(r, rows.length)];
    pattern.each(head, i, first, (k, weight) => {
      if (k >= keys) return;
      const right = to(k, keys);
      for (let x = from(k, keys); x < right; x++)
        for (let y = top; y < bottom; y++)
          if (Math.abs(weight) > Math.abs(cells[y * side + x])) cells[y * side + x] = weight;
    });
  });
  return cells;
}

/**
 * All heads of a pattern as one image, layers down, heads across: pictures of side pixels with
 * gap pixels between them. Returns its address.
 */
export function gridImage(pattern, sequence, first, side, gap) {
  const step = side + gap;
  const canvas = el("canvas", { width: pattern.across * step, height: pattern.down * step });
  const context = canvas.getContext("2d");
  const colors = palette();
  for (const head of pattern.heads) {
    const image = context.createImageData(side, side);
    paint(image, thumbnail(pattern, head, sequence, first, side), pattern.most, colors);
    context.putImageData(image, head.across * step, head.down * step);
  }
  return canvas.toDataURL();
}
