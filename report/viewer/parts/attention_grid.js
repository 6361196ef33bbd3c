// All heads of a pattern as small pictures, layers down and heads across. Their pixels are one
// image; each head is a button over it.
import { el } from "./dom.js";
import { gridImage } from "./pixels.js";
import { readable, short } from "./scales.js";
import { fit, widest } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const GAP = 3;
const LEAST = 26; // pixels of a picture: fingers can tap it
const MOST = 110;
const TOP = 18;
const HIGHEST = 640; // pixels of the whole grid, where pictures can be smaller

function layoutOf(width, pattern) {
  const downs = Array.from(
    { length: pattern.down },
    (_, d) => pattern.heads.find((head) => head.down === d).downLabel
  );
  const left = pattern.downName ? Math.ceil(widest(downs, 60)) + 22 : 2;
  const byWidth = (width - left) / pattern.across - GAP;
  const byHeight = HIGHEST / pattern.down - GAP;
  const side = Math.floor(Math.max(LEAST, Math.min(MOST, byWidth, Math.max(40, byHeight))));
  const step = side + GAP;
  return {
    left,
    side,
    step,
    downs,
    width: left + pattern.across * step,
    height: TOP + pattern.down * step,
  };
}

function labels(at, pattern) {
  const g = el("g", { class: "muted" });
  const prefix = { layers: "L", heads: "H" };
  at.downs.forEach((label, d) =>
    g.append(
      el(
        "text",
        { x: at.left - 6, "text-anchor": "end", y: TOP + d * at.step + at.side / 2 + 4 },
        (prefix[pattern.downName] || "") + label
      )
    )
  );
  for (let a = 0; a < pattern.across; a++) {
    const label = (prefix[pattern.acrossName] || "") + pattern.heads[a].acrossLabel;
    g.append(
      el(
        "text",
        { x: at.left + a * at.step + at.side / 2, y: 12, "text-anchor": "middle" },
        fit(label, at.step)
      )
    );
  }
  return g;
}

/** What a head does, in lines for the tooltip and the screen reader. */
export function headLines(pattern, sequence, index) {
  const { first, strongest } = pattern.summaries(sequence)[index];
  const lines = [pattern.heads[index].label];
  if (pattern.position(0) === 0) lines.push(`mean weight of the first position ${short(first)}`);
  if (strongest) {
    const from = readable(pattern.text(pattern.runRow(sequence.rows[strongest.r])));
    const to = readable(pattern.text(pattern.keyRow(sequence, strongest.k)));
    lines.push(`largest elsewhere ${short(strongest.weight)}: “${from}” reads “${to}”`);
  }
  return lines;
}

/** One transparent button per head over the picture; arrow keys move between them. */
function buttons(at, pattern, sequence, choose) {
  const g = el("g", { class: "heads" });
  pattern.heads.forEach((head, index) => {
    const tell = (place) => showTip(headLines(pattern, sequence, index), place);
    g.append(
      el("rect", {
        class: "head-button",
        "data-head": head.label,
        role: "button",
        tabindex: "-1",
        "aria-label": headLines(pattern, sequence, index).join(", "),
        x: at.left + head.across * at.step - 1,
        y: TOP + head.down * at.step - 1,
        width: at.side + 2,
        height: at.side + 2,
        fill: "transparent",
        stroke: "var(--grid)",
        on: {
          click: () => choose(index, true),
          pointermove: tell,
          pointerleave: hideTip,
          focus: (event) => tell(event.target),
          blur: hideTip,
        },
      })
    );
  });
  g.addEventListener("keydown", (event) => {
    const index = [...g.children].indexOf(event.target);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(index, true);
    }
    const next = neighbor(pattern, index, event.key);
    if (next === null) return;
    event.preventDefault();
    choose(next, false);
    g.children[next].focus();
  });
  return g;
}

/** The head beside a head in the direction of an arrow key; null for other keys and at the edge. */
function neighbor(pattern, index, key) {
  const [down, across] = {
    ArrowDown: [1, 0],
    ArrowUp: [-1, 0],
    ArrowRight: [0, 1],
    ArrowLeft: [0, -1],
  }[key] || [0, 0];
  const here = pattern.heads[index];
  if (!here || (!down && !across)) return null;
  const next = pattern.heads.findIndex(
    (head) => head.down === here.down + down && head.across === here.across + across
  );
  return next < 0 ? null : next;
}

/** Returns mark(index or null): shows which head is chosen, and lets Tab reach it. */
function marker(over) {
  return (chosen) =>
    [...over.children].forEach((rect, index) => {
      const isChosen = index === chosen;
      const isFirst = index === 0 && typeof chosen !== "number";
      rect.setAttribute("aria-pressed", String(isChosen));
      rect.setAttribute("tabindex", isChosen || isFirst ? "0" : "-1");
      rect.setAttribute("stroke", isChosen ? "var(--accent)" : "var(--grid)");
      rect.setAttribute("stroke-width", isChosen ? "2.5" : "1");
    });
}

/** Returns markRow(row of the run or null): a line through all pictures at the row. */
function rowMarker(line, at, pattern, sequence) {
  return (row) => {
    const place = row === null ? undefined : pattern.place.get(row);
    if (!place || pattern.sequences[place.sequence] !== sequence) {
      line.setAttribute("d", "");
      return;
    }
    const y = TOP + ((place.index + 0.5) / sequence.rows.length) * at.side;
    const lines = pattern.heads.map(
      (head) => `M${at.left + head.across * at.step} ${y + head.down * at.step}h${at.side}`
    );
    line.setAttribute("d", lines.join(""));
  };
}

/**
 * Draws the grid into area. choose(index, enlarge): the reader took a head; enlarge is false while
 * arrow keys pass over it. Returns {mark(index or null), markRow(row of the run or null)}.
 */
export function attentionGrid(area, width, pattern, sequence, first, choose) {
  const at = layoutOf(width, pattern);
  const pixels = Math.min(2, globalThis.devicePixelRatio || 1);
  const [side, gap] = [at.side, GAP].map((size) => Math.round(size * pixels));
  const svg = el("svg", {
    class: "attention-grid",
    width: at.width,
    height: at.height,
    role: "group",
    viewBox: `0 0 ${at.width} ${at.height}`,
    "aria-label": "heads; arrow keys move between them",
  });
  const line = el("path", {
    fill: "none",
    stroke: "var(--accent)",
    opacity: 0.75,
    "pointer-events": "none",
  });
  const over = buttons(at, pattern, sequence, choose);
  const picture = el("image", {
    href: gridImage(pattern, sequence, first, side, gap),
    x: at.left,
    y: TOP,
    width: pattern.across * at.step,
    height: pattern.down * at.step,
    preserveAspectRatio: "none",
  });
  svg.append(labels(at, pattern), picture, line, over);
  area.append(el("div", { class: "scroller" }, svg));
  return { mark: marker(over), markRow: rowMarker(line, at, pattern, sequence) };
}
