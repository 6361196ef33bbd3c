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

/**
 * rows x keys weights on width x height pixels: fill calls put(row, key, weight). A pixel of
 * several weights has the largest.
 */
function pooled(rows, keys, width, height, fill) {
  const cells = new Float32Array(width * height);
  const from = (i, n, pixels) => Math.floor((i * pixels) / n);
  const to = (i, n, pixels) => Math.max(from(i, n, pixels) + 1, from(i + 1, n, pixels));
  fill((r, k, weight) => {
    const bottom = to(r, rows, height);
    const right = to(k, keys, width);
    for (let y = from(r, rows, height); y < bottom; y++)
      for (let x = from(k, keys, width); x < right; x++)
        if (Math.abs(weight) > Math.abs(cells[y * width + x])) cells[y * width + x] = weight;
  });
  return cells;
}

function addressOf(cells, width, height, most) {
  const canvas = el("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  paint(image, cells, most, palette());
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** A matrix [rows, keys] as the address of an image of about width x height pixels. */
export function matrixImage(matrix, keys, most, width, height) {
  const rows = matrix.length / keys;
  const [w, h] = [width, height].map((size) => Math.max(1, Math.round(size)));
  const cells = pooled(rows, keys, w, h, (put) => {
    for (let i = 0; i < matrix.length; i++)
      if (matrix[i] !== 0) put(Math.floor(i / keys), i % keys, matrix[i]);
  });
  return addressOf(cells, w, h, most);
}

/**
 * All heads of a pattern as one image, layers down, heads across: pictures of side pixels with
 * gap pixels between them. Returns its address.
 */
export function gridImage(pattern, sequence, first, side, gap) {
  const step = side + gap;
  const { rows, keys } = sequence;
  const canvas = el("canvas", { width: pattern.across * step, height: pattern.down * step });
  const context = canvas.getContext("2d");
  const colors = palette();
  for (const head of pattern.heads) {
    const image = context.createImageData(side, side);
    const cells = pooled(rows.length, keys, side, side, (put) =>
      rows.forEach((i, r) =>
        pattern.each(head, i, first, (k, weight) => k < keys && put(r, k, weight))
      )
    );
    paint(image, cells, pattern.most, colors);
    context.putImageData(image, head.across * step, head.down * step);
  }
  return canvas.toDataURL();
}
