// Controls bound to a choice that several panes share.
import { pickButtons, pickList } from "./pick.js";
import { choice } from "./choice.js";

/** The choice of a section's figure: the panes of two runs share it. */
export function choiceOf(page, section, name, first) {
  return choice(page, `${section.name}.${name}`, first);
}

/** A list to choose an index from. */
export function chooseList(chosen, label, options) {
  const element = pickList(label, options, chosen.value, (i) => chosen.set(i));
  chosen.on((i) => {
    element.querySelector("select").selectedIndex = i;
  });
  return element;
}

/** Buttons to choose an index from, or a list where there are more than most. */
export function choose(chosen, label, options, most = 4) {
  if (options.length > most) return chooseList(chosen, label, options);
  const element = pickButtons(label, options, chosen.value, (i) => chosen.set(i));
  chosen.on((i) =>
    element
      .querySelectorAll("button")
      .forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)))
  );
  return element;
}

/** The same; null where there is only one option. */
export function chooseAny(chosen, label, options, most = 5) {
  return options.length > 1 ? choose(chosen, label, options, most) : null;
}

/** Draws a frame of the page again when one of the choices changes. Returns the frame. */
export function redrawOn(frame, choices) {
  for (const chosen of choices) chosen.on(() => frame.isConnected && frame.redraw());
  return frame;
}
