// Light, dark or the system's theme: a button goes through the three. The choice is remembered
// where the browser lets a page store something.
import { theme } from "./colors.js";
import { button } from "./dom.js";

const CHOICES = ["system", "light", "dark"];
const KEY = "pythiascope-theme";

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(choice) {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // The page works without a memory.
  }
}

/** Puts a choice into effect; every figure is drawn again if the theme changes. */
function apply(choice) {
  const before = theme();
  if (choice === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  if (theme() !== before) document.dispatchEvent(new Event("themechange"));
}

/** On paper the page is light and whole: what was not drawn yet is, and what was folded is not. */
function watchPrinting() {
  let before = null;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme || "system";
    document.documentElement.dataset.printing = "yes";
    apply("light");
    document.querySelectorAll("main details").forEach((node) => {
      node.open = true;
    });
    document.dispatchEvent(new Event("drawall"));
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.printing;
    apply(before);
    document.dispatchEvent(new Event("afterprinting"));
  });
}

/** The button. */
export function themeButton() {
  let choice = CHOICES.includes(remembered()) ? remembered() : "system";
  const label = () => `Theme: ${choice}`;
  const node = button(
    label(),
    () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      node.textContent = label();
      remember(choice);
      apply(choice);
    },
    { class: "theme" }
  );
  apply(choice);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (choice === "system") document.dispatchEvent(new Event("themechange"));
  });
  watchPrinting();
  return node;
}
