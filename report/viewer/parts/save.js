// Saves a figure as an SVG or PNG file.
import { vectorOf } from "./vector.js";

const SCALE = 2; // pixels of a PNG per pixel of the page
const MOST_PIXELS = 120e6; // browsers refuse larger canvases
const MOST_SIDE = 16000;

/** Lets the reader save a blob. */
function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Saves an area as an SVG file. given: name (of the file, without its ending), title, svg. */
export function saveVector(area, given) {
  const { text } = vectorOf(area, given);
  const head = '<?xml version="1.0" encoding="UTF-8"?>\n';
  download(new Blob([head, text], { type: "image/svg+xml" }), `${given.name}.svg`);
}

function loaded(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("the browser could not read its own drawing"));
    image.src = source;
  });
}

/** Saves an area as a PNG file with two pixels per pixel of the page. given: as for saveVector. */
export async function saveImage(area, given) {
  const { text, width, height } = vectorOf(area, given);
  const image = await loaded(`data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`);
  const scale = Math.min(
    SCALE,
    MOST_SIDE / Math.max(width, height),
    Math.sqrt(MOST_PIXELS / (width * height))
  );
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("the figure is too large for a PNG; save it as SVG");
  download(blob, `${given.name}.png`);
}
