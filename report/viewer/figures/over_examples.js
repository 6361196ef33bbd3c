// A figure of one run for results over a set of pairs: a list chooses the means of all pairs, those
// of a group, or one pair.
import { chooseList, choiceOf } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { choicesOf, isOverExamples, keysOfView, viewOf } from "../parts/examples.js";

/** The figure for a section over examples; null where it draws none of its arrays. */
export function overExamples(figure, section) {
  if (!figure.examples || !isOverExamples(section)) return null;
  const match = figure.match(viewOf(section, choicesOf(section)[0]));
  if (!match) return null;
  const draw = (place, whole, page) => {
    const choices = choicesOf(whole);
    const chosen = choiceOf(page, whole, `${figure.name} examples`, 0);
    const area = el("div", null);
    const update = () => {
      const view = viewOf(whole, choices[chosen.value] || choices[0]);
      const has = match.arrays.filter((key) => view.has(key));
      area.replaceChildren();
      if (figure.match(view)) figure.draw(area, view, page, has);
      else area.append(el("p", { class: "note" }, "The page has no numbers of this pair."));
    };
    const list = chooseList(chosen, "Shown", choices.map((one) => one.name));
    place.append(el("div", { class: "controls" }, list), area);
    chosen.on(update);
    update();
  };
  return {
    figure: { name: figure.name, draw },
    match: { title: match.title, arrays: keysOfView(section, match.arrays) },
  };
}
