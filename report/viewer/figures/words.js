// Are words of several tokens units? Brackets and closure by level, and the pairs that say so most.
// Matches brackets [levels, kinds] with random_tree [kinds], and auroc [levels].
import { frame } from "../parts/frame.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { number, short } from "../parts/scales.js";
import { el } from "../parts/dom.js";

const LISTS = {
  read_on: "Pieces of words that later rows go on reading",
  not_read: "Ends of words that later rows hardly read",
};

function byLevel(section, key, k) {
  const array = section.array(key);
  return labelsOf(section, "levels").map((_, l) =>
    k === undefined ? array.at(l) : array.at(l, k)
  );
}

function bracketFrame(place, section) {
  const levels = labelsOf(section, "levels");
  const random = section.array("random_tree");
  const cases = section.has("cases", ["kinds"]) ? section.array("cases") : null;
  frame(place, {
    title: "Are words brackets of a level's tree?",
    caption: "The share of them that are brackets, beside what a tree with random splits has.",
    label: `Shares of brackets at ${levels.length} levels`,
    draw: (area, width) =>
      panels(
        area,
        width,
        labelsOf(section, "kinds").map((kind, k) => ({
          title: cases ? `${kind} (${short(cases.at(k))})` : kind,
          draw: (panel, wide) =>
            lines(panel, wide, {
              x: { name: "level", labels: levels },
              height: 180,
              y: { name: "share" },
              series: [{ name: "share", values: byLevel(section, "brackets", k) }],
              levels: [{ name: "random tree", value: random.at(k) }],
              label: `${kind}: share of brackets`,
            }),
        })),
        { least: 260 }
      ),
    table: () => longTable(section, ["brackets"]),
  });
}

function closureFrame(place, section) {
  const levels = labelsOf(section, "levels");
  const values = byLevel(section, "auroc");
  const error = section.has("auroc_error", ["levels"]) ? byLevel(section, "auroc_error") : null;
  frame(place, {
    title: "Does closure tell where a word goes on?",
    caption: "Area under the ROC curve: how probably a pair within a word has the larger closure.",
    label: `Area under the ROC curve at ${levels.length} levels`,
    draw: (area, width) =>
      lines(area, Math.min(width, 480), {
        x: { name: "level", labels: levels },
        y: { name: "area", zero: false },
        height: 200,
        levels: [{ name: "by chance", value: 0.5 }],
        series: [
          {
            name: "area",
            values,
            ...(error
              ? {
                  low: values.map((v, i) => v - error[i]),
                  high: values.map((v, i) => v + error[i]),
                }
              : {}),
          },
        ],
        label: "Area under the ROC curve",
      }),
    table: () => longTable(section, ["auroc", ...(error ? ["auroc_error"] : [])]),
  });
}

/** The lists of pairs of each level: rows of [level, text, closure]. */
function pairsOf(section, name) {
  return labelsOf(section, "levels").flatMap((level) => {
    const texts = section.values.get(`${name}.${level}`);
    const closure = section.values.get(`${name}_closure.${level}`);
    if (!Array.isArray(texts) || !Array.isArray(closure)) return [];
    return texts.map((text, i) => [level, text, number(closure[i])]);
  });
}

function pairFrame(place, section, name) {
  const rows = pairsOf(section, name);
  if (!rows.length) return;
  const levels = labelsOf(section, "levels");
  frame(place, {
    title: LISTS[name],
    caption:
      "The mark | stands between the two tokens. Closure 0: later rows do not read the first one.",
    label: `${LISTS[name]}, level by level`,
    draw: (area, width) =>
      panels(
        area,
        width,
        levels.map((level) => ({
          title: `level ${level}`,
          draw: (panel) =>
            panel.append(
              el(
                "ul",
                { class: "pairs" },
                rows
                  .filter((row) => row[0] === level)
                  .map((row) =>
                    el(
                      "li",
                      null,
                      el("span", { class: "words" }, row[1]),
                      el("span", { class: "muted" }, ` ${short(Number(row[2]))}`)
                    )
                  )
              )
            ),
        })),
        { least: 240 }
      ),
    table: () => ({ head: ["levels", "pair", "closure"], rows }),
  });
}

export const words = {
  name: "words",
  match(section) {
    if (!section.has("brackets", ["levels", "kinds"]) || !section.has("random_tree", ["kinds"]))
      return null;
    return {
      arrays: ["brackets", "random_tree", "cases", "auroc", "auroc_error"].filter((key) =>
        section.has(key)
      ),
      values: [...section.values.keys()].filter((key) =>
        /^(read_on|not_read)(_closure)?\./.test(key)
      ),
      title: "Words",
    };
  },
  draw(place, section) {
    bracketFrame(place, section);
    if (section.has("auroc", ["levels"])) closureFrame(place, section);
    for (const name of Object.keys(LISTS)) pairFrame(place, section, name);
  },
};
