// Approximate against exact: dlog Z by its first order, the error by half the variance, and dz of
// removed components by the run without them. A part of the figure "partition".
import { choiceOf, chooseList, redrawOn } from "../parts/choose.js";
import { category } from "../parts/colors.js";
import { frame } from "../parts/frame.js";
import { labelOf, labelsOf, rowOf } from "../parts/labels.js";
import { scatter } from "../parts/scatter.js";
import { number } from "../parts/scales.js";

const CHANGES = ["perturbations", "rows"];
const MANY = 5000; // points of a scatter plot

/** The pairs of quantities that should be equal: [{name, x, y, log, points}]. */
function comparisons(section, kinds, names) {
  const list = [];
  const add = (name, x, y, more) => {
    if (section.has(x, CHANGES) && section.has(y, CHANGES))
      list.push({
        name,
        x: names[x],
        y: names[y],
        points: () => pointsOf(section, kinds, section.array(x), section.array(y)),
        ...more,
      });
  };
  add("first order", "expected_dz", "dlogz");
  add("the vocabulary's mean", "mean_dz", "dlogz");
  add("half the variance", "half_variance", "first_order_error", { log: true });
  const exact = kinds.find((one) => one.kind === "ablation");
  if (exact && section.has("dz", ["gauges", "targets", ...CHANGES]))
    for (const kind of kinds.filter((one) => /_ln$/.test(one.kind)))
      list.push({
        name: `${kind.kind} and a run without the component`,
        x: `dz by ${kind.kind} (nats)`,
        y: "dz by ablation (nats)",
        points: () => against(section, kind, exact),
      });
  return list;
}

function pointsOf(section, kinds, x, y) {
  const n = section.axis("rows").n;
  return kinds.flatMap((kind, k) =>
    kind.indices.flatMap((p, j) =>
      Array.from({ length: n }, (_, i) => ({
        x: x.at(p, i),
        y: y.at(p, i),
        color: category(k),
        row: i,
        text: `${kind.kind} ${kind.names[j]} at ${labelOf(section, "rows", i)}`,
      }))
    )
  );
}

/** dz of each target by a prediction and by the run without the component, in the raw gauge. */
function against(section, kind, exact) {
  const dz = section.array("dz");
  const n = section.axis("rows").n;
  const targets = labelsOf(section, "targets");
  return kind.indices.flatMap((p, j) => {
    const other = exact.indices[exact.names.indexOf(kind.names[j])];
    if (other === undefined) return [];
    return targets.flatMap((target, t) =>
      Array.from({ length: n }, (_, i) => ({
        x: dz.at(0, t, p, i),
        y: dz.at(0, t, other, i),
        color: category(t),
        row: i,
        text: `${kind.names[j]} at ${labelOf(section, "rows", i)}, ${target}`,
      }))
    );
  });
}

/** Adds the scatter plot. kinds: of kindsOf(); names: of the quantities by their keys. */
export function compareFrame(place, section, page, kinds, names) {
  const list = comparisons(section, kinds, names);
  if (!list.length) return;
  const chosen = choiceOf(page, section, "comparison", 0);
  redrawOn(
    frame(place, {
      title: "Approximation against exact",
      caption: "A point is a change at a token. On the dashed line the approximation is exact.",
      label: "Scatter plot of approximate and exact values",
      controls: [
        chooseList(
          chosen,
          "Approximation",
          list.map((one) => one.name)
        ),
      ],
      draw: (area, width) => {
        const one = list[chosen.value];
        const points = one.points().slice(0, MANY);
        scatter(area, Math.min(width, 640), {
          points,
          diagonal: true,
          height: 380,
          x: { name: one.x, log: one.log },
          y: { name: one.y, log: one.log },
          legend:
            one.log || chosen.value < 3
              ? kinds.map((kind, k) => ({ name: kind.kind, color: category(k) }))
              : labelsOf(section, "targets").map((name, t) => ({ name, color: category(t) })),
          label: `${one.y} by ${one.x}: ${points.length} points`,
          onEnter: (i) => page.selection.set(rowOf(section, "rows", points[i].row)),
        });
      },
      table: () => ({
        head: ["case", list[chosen.value].x, list[chosen.value].y],
        rows: list[chosen.value].points().map((p) => [p.text, number(p.x), number(p.y)]),
      }),
    }),
    [chosen]
  );
}
