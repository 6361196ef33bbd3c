// Trees of spans as nested boxes, one level above the other. A box is as wide as its span; its
// height is the logarithm of its units, so that a box is always lower than the one around it.
import { el } from "./dom.js";
import { number } from "./scales.js";
import { smallestAt } from "./span_trees.js";
import { hideTip, showTip } from "./tip.js";
import { placeIn, unitChart, unitLayout } from "./unit_axis.js";

const LEFT = 2;
const GAP = 22; // of two levels; the lower one has its name there
const LONGEST = 60; // characters of a span's text
const POSITIONS = /^(head|most_sufficient|head_by_reads|first_seen)$/;

/** A span's text, shortened in the middle. */
export function excerpt(text) {
  const characters = [...text.trim()];
  if (characters.length <= LONGEST) return text.trim();
  return `${characters.slice(0, LONGEST - 22).join("")} … ${characters.slice(-20).join("")}`;
}

/** The lines of a tooltip about a bracket. */
export function spanLines(trees, sequence, node) {
  const lines = [
    `level ${trees.levels[node.level]}  [${node.from}, ${node.to}]`,
    `“${excerpt(trees.textOf(sequence.id, node.from, node.to))}”`,
    `cut after “${sequence.units[node.cut].text.trim()}”`,
  ];
  for (const array of trees.measures) {
    const value = array.at(node.level, node.span);
    const name = array.key.replace(/_/g, " ");
    if (POSITIONS.test(array.key) && value >= 0)
      lines.push(`${name} ${value} “${unitText(trees, sequence, value)}”`);
    else if (!Number.isNaN(value))
      lines.push(`${name} ${value === -1 && array.dtype === "I32" ? "none" : number(value)}`);
  }
  const others = trees.sharedWith(node);
  if (trees.levels.length > 1)
    lines.push(others.length ? `also at level ${others.join(", ")}` : "at no other level");
  return lines;
}

function unitText(trees, sequence, position) {
  const unit = sequence.unitOf.get(position);
  return (
    unit === undefined ? trees.textOf(sequence.id, position, position) : sequence.units[unit].text
  ).trim();
}

/** The unit that heads a bracket, where it is not the last one; else null. */
function markedHead(trees, sequence, node) {
  const head = trees.section.array("head");
  if (!head || head.omitted || head.axes.join() !== "levels,spans") return null;
  const unit = sequence.unitOf.get(head.at(node.level, node.span));
  return unit === undefined || unit === node.last ? null : unit;
}

/** The chart of all levels of one sequence. */
export class SpanChart {
  /** given: {trees, sequence, color(node) -> fill, page, tell(lines)}. */
  constructor(given) {
    Object.assign(this, given);
    this.here = null;
  }

  draw(area, width) {
    const { trees, sequence } = this;
    const n = sequence.units.length;
    this.high = Math.min(140, 34 + 12 * Math.log2(Math.max(2, n)));
    this.scale = this.high / Math.log2(Math.max(2, n));
    const at = unitLayout(width, sequence.units, LEFT, trees.levels.length * (this.high + GAP) + 4);
    this.at = at;
    this.base = (level) => at.top + (level + 1) * (this.high + GAP) - 2;
    const names = trees.levels.map((label, level) => ({
      text: `level ${label}`,
      y: this.base(level) - this.high - 6,
    }));
    this.chart = unitChart(
      area,
      at,
      names,
      `trees of ${n} units at ${trees.levels.length} levels; ` + "arrow keys move between brackets"
    );
    const cursor = { fill: "none", visibility: "hidden", "pointer-events": "none" };
    this.twins = trees.levels.map(() =>
      el("rect", {
        class: "twin",
        ...cursor,
        stroke: "var(--accent)",
        "stroke-width": 2,
        "stroke-dasharray": "4 2",
      })
    );
    this.cursor = el("rect", {
      class: "cursor",
      ...cursor,
      stroke: "var(--ink)",
      "stroke-width": 2,
    });
    this.cut = el("line", {
      class: "cut",
      visibility: "hidden",
      "pointer-events": "none",
      stroke: "var(--ink)",
      "stroke-width": 2,
    });
    trees.levels.forEach((_, level) => this.chart.body.append(this.boxes(level)));
    this.chart.body.append(...this.twins, this.cursor, this.cut);
    if (at.width > width + 1) area.prepend(this.overview(width));
    this.listen();
  }

  heightOf(node) {
    return this.scale * Math.log2(node.length);
  }

  /** x, y, width and height of a bracket's box. */
  boxOf(node) {
    const height = this.heightOf(node);
    return {
      x: this.at.x(node.first) + 0.5,
      y: this.base(node.level) - height,
      width: node.length * this.at.step - 1,
      height,
    };
  }

  boxes(level) {
    const g = el("g", { class: "level", "data-level": this.trees.levels[level] });
    for (const node of this.trees.tree(level, this.sequence)) {
      const box = this.boxOf(node);
      g.append(
        el("rect", {
          class: "span",
          "data-span": `${node.from}-${node.to}`,
          ...box,
          fill: this.color(node),
          stroke: "var(--muted)",
          "stroke-width": 0.7,
        })
      );
      const head = markedHead(this.trees, this.sequence, node);
      if (head !== null)
        g.append(
          el("circle", {
            class: "head-mark",
            cx: this.at.x(head) + this.at.step / 2,
            cy: box.y + 4,
            r: 2.5,
            fill: "var(--ink)",
            stroke: "var(--paper)",
            "stroke-width": 0.7,
          })
        );
    }
    return g;
  }

  /** The cuts of all levels over the whole text: longer lines cut longer spans. */
  overview(width) {
    const { trees, sequence, chart, at } = this;
    const line = 18;
    const height = trees.levels.length * (line + 3);
    const x = (unit) => (unit / sequence.units.length) * width;
    const svg = el("svg", {
      class: "overview",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": "overview of the cuts; a click scrolls the chart",
    });
    trees.levels.forEach((_, level) => {
      const base = (level + 1) * (line + 3);
      const part = line / Math.log2(sequence.units.length);
      svg.append(
        el("path", {
          fill: "none",
          stroke: "var(--muted)",
          d: trees
            .tree(level, sequence)
            .map(
              (node) =>
                `M${x(node.cut + 1).toFixed(1)} ${base}v${(-part * Math.log2(node.length)).toFixed(
                  1
                )}`
            )
            .join(""),
        })
      );
    });
    const seen = el("rect", { y: 0, height, fill: "var(--accent)", "fill-opacity": 0.18 });
    svg.append(seen);
    const { scroller } = chart;
    const update = () => {
      seen.setAttribute("x", (scroller.scrollLeft / (at.width - at.left)) * width);
      seen.setAttribute("width", ((scroller.clientWidth - at.left) / (at.width - at.left)) * width);
    };
    const go = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const [place] = placeIn(svg, event);
      scroller.scrollLeft = (place / width) * (at.width - at.left) - scroller.clientWidth / 2;
    };
    svg.addEventListener("pointerdown", go);
    svg.addEventListener("pointermove", go);
    scroller.addEventListener("scroll", update, { passive: true });
    requestAnimationFrame(update);
    return svg;
  }

  levelAt(y) {
    return Math.floor((y - this.at.top) / (this.high + GAP));
  }

  /** The bracket at a place of the chart; null where there is none. */
  nodeAt(x, y) {
    const level = this.levelAt(y);
    const unit = this.at.unitAt(x);
    if (level < 0 || level >= this.trees.levels.length) return null;
    const above = this.base(level) - y;
    if (above < 0) return null;
    return smallestAt(
      this.trees.tree(level, this.sequence),
      unit,
      (node) => this.heightOf(node) >= above
    );
  }

  show(node, place) {
    this.here = node || this.here;
    for (const rect of [this.cursor, ...this.twins]) rect.setAttribute("visibility", "hidden");
    this.cut.setAttribute("visibility", node ? "visible" : "hidden");
    if (!node) {
      hideTip();
      return;
    }
    this.outline(this.cursor, node);
    this.twins.forEach((rect, level) => {
      const twin = level === node.level ? null : this.trees.twin(node, level, this.sequence);
      if (twin) this.outline(rect, twin);
    });
    const x = this.at.x(node.cut + 1);
    const { y } = this.boxOf(node);
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: y, y2: this.base(node.level) }))
      this.cut.setAttribute(name, value);
    const lines = spanLines(this.trees, this.sequence, node);
    this.tell(lines);
    showTip(lines, place);
  }

  outline(rect, node) {
    for (const [name, value] of Object.entries(this.boxOf(node))) rect.setAttribute(name, value);
    rect.setAttribute("visibility", "visible");
  }

  listen() {
    const { svg } = this.chart;
    const select = (x) => {
      const unit = this.sequence.units[this.at.unitAt(x)];
      const row = unit ? this.trees.rowOf(this.sequence.id, unit.last) : null;
      return row;
    };
    svg.addEventListener("pointermove", (event) => {
      const [x, y] = placeIn(svg, event);
      this.show(this.nodeAt(x, y), event);
      const row = select(x);
      if (row !== null) this.page.selection.set(row);
    });
    svg.addEventListener("click", (event) => {
      const row = select(placeIn(svg, event)[0]);
      if (row !== null) this.page.selection.lock(row);
    });
    svg.addEventListener("pointerleave", () => this.show(null));
    svg.addEventListener("blur", () => this.show(null));
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const next = this.neighbor(event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (!next) return;
    this.chart.reveal(next.cut);
    const box = this.chart.svg.getBoundingClientRect();
    const { x, y, width } = this.boxOf(next);
    this.show(next, { x: box.left + Math.min(x + width, x + 200), y: box.top + y });
  }

  /** Where an arrow key leads: up to what is around, down to what is inside, or to the side. */
  neighbor(key) {
    const tree = (level) => this.trees.tree(level, this.sequence);
    if (!/^Arrow/.test(key)) return undefined;
    const { here } = this;
    if (!here) return tree(0)[0] || null;
    if (key === "ArrowLeft") return largestBefore(tree(here.level), here);
    if (key === "ArrowRight") return largestAfter(tree(here.level), here);
    if (key === "ArrowUp") return here.up || (here.level > 0 ? tree(here.level - 1)[0] : null);
    return (
      here.children[0] ||
      (here.level + 1 < this.trees.levels.length ? tree(here.level + 1)[0] : null)
    );
  }
}

/** The bracket that ends before another begins, the nearest and of these the largest. */
function largestBefore(tree, here) {
  const before = tree.filter((node) => node.last < here.first);
  return before.sort((a, b) => b.last - a.last || b.length - a.length)[0] || null;
}

/** The bracket that begins after another ends, the nearest and of these the largest. */
function largestAfter(tree, here) {
  const after = tree.filter((node) => node.first > here.last);
  return after.sort((a, b) => a.first - b.first || b.length - a.length)[0] || null;
}
