// LayerNorm denominators: what a frozen LayerNorm misses, and who makes up the denominator.
import { chooseAny, choiceOf } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { rowList } from "../parts/row_frame.js";
import { indexOfRow } from "../parts/rows.js";
import { short } from "../parts/scales.js";
import { lastWithTarget, targetAt, targetTexts } from "../parts/targets.js";
import { denominatorKeys, effectLevels, effectsOf } from "./denominators_data.js";
import { effectFigures } from "./denominators_effects.js";
import { siteParts } from "./denominators_sites.js";

const PANEL = 4;

function draw(place, section, page) {
  const target = choiceOf(page, section, "target", 0);
  const [level] = effectLevels(section);
  if (level) {
    const axis = section.axis(level.rows);
    place.append(el("div", { class: "controls" }, [
      chooseAny(target, "target", targetTexts(section)),
      rowList(section.run, page, axis, lastWithTarget(section, 0, axis.n)),
    ].filter(Boolean)));
  }
  effectFigures(place, section, page, target);
  siteParts(place, section, page);
}

/** The token's panel: the components that a frozen LayerNorm gets most wrong. */
function panel(section, row) {
  const [level] = effectLevels(section);
  if (!level) return null;
  const i = indexOfRow(section.axis(level.rows), row);
  if (i < 0) return null;
  const entries = effectsOf(section, level, 0, i)
    .sort((a, b) => (Math.abs(b.error) || 0) - (Math.abs(a.error) || 0)).slice(0, PANEL);
  if (!entries.length) return null;
  const head = ["without", "frozen", "recomputed"];
  return el("div", null, el("p", null, `Logit of ${targetAt(section, 0, i)}`),
    el("table", { class: "panel" },
      el("thead", null, el("tr", null, head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", null, entries.map((entry) => el("tr", null,
        el("th", { scope: "row" }, entry.label), el("td", null, short(entry.frozen)),
        el("td", null, short(entry.recomputed)))))));
}

export const denominatorsFigure = {
  name: "denominators",
  match(section) {
    const keys = denominatorKeys(section);
    const known = effectLevels(section).length || keys.includes("coupling") ||
      (keys.includes("scale") && keys.includes("norm"));
    if (!known) return null;
    for (const key of ["numerator", "target_ids"])
      if (section.array(key) && section.array(key).axes.includes("target_rows")) keys.push(key);
    return { arrays: keys, title: "LayerNorm denominators" };
  },
  draw,
  detail: panel,
};
