// Attention: every array with rows and keys, as a grid of small pictures and one head enlarged.
import { attentionGrid } from "../parts/attention_grid.js";
import { HeadView } from "../parts/attention_head.js";
import { attentionDetail } from "../parts/attention_detail.js";
import { choice } from "../parts/choice.js";
import { chooseAny } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { FIRST, Pattern, patternGroups } from "../parts/pattern.js";
import { pickList } from "../parts/pick.js";
import { number, short } from "../parts/scales.js";

const TINTS = ["what it reads", "who reads it"];

const patterns = new WeakMap(); // section -> Map of title -> Pattern

function patternOf(section, group) {
  if (!patterns.has(section)) patterns.set(section, new Map());
  const known = patterns.get(section);
  if (!known.has(group.title)) {
    const pattern = new Pattern(section, group.keys);
    pattern.legend = section.isDifference ? "difference of weights" : "weight";
    known.set(group.title, pattern);
  }
  return known.get(group.title);
}

/** The head that rests least on the first position; the first one where there is none. */
function firstHead(pattern) {
  const [sequence] = pattern.sequences;
  if (!sequence || pattern.signed || pattern.position(0) !== 0) return 0;
  const shares = pattern.summaries(sequence).map(({ first }) => first);
  return shares.indexOf(Math.min(...shares));
}

/** What the reader chose, shared by all panes of this pattern. */
function stateOf(page, pattern, title) {
  const of = (name, first) => choice(page, `${title}: ${name}`, first);
  const sequence = of("sequence", 0);
  return {
    head: of("head", firstHead(pattern)),
    first: of("first position", 0), // an index of FIRST
    sequence,
    tints: of("tints", 0), // of TINTS
    sequenceOf: () => pattern.sequences[sequence.value] || pattern.sequences[0],
  };
}

function notesOf(pattern) {
  const notes = [];
  const left = pattern.meanLeftOut();
  if (pattern.isSparse) {
    const kept = Math.max(...pattern.arrays.map((array) => array.given.kept || 0));
    notes.push(
      `The page keeps at most ${kept} weights of a row; the others are drawn as 0. ` +
        `They sum to ${short(left)} per row on average. tensors.safetensors has all.`
    );
  } else if (pattern.arrays.some((array) => array.encoding === "f16")) {
    notes.push("Weights have 11 significant bits in the page. tensors.safetensors has all.");
  }
  return notes;
}

/** Draws a figure again if the reader has seen it; the others are drawn at first sight. */
function drawAgain(figure) {
  if (figure.querySelector(".area").dataset.drawn) figure.redraw();
}

function gridFrame(place, pattern, page, chosen, enlarge) {
  let grid = null;
  const first = pattern.canDivide ? FIRST : FIRST.slice(0, 2);
  const controls = [
    chooseAny(
      chosen.sequence,
      "sequence",
      pattern.sequences.map(({ id }) => String(id))
    ),
    pattern.position(0) === 0 ? chooseAny(chosen.first, "first position", first) : null,
  ].filter(Boolean);
  const figure = frame(place, {
    title: "All heads",
    label: `attention patterns of ${pattern.heads.length} heads`,
    caption: "Rows down, keys across: deeper blue is a larger weight. Click a head to enlarge it.",
    notes: notesOf(pattern),
    controls,
    draw: (area, width) => {
      grid = attentionGrid(
        area,
        width,
        pattern,
        chosen.sequenceOf(),
        FIRST[chosen.first.value],
        (index, isEnlarged) => {
          chosen.head.set(index);
          if (isEnlarged) enlarge();
        }
      );
      grid.mark(chosen.head.value);
      follow(page, area, (row) => grid.markRow(row));
    },
    table: () => ({
      head: ["head", "mean weight of the first position", "largest elsewhere", "row", "key"],
      rows: pattern
        .summaries(chosen.sequenceOf())
        .map(({ first, strongest }, index) => [
          pattern.heads[index].label,
          number(first),
          strongest ? number(strongest.weight) : "-",
          strongest ? strongest.r : "-",
          strongest ? pattern.position(strongest.k) : "-",
        ]),
    }),
  });
  chosen.head.on((index) => grid && grid.mark(index));
  return figure;
}

function headFrame(place, pattern, page, chosen) {
  const names = ["largest of all heads", "mean of all heads", ...pattern.heads.map((h) => h.label)];
  const indexOf = (head) => (head === "max" ? 0 : head === "mean" ? 1 : head + 2);
  const list = pickList("head", names, indexOf(chosen.head.value), (i) =>
    chosen.head.set(i === 0 ? "max" : i === 1 ? "mean" : i - 2)
  );
  const viewOf = () =>
    new HeadView({
      pattern,
      sequence: chosen.sequenceOf(),
      page,
      chosen: chosen.head.value,
      first: FIRST[chosen.first.value],
      readers: chosen.tints.value === 1,
      label: names[indexOf(chosen.head.value)],
    });
  const figure = frame(place, {
    title: "One head",
    label: "weights of one head by row and key",
    controls: [list, chooseAny(chosen.tints, "tints of the text", TINTS)],
    draw: (area, width) => {
      const view = viewOf();
      view.draw(area, width);
      follow(page, area, (row, locked) => view.select(row, locked));
    },
    table: () => viewOf().table(),
  });
  chosen.head.on((head) => {
    list.querySelector("select").selectedIndex = indexOf(head);
    drawAgain(figure);
  });
  return figure;
}

/** Ties the enlarged head to the head that other figures of the page show. */
function shareHead(page, pattern, chosen) {
  const shared = choice(page, "head", "");
  chosen.on((index) => typeof index === "number" && shared.set(pattern.heads[index].label));
  shared.on((label) => {
    const index = pattern.heads.findIndex((head) => head.label === label);
    if (index >= 0) chosen.set(index);
  });
}

/** Draws the grid and the enlarged head of one pattern beside each other. */
function drawPattern(place, section, page, group) {
  const pattern = patternOf(section, group);
  const chosen = stateOf(page, pattern, group.title);
  shareHead(page, pattern, chosen.head);
  const both = el("div", { class: "attention" });
  place.append(both);
  const head = { figure: null };
  const grid = gridFrame(both, pattern, page, chosen, () =>
    head.figure.scrollIntoView({ block: "nearest" })
  );
  head.figure = headFrame(both, pattern, page, chosen);
  for (const setting of [chosen.first, chosen.sequence])
    setting.on(() => {
      drawAgain(grid);
      drawAgain(head.figure);
    });
  chosen.tints.on(() => drawAgain(head.figure));
}

export const attention = {
  name: "attention",
  match(section) {
    const keys = patternGroups(section).flatMap((group) => group.keys);
    return keys.length ? { arrays: keys, title: "Attention" } : null;
  },
  draw(place, section, page, claimed) {
    for (const group of patternGroups(section))
      if (group.keys.some((key) => claimed.includes(key))) drawPattern(place, section, page, group);
  },
  /** Whom the row reads, who reads it; {element, tints of the tokens}. */
  detail(section, row, page) {
    const [group] = patternGroups(section);
    const pattern = patternOf(section, group);
    const { first } = stateOf(page, pattern, group.title);
    return attentionDetail(pattern, row, FIRST[first.value]);
  },
};
