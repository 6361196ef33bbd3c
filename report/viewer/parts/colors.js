// Colors that color-blind people can tell apart, for both themes. Scales change in lightness, so
// that they survive a gray print, and run between blue and yellow or blue and orange only.
import { interpolateRgb, interpolateRgbBasis } from "d3-interpolate";
import { rgb } from "d3-color";

const POSITIVE = { light: "#1f5fbf", dark: "#6aa5ff" };
const NEGATIVE = { light: "#b85200", dark: "#ff9d3f" };
const MIDDLE = { light: "#ffffff", dark: "#15181d" };
// Cividis with its ends moved towards the paper: small values are calm in either theme.
const RAMP = {
  light: interpolateRgbBasis(["#fcf9e8", "#eae3b4", "#b9b58f", "#7a828a", "#3d5482", "#0a2452"]),
  dark: interpolateRgbBasis(["#181d2b", "#26365c", "#4f5f7c", "#8d8b78", "#d3c36f", "#fff3ae"]),
};
const CATEGORIES = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#f0e442",
  "#777777",
];

/** "light" or "dark": the page's attribute if the reader chose, else the system's. */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** A color for t in 0 to 1: from the paper's side to the strongest. */
export function sequential(t) {
  return RAMP[theme()](Math.min(1, Math.max(0, t || 0)));
}

/** A color for t in -1 to 1: orange, the paper, blue. */
export function diverging(t) {
  const end = (t < 0 ? NEGATIVE : POSITIVE)[theme()];
  return interpolateRgb(MIDDLE[theme()], end)(Math.min(1, Math.abs(t || 0)));
}

/** The color of a sign. */
export function signed(value) {
  return (value < 0 ? NEGATIVE : POSITIVE)[theme()];
}

/** The color of a category. */
export function category(i) {
  return CATEGORIES[i % CATEGORIES.length];
}

/** The relative luminance of a color, 0 to 1 (WCAG 2). */
function luminance(color) {
  const { r, g, b } = rgb(color);
  const part = (c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

/** Black or white, whichever has more contrast on a fill. */
export function ink(fill) {
  return luminance(fill) > 0.179 ? "#000000" : "#ffffff";
}
