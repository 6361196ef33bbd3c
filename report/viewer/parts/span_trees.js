// Trees of spans: per level the brackets over the units of a text, as the arrays have them.
//   units [units, edges], brackets [levels, spans, edges], parent [levels, spans],
//   same [levels, spans, levels]
// Positions count along a sequence; units and spans of several sequences follow each other.

import { readable } from "./scales.js";

const EDGES = "edges";

/** True if a section has trees of spans. */
export function hasTrees(section) {
  return (
    section.has("units", ["units", EDGES]) &&
    section.has("brackets", ["levels", "spans", EDGES]) &&
    section.has("parent", ["levels", "spans"])
  );
}

/** The trees of a section. */
export class SpanTrees {
  constructor(section) {
    this.section = section;
    this.levels = Array.from({ length: section.axis("levels").n }, (_, l) =>
      section.axis("levels").label(l)
    );
    this.rows = new Map(); // "sequence position" -> row of the run
    section.run.tokens.forEach((token, row) =>
      this.rows.set(`${token.sequence} ${token.position}`, row)
    );
    this.readUnits();
    // A difference has no strengths: the spans of two runs are not the same.
    this.measures = [...section.arrays.values()].filter(
      (array) =>
        !array.omitted &&
        array.axes.join() === "levels,spans" &&
        array.key !== "parent" &&
        (array.dtype === "I32" || !section.isDifference)
    );
    this.trees = new Map();
  }

  readUnits() {
    const { section } = this;
    const units = section.array("units");
    const sequence = section.array("unit_sequence");
    const found = new Map();
    for (let u = 0; u < units.shape[0]; u++) {
      const id = sequence ? sequence.at(u) : 0;
      if (!found.has(id)) found.set(id, { id, units: [], unitOf: new Map() });
      const own = found.get(id);
      const unit = {
        index: own.units.length,
        first: units.at(u, 0),
        last: units.at(u, 1),
        whole: u,
      };
      unit.text = this.textOf(id, unit.first, unit.last) || section.axis("units").label(u);
      for (let p = unit.first; p <= unit.last; p++) own.unitOf.set(p, unit.index);
      own.units.push(unit);
    }
    this.sequences = [...found.values()];
    const spanSequence = section.array("span_sequence");
    const n = section.array("brackets").shape[1];
    for (const own of this.sequences) own.spans = [];
    const byId = new Map(this.sequences.map((own) => [own.id, own]));
    for (let s = 0; s < n; s++) {
      const own = byId.get(spanSequence ? spanSequence.at(s) : this.sequences[0].id);
      if (own) own.spans.push(s);
    }
  }

  /** The row of the run at a position; null where the run lacks it. */
  rowOf(id, position) {
    const row = this.rows.get(`${id} ${position}`);
    return row === undefined ? null : row;
  }

  /** The text of the tokens from one position to another, control characters visible. */
  textOf(id, first, last) {
    let text = "";
    for (let p = first; p <= last; p++) {
      const row = this.rowOf(id, p);
      if (row !== null) text += this.section.run.tokens[row].text;
    }
    return readable(text);
  }

  /** The sequence and unit of a row of the run; null where no unit has it. */
  placeOf(row) {
    const token = row === null ? null : this.section.run.tokens[row];
    const own = token ? this.sequences.findIndex(({ id }) => id === token.sequence) : -1;
    const unit = own < 0 ? undefined : this.sequences[own].unitOf.get(token.position);
    return unit === undefined ? null : { sequence: own, unit };
  }

  /**
   * The tree of a level over a sequence, in pre-order: [{span, level, first, last (units), length
   * (units), cut (the unit before the cut), children, up (the bracket around it or null)}].
   */
  tree(level, sequence) {
    const name = `${level} ${sequence.id}`;
    if (this.trees.has(name)) return this.trees.get(name);
    const brackets = this.section.array("brackets");
    const parent = this.section.array("parent");
    const byIndex = new Map();
    const tree = [];
    for (const span of sequence.spans) {
      const [from, to] = [brackets.at(level, span, 0), brackets.at(level, span, 1)];
      const [first, last] = [sequence.unitOf.get(from), sequence.unitOf.get(to)];
      if (first === undefined || last === undefined) continue;
      const node = {
        span,
        level,
        from,
        to,
        first,
        last,
        length: last - first + 1,
        children: [],
        up: null,
      };
      byIndex.set(span, node);
      tree.push(node);
    }
    for (const node of tree) {
      node.up = byIndex.get(parent.at(level, node.span)) || null;
      if (node.up) node.up.children.push(node);
    }
    for (const node of tree) {
      const left = node.children.find((child) => child.first === node.first);
      node.cut = left ? left.last : node.first;
    }
    this.trees.set(name, tree);
    return tree;
  }

  /** The other levels that have the same bracket: [names]. */
  sharedWith(node) {
    const same = this.section.array("same");
    if (!same || same.omitted) return [];
    return this.levels.filter(
      (_, level) => level !== node.level && same.at(node.level, node.span, level) >= 0
    );
  }

  /** The bracket of another level with the same edges; null if there is none. */
  twin(node, level, sequence) {
    return (
      this.tree(level, sequence).find(({ from, to }) => from === node.from && to === node.to) ||
      null
    );
  }
}

/** The smallest bracket at a unit that still satisfies isIn(node); tree[0] is the whole. */
export function smallestAt(tree, unit, isIn) {
  let node = tree[0];
  if (!node || unit < node.first || unit > node.last || !isIn(node)) return null;
  for (;;) {
    const child = node.children.find((one) => unit >= one.first && unit <= one.last && isIn(one));
    if (!child) return node;
    node = child;
  }
}
