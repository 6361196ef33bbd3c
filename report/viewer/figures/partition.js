// How much log Z varies in one run: log Z by lens and row, mass by rank, and the error of constant
// Z and of the first order for each change. Matches log_z [lenses, rows] and dlogz [perturbations,
// rows]. docs/partition.md says what the figures argue.
import { bars } from "../parts/bars.js";
import { choiceOf, choose, chooseList, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { facts } from "../parts/facts.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { firstKind, kindsOf } from "../parts/kinds.js";
import { cellNumber, labelOf, labelsOf, longTable, mostOf, rowOf } from "../parts/labels.js";
import { short } from "../parts/scales.js";
import { stack } from "../parts/stack.js";
import { ordered } from "./bins.js";
import { compareFrame } from "./partition_compare.js";

const LENSES = ["lenses", "rows"];
const CHANGES = ["perturbations", "rows"];
const BY_LENS = { log_z: "log Z (nats)", log_z_gap: "log Z - max z (nats)", margin: "p1 - p2" };
const BY_CHANGE = {
  dlogz: "dlog Z (nats)",
  expected_dz: "E_p dz: the first order (nats)",
  mean_dz: "mean dz over the vocabulary (nats)",
  first_order_error: "KL(p || p') (nats)",
  half_variance: "Var_p(dz)/2 (nats)",
  fit_beta: "fit: beta",
  fit_alpha: "fit: alpha (nats)",
  fit_r2: "fit: R²",
};

/** Every quantity of an array whose last axes are these: [{key, name, at(last indices)}]. */
function quantities(section, last, names) {
  const found = [];
  for (const [key, name] of Object.entries(names))
    if (section.has(key, last)) {
      const array = section.array(key);
      found.push({ key, name, at: (...indices) => array.at(...indices) });
    }
  return found;
}

/** The quantities of a lens and row. */
function lensQuantities(section) {
  const found = quantities(section, LENSES, BY_LENS);
  if (section.has("top_share", [...LENSES, "top"])) {
    const array = section.array("top_share");
    labelsOf(section, "top").forEach((top, k) =>
      found.push({
        key: "top_share",
        name: `share of the top ${top} in Z`,
        at: (...indices) => array.at(...indices, k),
      })
    );
  }
  return found;
}

/** The quantities of a change and row: those with a gauge or a target once for each. */
function changeQuantities(section) {
  const found = quantities(section, CHANGES, BY_CHANGE);
  const each = (key, axes, name) => {
    if (!section.has(key, [...axes, ...CHANGES])) return;
    const array = section.array(key);
    const visit = (prefix) => {
      if (prefix.length < axes.length) {
        for (let i = 0; i < section.axis(axes[prefix.length]).n; i++) visit([...prefix, i]);
        return;
      }
      const labels = prefix.map((i, a) => section.axis(axes[a]).label(i));
      found.push({
        key,
        name: `${name} ${labels.join(", ")} (nats)`,
        prefix,
        at: (...indices) => array.at(...prefix, ...indices),
      });
    };
    visit([]);
  };
  each("constant_z_error", ["gauges"], "error of constant Z:");
  each("dlogp", ["targets"], "dlog p of");
  each("dz", ["gauges", "targets"], "dz,");
  return found;
}

/** Runs draw when the selected token changes; without one the last row counts. */
function atRow(page, area, section, draw) {
  const n = section.axis("rows").n;
  const index = new Map(Array.from({ length: n }, (_, i) => [rowOf(section, "rows", i), i]));
  let drawn = -1;
  follow(page, area, (row) => {
    const i = index.has(row) ? index.get(row) : drawn < 0 ? n - 1 : drawn;
    if (i === drawn) return;
    drawn = i;
    area.replaceChildren();
    draw(i);
  });
}

/** A heat map whose columns are the run's rows. */
function rowMap(area, width, section, page, given) {
  const columns = labelsOf(section, "rows");
  const row = (c) => rowOf(section, "rows", c);
  if (columns.length === 1) {
    oneRow(area, width, given, columns[0]);
    return;
  }
  const values = given.rows.flatMap((_, r) => columns.map((__, c) => given.value(r, c)));
  const most = mostOf(values);
  const drawn = heatmap(area, width, {
    rows: given.rows,
    columns,
    value: given.value,
    legend: given.name,
    label: given.label,
    scale: colorScale(values, {
      signed: section.isDifference || given.signed,
      fromZero: section.isDifference ? undefined : given.fromZero,
    }),
    wholeTexts: true,
    text: (r, c) => cellNumber(given.value(r, c), most),
    tip: (r, c) => [
      `${given.rows[r]} at ${columns[c]}`,
      `${given.name}  ${short(given.value(r, c))}`,
    ],
    onEnter: (r, c) => row(c) >= 0 && page.selection.set(row(c)),
    onPick: (r, c) => row(c) >= 0 && page.selection.lock(row(c)),
  });
  follow(page, area, (selected) =>
    drawn.highlight(columns.findIndex((_, c) => row(c) === selected))
  );
}

/** The same for a single row: bars. */
function oneRow(area, width, given, token) {
  const values = given.rows.map((_, r) => given.value(r, 0));
  bars(area, Math.min(width, 640), {
    labels: given.rows,
    columns: [{ name: `${given.name} at ${token}`, values }],
    label: given.label,
    tip: (r) => [`${given.rows[r]} at ${token}`, `${given.name}  ${short(values[r])}`],
  });
}

function lensFrame(place, section, page) {
  const found = lensQuantities(section);
  const chosen = choiceOf(page, section, "lens_quantity", 0);
  const lenses = labelsOf(section, "lenses");
  redrawOn(
    frame(place, {
      title: "log Z by lens and token",
      caption: "The lens at a layer is the residual that enters it, read by the unembedding.",
      label: `log Z of ${lenses.length} lenses and ${section.axis("rows").n} tokens`,
      controls: [
        chooseList(
          chosen,
          "Show",
          found.map((one) => one.name)
        ),
      ],
      draw: (area, width) => {
        const { name, at } = found[chosen.value];
        rowMap(area, width, section, page, {
          rows: lenses.slice().reverse(),
          name,
          label: name,
          value: (r, c) => at(lenses.length - 1 - r, c),
          fromZero: chosen.value !== 0,
        });
      },
      table: () =>
        longTable(
          section,
          found.map((one) => one.key).filter((key) => key !== "top_share")
        ),
    }),
    [chosen]
  );
}

function massFrame(place, section, page) {
  const mass = section.array("mass");
  const lenses = labelsOf(section, "lenses");
  frame(place, {
    title: "Where the mass of a token's prediction lies",
    caption: "Probability by rank, lens by lens, at the selected token (else the last).",
    label: "Probability by rank for each lens, as stacked bars",
    draw: (area, width) =>
      atRow(page, area, section, (i) =>
        stack(area, Math.min(width, 760), {
          labels: lenses,
          parts: labelsOf(section, "bins").map((bin) => `rank ${bin}`),
          colors: ordered(section.axis("bins").n),
          whole: 1,
          value: (lens, bin) => mass.at(lens, i, bin),
          label: `Probability by rank at ${labelOf(section, "rows", i)}`,
        })
      ),
    table: () => longTable(section, ["mass"]),
  });
}

function changeFrame(place, section, page, kinds, kind) {
  const found = changeQuantities(section);
  const chosen = choiceOf(page, section, "change_quantity", 0);
  redrawOn(
    frame(place, {
      title: "What each change does, token by token",
      caption:
        "dlog p = dz - dlog Z. Constant Z leaves dlog Z out; the first order has E_p dz instead, " +
        "and its error is KL(p || p').",
      label: `Changes by token: ${section.axis("perturbations").n} changes`,
      controls: [
        chooseList(
          chosen,
          "Show",
          found.map((one) => one.name)
        ),
        choose(
          kind,
          "Change",
          kinds.map((one) => one.kind),
          6
        ),
      ],
      draw: (area, width) => {
        const { name, at } = found[chosen.value];
        const { names, indices } = kinds[kind.value];
        rowMap(area, width, section, page, {
          rows: names,
          name,
          label: name,
          value: (r, c) => at(indices[r], c),
        });
      },
      table: () =>
        longTable(
          section,
          Object.keys(BY_CHANGE).filter((key) => section.has(key, CHANGES))
        ),
    }),
    [chosen, kind]
  );
}

function errorFrame(place, section, page, kinds, kind) {
  const error = section.array("constant_z_error");
  const gauges = labelsOf(section, "gauges");
  redrawOn(
    frame(place, {
      title: "Error of constant Z, by gauge",
      caption:
        "dlog Z of the raw logits, less the vocabulary's mean dz, and less E_p dz (which leaves " +
        "the first order's error), at the selected token (else the last).",
      label: "The error of constant Z for each change in three gauges",
      controls: [
        choose(
          kind,
          "Change",
          kinds.map((one) => one.kind),
          6
        ),
      ],
      draw: (area, width) =>
        atRow(page, area, section, (i) => {
          const { names, indices } = kinds[kind.value];
          bars(area, width, {
            labels: names,
            label: `Errors at ${labelOf(section, "rows", i)}`,
            columns: gauges.map((gauge, g) => ({
              name: `${gauge} (nats)`,
              values: indices.map((p) => error.at(g, p, i)),
            })),
            tip: (k) => [
              names[k],
              ...gauges.map((gauge, g) => `${gauge}  ${short(error.at(g, indices[k], i))} nats`),
            ],
          });
        }),
      table: () => longTable(section, ["constant_z_error"]),
    }),
    [kind]
  );
}

function rankFrame(place, section, page, kinds, kind) {
  const gauge = choiceOf(page, section, "gauge", 0);
  const dz = section.array("bin_dz");
  const bins = labelsOf(section, "bins");
  redrawOn(
    frame(place, {
      title: "How far logits move, by rank",
      caption:
        "Mean dz of the tokens of each rank before the change, at the selected (else last) token.",
      label: "Mean change of the logits by rank, for each change",
      controls: [
        choose(gauge, "Gauge", labelsOf(section, "gauges")),
        choose(
          kind,
          "Change",
          kinds.map((one) => one.kind),
          6
        ),
      ],
      draw: (area, width) =>
        atRow(page, area, section, (i) => {
          const { names, indices } = kinds[kind.value];
          const value = (r, c) => dz.at(gauge.value, indices[r], i, c);
          const values = names.flatMap((_, r) => bins.map((__, c) => value(r, c)));
          const most = mostOf(values);
          heatmap(area, width, {
            rows: names,
            columns: bins,
            value,
            legend: "mean dz (nats)",
            scale: colorScale(values, { signed: true }),
            wholeTexts: true,
            text: (r, c) => cellNumber(value(r, c), most),
            label: `Mean dz by rank at ${labelOf(section, "rows", i)}`,
            maxCell: 80,
            tip: (r, c) => [`${names[r]}, rank ${bins[c]}`, `mean dz  ${short(value(r, c))} nats`],
          });
        }),
      table: () => longTable(section, ["bin_dz"]),
    }),
    [gauge, kind]
  );
}

/** The claimed arrays: all that have the axis of lenses or of changes beside rows. */
function claimed(section) {
  return [...section.arrays.values()]
    .filter(
      (array) =>
        !array.omitted &&
        array.axes.includes("rows") &&
        (array.axes.includes("lenses") || array.axes.includes("perturbations"))
    )
    .map((array) => array.key);
}

export const partition = {
  name: "partition",
  match(section) {
    if (!section.has("log_z", LENSES) || !section.has("dlogz", CHANGES)) return null;
    return { arrays: claimed(section), title: "How much log Z varies" };
  },
  draw(place, section, page) {
    const kinds = kindsOf(section.axis("perturbations"));
    const kind = choiceOf(page, section, "kind", firstKind(kinds));
    lensFrame(place, section, page);
    if (section.has("mass", [...LENSES, "bins"])) massFrame(place, section, page);
    changeFrame(place, section, page, kinds, kind);
    if (section.has("constant_z_error", ["gauges", ...CHANGES]))
      errorFrame(place, section, page, kinds, kind);
    if (section.has("bin_dz", ["gauges", ...CHANGES, "bins"]))
      rankFrame(place, section, page, kinds, kind);
    compareFrame(place, section, page, kinds, BY_CHANGE);
  },
  detail(section, row) {
    const i = section.indexOfRow("rows", row);
    if (i === null) return null;
    const last = section.axis("lenses").n - 1;
    return facts(lensQuantities(section).map(({ name, at }) => [name, at(last, i)]));
  },
};
