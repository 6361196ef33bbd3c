// One head's pattern, large: rows down, keys across, with the tokens on both sides where they fit,
// and the text tinted by the weights of the chosen row.
import { ink } from "./colors.js";
import { legend } from "./colorscale.js";
import { el } from "./dom.js";
import { matrixImage, weightColor } from "./pixels.js";
import { number, readable, short } from "./scales.js";
import { fit, widest } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const LARGEST = 560; // pixels of the picture
const LABEL = 9; // least pixels of a cell that has a label
const LISTED = 4;
const RIGHT = 14; // pixels at the right, for the last number

/** Where everything is, in pixels. */
function layoutOf(width, view) {
  const { keys, rows } = view.sequence;
  const names = rows.map((_, r) => view.rowText(r).replace(/ /g, "\u00b7"));
  const wide = Math.ceil(widest(names, 92, 11)) + 8;
  const fits = (left) => Math.min(LARGEST, width - left - RIGHT) / keys;
  const labelled = fits(wide) >= LABEL;
  const left = labelled ? wide : 38;
  const exact = Math.min(28, fits(left));
  const cell = exact >= 4 ? Math.floor(exact) : exact;
  const top = labelled ? 20 + wide : 38;
  return {
    left,
    top,
    cell,
    labelled,
    names,
    width: left + keys * cell + RIGHT,
    height: top + rows.length * cell + 4,
  };
}

function tokenLabels(at, view) {
  const g = el("g", { class: "labels" });
  const size = Math.min(11, at.cell);
  at.names.forEach((name, r) =>
    g.append(
      el(
        "text",
        {
          class: "row",
          style: { "font-size": `${size}px` },
          x: at.left - 5,
          y: at.top + (r + 0.5) * at.cell + size * 0.35,
          "text-anchor": "end",
        },
        fit(name, at.left - 8, size)
      )
    )
  );
  for (let k = 0; k < view.sequence.keys; k++) {
    const x = at.left + (k + 0.5) * at.cell + size * 0.35;
    g.append(
      el(
        "text",
        {
          class: "key",
          style: { "font-size": `${size}px` },
          transform: `translate(${x},${at.top - 5}) rotate(-90)`,
        },
        fit(view.keyText(k).replace(/ /g, "\u00b7"), at.top - 24, size)
      )
    );
  }
  return g;
}

/** Positions at both sides, where tokens do not fit. */
function numberLabels(at, view) {
  const g = el("g", { class: "labels muted" });
  const { keys, rows } = view.sequence;
  const step = [5, 10, 20, 50, 100, 200, 500].find((n) => n * at.cell >= 34) || 1000;
  for (let k = 0; k < keys; k += step)
    g.append(
      el(
        "text",
        { x: at.left + (k + 0.5) * at.cell, y: at.top - 5, "text-anchor": "middle" },
        String(view.pattern.position(k))
      )
    );
  for (let r = 0; r < rows.length; r += step)
    g.append(
      el(
        "text",
        { x: at.left - 5, y: at.top + (r + 0.5) * at.cell + 4, "text-anchor": "end" },
        String(view.rowPosition(r))
      )
    );
  return g;
}

/** The picture of one head, its marks and its text. */
export class HeadView {
  /** given: {pattern, sequence, chosen (index, "max" or "mean"), first, label, page, readers}. */
  constructor(given) {
    Object.assign(this, given);
    this.matrix = this.pattern.matrix(this.chosen, this.sequence, this.first);
    this.cursor = [0, 0];
    this.marked = [];
  }

  rowText(r) {
    return readable(this.pattern.text(this.runRow(r)));
  }
  keyText(k) {
    return readable(this.pattern.text(this.pattern.keyRow(this.sequence, k)));
  }
  runRow(r) {
    return this.pattern.runRow(this.sequence.rows[r]);
  }
  rowPosition(r) {
    return this.pattern.positionOf(this.sequence, r);
  }

  draw(area, width) {
    const at = layoutOf(width, this);
    this.at = at;
    const { keys, rows } = this.sequence;
    const [w, h] = [keys * at.cell, rows.length * at.cell];
    const pixels = Math.min(2, globalThis.devicePixelRatio || 1);
    this.band = el("rect", {
      class: "band",
      "pointer-events": "none",
      x: at.left,
      width: w,
      height: at.cell,
      fill: "none",
      stroke: "var(--accent)",
      "stroke-width": 1.5,
      visibility: "hidden",
    });
    this.mark = el("rect", {
      class: "cursor",
      "pointer-events": "none",
      width: at.cell,
      height: at.cell,
      fill: "none",
      stroke: "var(--ink)",
      "stroke-width": 1.5,
      visibility: "hidden",
    });
    this.labels = at.labelled ? tokenLabels(at, this) : numberLabels(at, this);
    this.svg = el("svg", {
      class: "attention-head",
      width: at.width,
      height: at.height,
      role: "img",
      viewBox: `0 0 ${at.width} ${at.height}`,
      tabindex: "0",
      "aria-label":
        `${this.label}: ` +
        `weights of ${rows.length} rows and ${keys} keys; arrow keys move, Enter locks a row`,
    });
    this.svg.append(
      el("text", { x: 0, y: 13, style: { "font-weight": 600 } }, this.label),
      this.labels,
      el("image", {
        x: at.left,
        y: at.top,
        width: w,
        height: h,
        preserveAspectRatio: "none",
        style: { "image-rendering": "pixelated" },
        href: matrixImage(this.matrix, keys, this.pattern.most, w * pixels, h * pixels),
      }),
      el("rect", {
        x: at.left - 0.5,
        y: at.top - 0.5,
        width: w + 1,
        height: h + 1,
        fill: "none",
        stroke: "var(--grid)",
      }),
      this.band,
      this.mark
    );
    this.readout = el("p", { class: "readout", "aria-live": "polite" });
    area.append(
      el("div", { class: "scroller" }, this.svg),
      this.legend(),
      this.readout,
      this.text()
    );
    this.listen();
  }

  legend() {
    const { most, signed } = this.pattern;
    const low = signed ? -most : 0;
    return legend(
      {
        low,
        high: most,
        signed,
        color: (weight) => weightColor(weight, most),
        value: (at) => low + at * (most - low),
      },
      this.pattern.legend
    );
  }

  text() {
    this.chips = this.sequence.rows.map((_, r) =>
      el(
        "span",
        {
          "data-row": this.runRow(r),
          on: {
            pointerenter: () => this.page.selection.set(this.runRow(r)),
            click: () => this.page.selection.lock(this.runRow(r)),
          },
        },
        this.rowText(r)
      )
    );
    return el(
      "p",
      {
        class: "attention-text",
        tabindex: "0",
        role: "group",
        "aria-label": "the text; its tokens are tinted by the weights of the chosen row",
      },
      this.chips
    );
  }

  listen() {
    const { svg, at, page } = this;
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const k = Math.floor((event.clientX - box.left - at.left) / at.cell);
      const r = Math.floor((event.clientY - box.top - at.top) / at.cell);
      const inside = r >= 0 && r < this.sequence.rows.length && k < this.sequence.keys;
      if (inside && k >= 0) this.enter(r, k, event);
      else this.leave();
      if (inside) page.selection.set(this.runRow(r));
    });
    svg.addEventListener("pointerleave", () => this.leave());
    svg.addEventListener("blur", () => this.leave());
    svg.addEventListener("click", (event) => {
      const r = Math.floor((event.clientY - svg.getBoundingClientRect().top - at.top) / at.cell);
      if (r >= 0 && r < this.sequence.rows.length) page.selection.lock(this.runRow(r));
    });
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const { selection } = this.page;
    if (event.key === "Enter") selection.lock(this.runRow(this.cursor[0]));
    if (event.key === "Escape" && selection.locked !== null) selection.lock(null);
    const [dr, dk] = {
      ArrowDown: [1, 0],
      ArrowUp: [-1, 0],
      ArrowRight: [0, 1],
      ArrowLeft: [0, -1],
    }[event.key] || [0, 0];
    if (!dr && !dk) return;
    event.preventDefault();
    const r = Math.min(this.sequence.rows.length - 1, Math.max(0, this.cursor[0] + dr));
    const k = Math.min(this.sequence.keys - 1, Math.max(0, this.cursor[1] + dk));
    const box = this.svg.getBoundingClientRect();
    selection.set(this.runRow(r));
    this.enter(r, k, {
      x: box.left + this.at.left + (k + 1) * this.at.cell,
      y: box.top + this.at.top + (r + 1) * this.at.cell,
    });
  }

  enter(r, k, place) {
    this.cursor = [r, k];
    this.mark.setAttribute("x", this.at.left + k * this.at.cell);
    this.mark.setAttribute("y", this.at.top + r * this.at.cell);
    this.mark.setAttribute("visibility", "visible");
    showTip(
      [
        this.label,
        `@${this.rowPosition(r)} '${this.rowText(r)}'`,
        `reads @${this.pattern.position(k)} '${this.keyText(k)}'`,
        this.weightText(r, k),
      ],
      place
    );
  }

  leave() {
    this.mark.setAttribute("visibility", "hidden");
    hideTip();
  }

  weightText(r, k) {
    const { pattern, chosen } = this;
    const i = this.sequence.rows[r];
    if (pattern.position(k) > this.rowPosition(r)) return "weight 0: a later position";
    if (this.first !== "shown" && pattern.position(k) === 0) return "first position: left out";
    if (typeof chosen === "number" && !pattern.isKept(pattern.heads[chosen], i, k))
      return "weight too small: not in the page";
    return `weight ${number(this.matrix[r * this.sequence.keys + k])}`;
  }

  /** Shows the selected row of the run (or null): band, labels, tints and words. */
  select(row, locked) {
    for (const node of this.marked) node.removeAttribute("class");
    this.chips.forEach((chip) => chip.removeAttribute("style"));
    this.marked = [];
    const place = row === null ? undefined : this.pattern.place.get(row);
    if (!place || this.pattern.sequences[place.sequence] !== this.sequence) {
      this.band.setAttribute("visibility", "hidden");
      this.readout.textContent =
        "Point at a row or a token to see what it reads; a click locks it.";
      return;
    }
    this.band.setAttribute("y", this.at.top + place.index * this.at.cell);
    this.band.setAttribute("visibility", "visible");
    this.chips[place.index].setAttribute("class", locked === row ? "chosen locked" : "chosen");
    this.marked.push(this.chips[place.index]);
    this.tint(place.index);
  }

  /** Tints the text by what row r reads, or by who reads it. */
  tint(r) {
    const { keys, rows } = this.sequence;
    const found = [];
    const self = this.pattern.keyAt(this.rowPosition(r));
    for (let c = 0; c < (this.readers ? rows.length : keys); c++) {
      const weight = this.readers ? this.matrix[c * keys + self] : this.matrix[r * keys + c];
      if (!weight) continue;
      const place = this.readers
        ? { index: c }
        : this.pattern.place.get(this.pattern.keyRow(this.sequence, c));
      if (!place) continue;
      found.push({ index: place.index, weight });
      const color = weightColor(weight, this.pattern.most);
      this.chips[place.index].style.background = color;
      this.chips[place.index].style.color = ink(color);
    }
    found.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
    const list = found
      .slice(0, LISTED)
      .map(({ index, weight }) => `'${this.rowText(index)}' ${short(weight)}`)
      .join(", ");
    this.readout.textContent =
      `@${this.rowPosition(r)} '${this.rowText(r)}' ` +
      `${this.readers ? "is read by" : "reads"} ${list || "nothing that is shown"}.`;
  }

  /** The numbers: one line per row and key; only of the locked row if there is one. */
  table() {
    const { keys } = this.sequence;
    const { locked } = this.page.selection;
    const lines = [];
    this.sequence.rows.forEach((_, r) => {
      if (locked !== null && this.pattern.place.has(locked) && this.runRow(r) !== locked) return;
      for (let k = 0; k < keys; k++) {
        const weight = this.matrix[r * keys + k];
        if (weight)
          lines.push([
            this.rowPosition(r),
            this.rowText(r),
            this.pattern.position(k),
            this.keyText(k),
            number(weight),
          ]);
      }
    });
    return { head: ["row", "its token", "key", "its token", this.label], rows: lines };
  }
}
