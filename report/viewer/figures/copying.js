// Does a head raise the token that it reads? A score per head beside the eigenvalues of the chosen
// head. Matches X_eigenvalues [layers, heads, numbers, (re, im)] and copying [layers, heads].
import { choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { signed } from "../parts/colors.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { cellNumber, labelsOf, longTable } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { scatter } from "../parts/scatter.js";
import { short } from "../parts/scales.js";

function eigenvaluesOf(section) {
  return [...section.arrays.values()].find(
    (array) =>
      /eigenvalues$/.test(array.key) &&
      !array.omitted &&
      array.axes.length === 4 &&
      array.axes[0] === "layers" &&
      array.axes[1] === "heads" &&
      array.shape[3] === 2
  );
}

function drawScores(area, width, section, scores, chosen) {
  const layers = labelsOf(section, "layers");
  const heads = labelsOf(section, "heads");
  const drawn = heatmap(area, width, {
    rows: layers.map((l) => `layer ${l}`),
    columns: heads.map((h) => `H${h}`),
    value: (r, c) => scores.at(r, c),
    scale: colorScale(scores.range(), { signed: true }),
    legend: "copying score",
    wholeTexts: true,
    text: (r, c) => cellNumber(scores.at(r, c), scores.range().most),
    label: "Copying score by layer and head",
    tip: (r, c) => [`L${layers[r]}H${heads[c]}`, `copying  ${short(scores.at(r, c))}`],
    onPick: (r, c) => chosen.set(r * heads.length + c),
  });
  drawn.highlight(chosen.value % heads.length);
}

function drawPlane(area, width, section, array, chosen) {
  const heads = array.shape[1];
  const [layer, head] = [Math.floor(chosen.value / heads), chosen.value % heads];
  const points = Array.from({ length: array.shape[2] }, (_, k) => ({
    x: array.at(layer, head, k, 0),
    y: array.at(layer, head, k, 1),
    color: signed(array.at(layer, head, k, 0)),
    text: `eigenvalue ${k}`,
  }));
  scatter(area, Math.min(width, 420), {
    points,
    x: { name: "re", zero: true },
    y: { name: "im", zero: true },
    height: 260,
    label: `Eigenvalues of L${layer}H${head}`,
  });
}

export const copying = {
  name: "copying",
  match(section) {
    const eigenvalues = eigenvaluesOf(section);
    if (!eigenvalues || !section.has("copying", ["layers", "heads"])) return null;
    return { arrays: ["copying", eigenvalues.key], title: "Copying" };
  },
  draw(place, section, page) {
    const scores = section.array("copying");
    const eigenvalues = eigenvaluesOf(section);
    const heads = section.axis("heads").n;
    const values = scores.values() || [];
    const best = values.reduce((at, value, i) => (value > values[at] ? i : at), 0);
    const chosen = choiceOf(page, section, "copying_head", best);
    const name = () =>
      `L${section.axis("layers").label(Math.floor(chosen.value / heads))}` +
      `H${section.axis("heads").label(chosen.value % heads)}`;
    redrawOn(
      frame(place, {
        title: "Does a head copy what it reads?",
        caption:
          "The sum of the eigenvalues' real parts over that of their moduli: positive where " +
          "reading a token raises it. Choose a head to see its eigenvalues.",
        label: `Copying scores from ${short(scores.range().low)} to ${short(scores.range().high)}`,
        draw: (area, width) =>
          panels(
            area,
            width,
            [
              {
                title: "score of each head",
                draw: (panel, wide) => drawScores(panel, wide, section, scores, chosen),
              },
              {
                title: `eigenvalues of ${name()}`,
                draw: (panel, wide) => drawPlane(panel, wide, section, eigenvalues, chosen),
              },
            ],
            { least: 320, most: 2 }
          ),
        table: () => longTable(section, ["copying"]),
      }),
      [chosen]
    );
  },
};
