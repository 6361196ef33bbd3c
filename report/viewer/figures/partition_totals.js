// How much log Z varies over a corpus: the sizes of the errors, how often the approximations fail,
// and how well one fit explains the logits. Matches mean_abs_dlogz [gauges, perturbations].
import { bars } from "../parts/bars.js";
import { choiceOf, choose, chooseList, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { histogram } from "../parts/histogram.js";
import { intervals } from "../parts/intervals.js";
import { firstKind, kindsOf } from "../parts/kinds.js";
import { cellNumber, labelsOf, longTable, mostOf } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { short } from "../parts/scales.js";
import { stack } from "../parts/stack.js";
import { ordered } from "./bins.js";

const GAUGED = ["gauges", "perturbations"];
const FITS = {
  beta: { name: "beta", from: -2, step: 0.025, open: true },
  r2: { name: "R²", from: 0, step: 0.02, open: false },
};
const BY_LENS = [
  ["log_z", "log Z (nats)"],
  ["log_z_gap", "log Z - max z (nats)"],
  ["margin", "p1 - p2"],
];

/** The kinds and a choice of one, shared by the frames of a section. */
function kindsFor(section, page) {
  const kinds = kindsOf(section.axis("perturbations"));
  return { kinds, kind: choiceOf(page, section, "kind", firstKind(kinds)) };
}

function kindControl({ kinds, kind }) {
  return choose(
    kind,
    "Change",
    kinds.map((one) => one.kind),
    6
  );
}

/** A heat map of one kind's changes by the labels of an axis. */
function changeMap(area, width, names, columns, value, legend, options) {
  const values = names.flatMap((_, r) => columns.map((__, c) => value(r, c)));
  const most = mostOf(values);
  heatmap(area, width, {
    rows: names,
    columns,
    value,
    legend,
    maxCell: 90,
    label: legend,
    scale: colorScale(values, options),
    wholeTexts: true,
    text: (r, c) => cellNumber(value(r, c), most),
    tip: (r, c) => [`${names[r]}, ${columns[c]}`, `${legend}  ${short(value(r, c))}`],
  });
}

function lensFrame(place, section) {
  const lenses = labelsOf(section, "lenses");
  const read = (key) =>
    section.has(key, ["lenses"]) ? lenses.map((_, l) => section.array(key).at(l)) : null;
  const found = BY_LENS.filter(([key]) => section.has(`mean_${key}`, ["lenses"]));
  const keys = found
    .flatMap(([key]) => [`mean_${key}`, `sd_${key}`])
    .filter((key) => section.has(key));
  frame(place, {
    title: "log Z by lens",
    caption: "Mean over rows, with a band of one standard deviation where it is known.",
    label: `Means of log Z for ${lenses.length} lenses`,
    draw: (area, width) =>
      panels(
        area,
        width,
        found.map(([key, title]) => ({
          title,
          draw: (panel, wide) => {
            const mean = read(`mean_${key}`);
            const deviation = read(`sd_${key}`);
            lines(panel, wide, {
              x: { name: "lens", labels: lenses },
              y: { name: "" },
              height: 180,
              label: title,
              series: [
                {
                  name: "mean",
                  values: mean,
                  ...(deviation
                    ? {
                        low: mean.map((v, i) => v - deviation[i]),
                        high: mean.map((v, i) => v + deviation[i]),
                      }
                    : {}),
                },
              ],
            });
          },
        })),
        { least: 260 }
      ),
    table: () => longTable(section, keys),
  });
}

function massFrame(place, section) {
  const mass = section.array("mean_mass");
  const parts = labelsOf(section, "bins");
  frame(place, {
    title: "Where the mass of the predictions lies",
    label: "Mean probability by rank for each lens",
    draw: (area, width) =>
      stack(area, Math.min(width, 760), {
        labels: labelsOf(section, "lenses"),
        parts: parts.map((bin) => `rank ${bin}`),
        colors: ordered(parts.length),
        whole: 1,
        value: (lens, bin) => mass.at(lens, bin),
        label: "Mean probability by rank",
      }),
    table: () => longTable(section, ["mean_mass"]),
  });
}

function sizeFrame(place, section, shared) {
  const gauges = labelsOf(section, "gauges");
  const sizes = section.array("mean_abs_dlogz");
  const variance = section.has("mean_half_variance", ["perturbations"])
    ? section.array("mean_half_variance")
    : null;
  redrawOn(
    frame(place, {
      title: "Size of constant Z's error, by gauge",
      caption:
        "Mean |dlog Z|: of the raw logits, less the vocabulary's mean dz, and less E_p dz: the " +
        "first order's error KL(p || p'). Beside it Var_p(dz)/2.",
      label: "Mean error of constant Z for each change, in three gauges",
      controls: [kindControl(shared)],
      draw: (area, width) => {
        const { names, indices } = shared.kinds[shared.kind.value];
        const columns = gauges.map((gauge, g) => ({
          name: gauge,
          values: indices.map((p) => sizes.at(g, p)),
        }));
        if (variance) columns.push({ name: "Var/2", values: indices.map((p) => variance.at(p)) });
        bars(area, width, {
          labels: names,
          columns,
          label: "Mean errors in nats",
          tip: (i) => [
            names[i],
            ...columns.map((one) => `${one.name}  ${short(one.values[i])} nats`),
          ],
        });
      },
      table: () =>
        longTable(section, [
          "mean_abs_dlogz",
          ...(section.has("mean_dlogz", GAUGED) ? ["mean_dlogz"] : []),
        ]),
    }),
    [shared.kind]
  );
}

function failFrame(place, section, page, shared) {
  if (!section.has("far", [...GAUGED, "margins"])) return;
  const far = section.array("far");
  const gauge = choiceOf(page, section, "far_gauge", 0);
  redrawOn(
    frame(place, {
      title: "How often the approximation fails",
      caption:
        "Share of cases that err by more than 0.1 nat, by p1 - p2 before the change. " +
        "minus_expected: the first order.",
      label: "Share of cases that err by more than 0.1 nat",
      controls: [choose(gauge, "Gauge", labelsOf(section, "gauges")), kindControl(shared)],
      draw: (area, width) => {
        const { names, indices } = shared.kinds[shared.kind.value];
        const columns = labelsOf(section, "margins");
        changeMap(
          area,
          width,
          names,
          columns,
          (r, c) => far.at(gauge.value, indices[r], c),
          "share of cases",
          { signed: section.isDifference }
        );
      },
      table: () => longTable(section, ["far"]),
    }),
    [gauge, shared.kind]
  );
}

function groupFrame(place, section, page, shared) {
  const axes = [...GAUGED, "groups"];
  const found = [
    ["mean_abs_dz", "mean |dz| (nats)"],
    ["correlation", "correlation of dlog Z with the mean dz"],
  ].filter(([key]) => section.has(key, axes));
  if (!found.length) return;
  const gauge = choiceOf(page, section, "group_gauge", 0);
  const shown = choiceOf(page, section, "group_quantity", 0);
  redrawOn(
    frame(place, {
      title: "How far logits move, by rank",
      label: "Mean size of the change of logits by rank, and its correlation with log Z",
      controls: [
        chooseList(
          shown,
          "Show",
          found.map(([, name]) => name)
        ),
        choose(gauge, "Gauge", labelsOf(section, "gauges")),
        kindControl(shared),
      ],
      draw: (area, width) => {
        const [key, name] = found[shown.value];
        const { names, indices } = shared.kinds[shared.kind.value];
        changeMap(
          area,
          width,
          names,
          labelsOf(section, "groups"),
          (r, c) => section.array(key).at(gauge.value, indices[r], c),
          name,
          { signed: key === "correlation" }
        );
      },
      table: () =>
        longTable(
          section,
          found.map(([key]) => key)
        ),
    }),
    [gauge, shown, shared.kind]
  );
}

/** The edges of a fit's histogram; the bins outside of beta's range are open. */
function edgesOf(fit, n) {
  const inner = n - (fit.open ? 2 : 0);
  const edges = Array.from({ length: inner + 1 }, (_, i) => fit.from + i * fit.step);
  return fit.open ? [-Infinity, ...edges, Infinity] : edges;
}

/** Median and quantiles of a kind's changes; a click chooses the change of the histogram. */
function drawQuantiles(area, width, section, given) {
  const { key, fit, names, indices, pick } = given;
  const quantiles = section.array(`fit_${key}_quantiles`);
  intervals(area, width, {
    labels: names,
    title: fit.name,
    zero: true,
    label: `${fit.name} by change`,
    onPick: pick,
    names: ["median", "quantiles 0.1 to 0.9"],
    entries: indices.map((p) => ({
      middle: quantiles.at(p, 1),
      low: quantiles.at(p, 0),
      high: quantiles.at(p, 2),
    })),
  });
}

function drawFitHistogram(area, width, section, key, fit, change) {
  const array = section.array(`fit_${key}_histogram`);
  const counts = Array.from({ length: array.shape[1] }, (_, b) => array.at(change, b));
  histogram(area, width, {
    edges: edgesOf(fit, counts.length),
    series: [{ name: "cases", counts }],
    x: { name: fit.name },
    y: { name: "cases" },
    label: `${fit.name} of a change`,
    height: 220,
  });
}

function fitFrame(place, section, page, shared, key, fit) {
  const change = choiceOf(page, section, `fit_change_${key}`, -1);
  const hasCounts = section.has(`fit_${key}_histogram`, ["perturbations", `${key}_bins`]);
  redrawOn(
    frame(place, {
      title: `Do all logits move in proportion? ${fit.name} of the fit`,
      caption:
        "dz = alpha + beta (z - b) over all tokens. Dot: the median; thick line: quantiles " +
        "0.1 to 0.9. Choose a change to see its histogram.",
      label: `Quantiles of ${fit.name} for each change`,
      controls: [kindControl(shared)],
      draw: (area, width) => {
        const { kind, names, indices } = shared.kinds[shared.kind.value];
        const shown = Math.max(0, indices.indexOf(change.value));
        const given = { key, fit, names, indices, pick: (i) => change.set(indices[i]) };
        const list = [
          { title: "", draw: (panel, wide) => drawQuantiles(panel, wide, section, given) },
        ];
        if (hasCounts)
          list.push({
            title: `${kind}:${names[shown]}`,
            draw: (panel, wide) => drawFitHistogram(panel, wide, section, key, fit, indices[shown]),
          });
        panels(area, width, list, { least: 320, most: 2 });
      },
      table: () => longTable(section, [`fit_${key}_quantiles`]),
    }),
    [shared.kind, change]
  );
}

/** All arrays over changes or lenses: what the figures leave out is in their tables' file. */
function claimed(section) {
  return [...section.arrays.values()]
    .filter(
      (array) =>
        !array.omitted && (array.axes.includes("perturbations") || array.axes[0] === "lenses")
    )
    .map((array) => array.key);
}

export const partitionTotals = {
  name: "partition_totals",
  match(section) {
    if (!section.has("mean_abs_dlogz", GAUGED)) return null;
    return { arrays: claimed(section), title: "How much log Z varies" };
  },
  draw(place, section, page) {
    const shared = kindsFor(section, page);
    if (section.has("mean_log_z", ["lenses"])) lensFrame(place, section);
    if (section.has("mean_mass", ["lenses", "bins"])) massFrame(place, section);
    sizeFrame(place, section, shared);
    failFrame(place, section, page, shared);
    groupFrame(place, section, page, shared);
    for (const [key, fit] of Object.entries(FITS))
      if (section.has(`fit_${key}_quantiles`, ["perturbations", "quantiles"]))
        fitFrame(place, section, page, shared, key, fit);
  },
};
