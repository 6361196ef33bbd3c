// The roles of each residual: does it predict, do later rows look at it, does it change them?
// Matches predictor, attractor and influencer [layers, rows].
import { bars } from "../parts/bars.js";
import { choiceOf, choose, chooseList, redrawOn } from "../parts/choose.js";
import { category, ink } from "../parts/colors.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { facts } from "../parts/facts.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf, longTable, rowOf } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { short } from "../parts/scales.js";
import { tinted } from "../parts/tinted.js";

const AXES = ["layers", "rows"];
const ROLES = {
  predictor: "predicts: target's logit less the mean (nats)",
  attractor: "attracts: mean attention from later rows",
  influencer: "influences: length of what heads carry to later rows",
  influencer_onward: "influences onward: the same through all later layers",
};
const BITS = ["P", "A", "I"]; // 1 predicts, 2 attracts, 4 influences

function rolesOf(section) {
  return Object.keys(ROLES).filter((key) => section.has(key, AXES));
}

/** The role map, which a difference of two runs does not have. */
function hasMap(section) {
  return section.has("map", AXES) && !section.isDifference;
}

/** The layer's values without position 0, which is far from all others: the scale's ends. */
function scaleAt(section, key, layers) {
  const array = section.array(key);
  const values = [];
  for (const layer of layers)
    for (let row = 0; row < array.shape[1]; row++)
      if (rowOf(section, "rows", row) !== 0 || array.shape[1] === 1)
        values.push(array.at(layer, row));
  const usable = values.filter((value) => !Number.isNaN(value));
  return colorScale(usable, { signed: section.isDifference });
}

/** The letters of a role map's number: 5 -> "PI". */
export function lettersOf(map) {
  return BITS.filter((_, bit) => map & (1 << bit)).join("");
}

/** The layer that the tinted texts and the token's panel show; first the middle one. */
function layerChoice(section, page) {
  const middle = Math.max(0, Math.floor((section.axis("layers").n - 1) / 2));
  return choiceOf(page, section, "layer", middle);
}

function textFrame(place, section, page) {
  const keys = rolesOf(section);
  const layers = labelsOf(section, "layers");
  const layer = layerChoice(section, page);
  const tokens = labelsOf(section, "rows");
  const map = hasMap(section) ? section.array("map") : null;
  const draw = (area, width) =>
    panels(
      area,
      width,
      keys.map((key) => ({
        title: ROLES[key],
        draw: (panel, wide) => {
          const array = section.array(key);
          const value = (i) => array.at(layer.value, i);
          const drawn = tinted(panel, wide, {
            tokens,
            value,
            scale: scaleAt(section, key, [layer.value]),
            label: `${ROLES[key]} at layer ${layers[layer.value]}, as tinted text`,
            tip: (i) => [
              tokens[i],
              `${key}  ${short(value(i))}`,
              ...(map ? [`role map  ${lettersOf(map.at(layer.value, i)) || "none"}`] : []),
            ],
            onEnter: (i) => page.selection.set(rowOf(section, "rows", i)),
            onPick: (i) => page.selection.lock(rowOf(section, "rows", i)),
          });
          follow(page, panel, (row) =>
            drawn.highlight(tokens.findIndex((_, i) => rowOf(section, "rows", i) === row))
          );
        },
      })),
      { least: 420, most: 2 }
    );
  redrawOn(
    frame(place, {
      title: "Roles of a layer's residuals",
      caption:
        "The deeper the tint, the larger the value; the scale leaves out position 0, which " +
        "attracts attention like no other.",
      label: `Tokens tinted by ${keys.length} roles, one layer at a time`,
      controls: [chooseList(layer, "Layer", layers)],
      draw,
      table: () => longTable(section, keys),
    }),
    [layer]
  );
}

/** The colors of the eight numbers of a role map. */
function mapColor(value) {
  if (!value) return "transparent";
  return value & (value - 1) ? category(7) : category([0, 1, 2][Math.log2(value)]);
}

function mapLegend(area) {
  const entries = [
    [1, "P predicts"],
    [2, "A attracts"],
    [4, "I influences"],
    [3, "several"],
  ];
  area.append(
    el(
      "div",
      { class: "rolekeys" },
      entries.map(([value, text]) =>
        el("span", { style: { background: mapColor(value), color: ink(mapColor(value)) } }, text)
      )
    )
  );
}

function mapFrame(place, section, page) {
  const keys = [...(hasMap(section) ? ["map"] : []), ...rolesOf(section)];
  const shown = choiceOf(page, section, section.isDifference ? "role_change" : "role", 0);
  const names = keys.map((key) => (key === "map" ? "role map" : ROLES[key]));
  const layers = labelsOf(section, "layers").map((text) => `layer ${text}`);
  const tokens = labelsOf(section, "rows");
  const row = (c) => rowOf(section, "rows", c);
  redrawOn(
    frame(place, {
      title: "Roles by layer and token",
      caption:
        "A letter is set where the value is over a standard deviation above the layer's mean. " +
        "Layer l is the residual that layer l reads; the last line is the last layer's output.",
      label: `Roles of ${layers.length} layers and ${tokens.length} tokens`,
      controls: [chooseList(shown, "Show", names)],
      draw: (area, width) => {
        const key = keys[shown.value];
        const array = section.array(key);
        const value = (r, c) => array.at(layers.length - 1 - r, c);
        const isMap = key === "map";
        const drawn = heatmap(area, width, {
          rows: layers.slice().reverse(),
          columns: tokens,
          value,
          scale: isMap
            ? { color: mapColor }
            : scaleAt(
                section,
                key,
                layers.map((_, i) => i)
              ),
          legend: isMap ? null : ROLES[key],
          label: `${names[shown.value]} by layer and token`,
          text: (r, c) => (isMap ? lettersOf(value(r, c)) : ""),
          tip: (r, c) => [
            `${layers[layers.length - 1 - r]} at ${tokens[c]}`,
            ...keys.map((one) => {
              const found = section.array(one).at(layers.length - 1 - r, c);
              return `${one}  ${one === "map" ? lettersOf(found) || "none" : short(found)}`;
            }),
          ],
          onEnter: (r, c) => page.selection.set(row(c)),
          onPick: (r, c) => page.selection.lock(row(c)),
        });
        if (isMap) mapLegend(area);
        follow(page, area, (selected) =>
          drawn.highlight(tokens.findIndex((_, c) => row(c) === selected))
        );
      },
      table: () => longTable(section, keys),
    }),
    [shown]
  );
}

function spreadFrame(place, section, page) {
  const axes = ["populations", "layers", "roles"];
  const keys = ["mean", "deviation", "largest"];
  if (!keys.every((key) => section.has(key, axes))) return;
  const [mean, deviation, largest] = keys.map((key) => section.array(key));
  const populations = labelsOf(section, "populations");
  const population = choiceOf(page, section, "population", populations.length - 1);
  const layers = labelsOf(section, "layers");
  redrawOn(
    frame(place, {
      title: "Roles by layer",
      caption: "Mean over the rows with a band of one standard deviation, and the largest value.",
      label: "Mean, deviation and largest value of each role by layer",
      controls: [choose(population, "Rows", populations)],
      draw: (area, width) =>
        panels(
          area,
          width,
          labelsOf(section, "roles").map((role, k) => ({
            title: role,
            draw: (panel, wide) => {
              const read = (array) => layers.map((_, l) => array.at(population.value, l, k));
              const [m, d] = [read(mean), read(deviation)];
              lines(panel, wide, {
                x: { name: "layer", labels: layers },
                y: { name: "" },
                height: 180,
                label: `${role} by layer`,
                series: [
                  {
                    name: "mean",
                    values: m,
                    low: m.map((v, i) => v - d[i]),
                    high: m.map((v, i) => v + d[i]),
                  },
                  { name: "largest", values: read(largest), dash: "4 3" },
                ],
              });
            },
          })),
          { least: 260 }
        ),
      table: () =>
        longTable(
          section,
          [...keys, "largest_row"].filter((key) => section.has(key, axes))
        ),
    }),
    [population]
  );
}

/** The root mean square of the cosines of two random subspaces; null where N is not known. */
function byChance(section) {
  const config = !section.isDifference && section.run.model && section.run.model.config;
  const n = config && (config.d_model || config.hidden_size);
  return n > 1 ? Math.sqrt(section.axis("dimension").n / (n - 1)) : null;
}

function angleFrame(place, section, page) {
  if (!section.has("cosines", ["populations", "angle_layers", "role_pairs", "dimension"])) return;
  const cosines = section.array("cosines");
  const populations = labelsOf(section, "populations");
  const population = choiceOf(page, section, "population", populations.length - 1);
  const chance = byChance(section);
  const dimensions = Array.from({ length: section.axis("dimension").n }, (_, i) => i + 1);
  redrawOn(
    frame(place, {
      title: "Does one direction serve several roles?",
      caption:
        "Cosines of the principal angles between the roles' subspaces: 1: both hold the direction.",
      label: "Cosines of principal angles between roles' subspaces",
      controls: [choose(population, "Rows", populations)],
      draw: (area, width) =>
        panels(
          area,
          width,
          labelsOf(section, "angle_layers").map((layer, a) => ({
            title: `layer ${layer}`,
            draw: (panel, wide) =>
              lines(panel, wide, {
                height: 190,
                label: `Cosines at layer ${layer}`,
                x: { name: "angle", labels: dimensions.map(String) },
                y: { name: "cosine", domain: section.isDifference ? undefined : [0, 1] },
                levels: chance ? [{ name: "by chance", value: chance }] : [],
                series: labelsOf(section, "role_pairs").map((name, k) => ({
                  name,
                  values: dimensions.map((_, d) => cosines.at(population.value, a, k, d)),
                })),
              }),
          })),
          { least: 300 }
        ),
      table: () => longTable(section, ["cosines"]),
    }),
    [population]
  );
}

function capturedFrame(place, section, page) {
  if (!section.has("captured", ["populations", "angle_layers", "roles"])) return;
  const captured = section.array("captured");
  const populations = labelsOf(section, "populations");
  const population = choiceOf(page, section, "population", populations.length - 1);
  const layers = labelsOf(section, "angle_layers");
  const names = labelsOf(section, "roles");
  const value = (l, k) => captured.at(population.value, l, k);
  redrawOn(
    frame(place, {
      title: "How much of a role its subspace holds",
      caption:
        "The fraction of the stack's squared norm. Where it is small, the subspace says little.",
      label: "Captured fraction of each role by layer",
      controls: [choose(population, "Rows", populations)],
      draw: (area, width) => {
        const label = "Captured fraction by layer";
        if (layers.length === 1) {
          const values = names.map((_, k) => value(0, k));
          const columns = [{ name: `fraction at layer ${layers[0]}`, values }];
          bars(area, Math.min(width, 480), { labels: names, columns, label });
          return;
        }
        lines(area, Math.min(width, 560), {
          height: 200,
          x: { name: "layer", labels: layers },
          y: { name: "fraction", domain: section.isDifference ? undefined : [0, 1] },
          label,
          series: names.map((name, k) => ({ name, values: layers.map((_, l) => value(l, k)) })),
        });
      },
      table: () => longTable(section, ["captured"]),
    }),
    [population]
  );
}

const CLAIMED = ["map", "mean", "deviation", "largest", "largest_row", "cosines", "captured"];

export const roles = {
  name: "roles",
  match(section) {
    if (!["predictor", "attractor", "influencer"].every((key) => section.has(key, AXES)))
      return null;
    const arrays = [...rolesOf(section), ...CLAIMED.filter((key) => section.has(key))];
    return { arrays, title: "Roles of the residuals" };
  },
  draw(place, section, page) {
    textFrame(place, section, page);
    mapFrame(place, section, page);
    spreadFrame(place, section, page);
    angleFrame(place, section, page);
    capturedFrame(place, section, page);
  },
  detail(section, row, page) {
    const i = section.indexOfRow("rows", row);
    if (i === null) return null;
    const layer = layerChoice(section, page).value;
    const letters = hasMap(section) ? lettersOf(section.array("map").at(layer, i)) : "";
    return facts([
      ["layer", section.axis("layers").label(layer)],
      ...rolesOf(section).map((key) => [key.replace(/_/g, " "), section.array(key).at(layer, i)]),
      ["role map", letters || "none"],
    ]);
  },
};
