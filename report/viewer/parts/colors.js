// Colors that color-blind people can tell apart, for both themes.
import { interpolateCividis } from "d3-scale-chromatic";
import { interpolateRgb } from "d3-interpolate";
import { rgb } from "d3-color";

const POSITIVE = { light: "#1f5fbf", dark: "#6aa5ff" };
const NEGATIVE = { light: "#c25a00", dark: "#ff9d3f" };
const MIDDLE = { light: "#ffffff", dark: "#15181d" };
const CATEGORIES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#777777"];

/** "light" or "dark": the page's attribute if the reader chose, else the system's. */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** A color for t in 0 to 1. */
export function sequential(t) {
  const clamped = Math.min(1, Math.max(0, t || 0));
  return theme() === "dark" ? interpolateCividis(clamped) : interpolateCividis(1 - clamped);
}

/** A color for t in -1 to 1: orange, neutral, blue. */
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

/** Black or white, whichever reads better on a fill. */
export function ink(fill) {
  const { r, g, b } = rgb(fill);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000000" : "#ffffff";
}
