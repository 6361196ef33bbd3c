// What each level knows: accuracy and the area under the ROC curve of each task by level, and the
// recall of each class. Matches accuracy [tasks, levels].
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { frame, tableOf } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { cellNumber, labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { short } from "../parts/scales.js";

const AXES = ["tasks", "levels"];
const COUNTS = [
  "majority",
  "train_rows",
  "test_rows",
  "unseen_rows",
  "trained_classes",
  "best_level",
];

/** The numbers of a task along the levels; null where all are unset. */
function curve(section, key, task) {
  if (!section.has(key, AXES)) return null;
  const array = section.array(key);
  const values = Array.from({ length: section.axis("levels").n }, (_, l) => array.at(task, l));
  return values.some((value) => !Number.isNaN(value)) ? values : null;
}

function one(section, key, task) {
  return section.has(key, ["tasks"]) ? section.array(key).at(task) : NaN;
}

function taskPanel(section, name, task) {
  const series = [
    ["accuracy", "accuracy"],
    ["auroc", "area under ROC"],
  ]
    .map(([key, text], i) => ({
      name: text,
      values: curve(section, key, task),
      dash: i ? "5 3" : null,
    }))
    .filter((entry) => entry.values);
  const majority = one(section, "majority", task);
  const rows = one(section, "test_rows", task);
  return {
    title: `${name}${Number.isNaN(rows) ? "" : `, ${short(rows)} test rows`}`,
    draw: (area, width) =>
      lines(area, width, {
        x: { name: "level", labels: labelsOf(section, "levels") },
        y: { name: "", domain: section.isDifference ? undefined : [0, 1] },
        height: 170,
        legend: true,
        series,
        levels: Number.isNaN(majority) ? [] : [{ name: "majority", value: majority }],
        label: `${name}: ${series.map((entry) => entry.name).join(" and ")} by level`,
      }),
  };
}

function taskFrame(place, section) {
  const tasks = labelsOf(section, "tasks");
  const keys = ["accuracy", "auroc"].filter((key) => section.has(key, AXES));
  const isProbed = (t) => keys.some((key) => curve(section, key, t));
  const probed = tasks.map((_, t) => t).filter(isProbed);
  const none = tasks.filter((_, t) => !isProbed(t));
  frame(place, {
    title: "What each level knows",
    caption:
      "Right guesses of linear maps on test rows. The dashed mark: always the most frequent class.",
    label: `Accuracy of ${tasks.length} tasks by level`,
    notes: none.length ? [`Tasks without a number: ${none.join(", ")}.`] : [],
    draw: (area, width) =>
      panels(
        area,
        width,
        probed.map((t) => taskPanel(section, tasks[t], t)),
        { least: 230 }
      ),
    table: () => longTable(section, keys),
  });
}

function recallFrame(place, section, page) {
  if (!section.has("recall", ["classes", "levels"])) return;
  const recall = section.array("recall");
  const classes = labelsOf(section, "classes").map((label, i) => ({
    label,
    i,
    task: label.split("=")[0],
    rows: section.has("class_test_rows", ["classes"]) ? section.array("class_test_rows").at(i) : 1,
  }));
  const tasks = [...new Set(classes.map((entry) => entry.task))];
  const chosen = choiceOf(page, section, "task", 0);
  const levels = labelsOf(section, "levels");
  const shown = () =>
    classes
      .filter((entry) => entry.task === tasks[chosen.value] && entry.rows > 0)
      .sort((a, b) => b.rows - a.rows)
      .slice(0, 40);
  redrawOn(
    frame(place, {
      title: "Right guesses of each class",
      caption: "The classes with the most test rows.",
      label: `Recall of the classes of a task by level`,
      controls: [choose(chosen, "Task", tasks, 6)],
      draw: (area, width) => {
        const list = shown();
        heatmap(area, width, {
          rows: list.map((entry) => entry.label.slice(entry.task.length + 1)),
          columns: levels,
          value: (r, c) => recall.at(list[r].i, c),
          legend: "share of right guesses",
          maxCell: 70,
          scale: colorScale({ low: 0, high: 1 }, { signed: section.isDifference }),
          wholeTexts: true,
          text: (r, c) => cellNumber(recall.at(list[r].i, c), 0.99),
          label: "Recall by class and level",
          tip: (r, c) => [
            `${list[r].label} at ${levels[c]}`,
            `recall  ${short(recall.at(list[r].i, c))}`,
            `test rows  ${short(list[r].rows)}`,
          ],
        });
      },
      table: () => longTable(section, ["recall"]),
    }),
    [chosen]
  );
}

function countsFrame(place, section) {
  const keys = COUNTS.filter((key) => section.has(key, ["tasks"]));
  if (!keys.length) return;
  const { head, rows } = longTable(section, keys);
  frame(place, {
    title: "Rows and classes of the tasks",
    label: `Rows and classes of ${rows.length} tasks`,
    draw: (area) => area.append(tableOf({ head, rows }, "Rows and classes")),
    table: () => ({ head, rows }),
  });
}

export const probe = {
  name: "probe",
  match(section) {
    if (!section.has("accuracy", AXES)) return null;
    const keys = ["accuracy", "auroc", "recall", "class_train_rows", "class_test_rows", ...COUNTS];
    return { arrays: keys.filter((key) => section.has(key)), title: "Tasks by level" };
  },
  draw(place, section, page) {
    taskFrame(place, section);
    recallFrame(place, section, page);
    countsFrame(place, section);
  },
};
