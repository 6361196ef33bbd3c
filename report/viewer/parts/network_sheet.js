// Two sheets with one interface, on which a network is painted: a canvas, and an SVG for saving.
//
//   path(d, style)            style: {fill, stroke, width, alpha, dash}
//   links(d, style, view, key) a path in coordinates of the layout, under the view {kx, ky, x, y}
//   text(x, y, string, style)  style: {size, fill, anchor, turn (degrees), weight, halo}
//   clipped(box, paint)        paints inside of {left, top, right, bottom}
import { el } from "./dom.js";

const AROUND = 0.4; // of the plot painted beyond each of its edges
const BASELINE = 0.35; // of a letter's size, below its middle

/** A canvas that shows width by height pixels from the point origin on. */
export class Raster {
  constructor(canvas, width, height, family, origin = [0, 0]) {
    const scale = Math.min(2, devicePixelRatio || 1);
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    Object.assign(this, { scale, width, height, family, origin });
    this.context = canvas.getContext("2d");
    this.paths = new Map(); // key -> {d, kx, ky, path}
  }
  /** Coordinates are the page's pixels from here on, moved by x and y. */
  move(x, y) {
    const { scale, origin } = this;
    this.context.setTransform(scale, 0, 0, scale, scale * (x - origin[0]), scale * (y - origin[1]));
  }
  clear() {
    this.move(0, 0);
    this.context.clearRect(...this.origin, this.width, this.height);
  }
  draw(path, { fill, stroke, width = 1, alpha = 1, dash }) {
    const { context } = this;
    context.globalAlpha = alpha;
    if (fill) {
      context.fillStyle = fill;
      context.fill(path);
    }
    if (!stroke) return;
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.setLineDash(dash || []);
    context.stroke(path);
  }
  path(d, style) {
    this.draw(new Path2D(d), style);
  }
  /** The path is kept as it is stretched, so that moving it costs no new one. */
  links(d, style, { kx, ky, x, y }, key) {
    let kept = this.paths.get(key);
    if (!kept || kept.d !== d || kept.kx !== kx || kept.ky !== ky) {
      kept = { d, kx, ky, path: new Path2D() };
      kept.path.addPath(new Path2D(d), new DOMMatrix([kx, 0, 0, ky, 0, 0]));
      this.paths.set(key, kept);
    }
    this.move(x, y);
    this.draw(kept.path, style);
    this.move(0, 0);
  }
  text(x, y, string, { size = 11, fill, anchor = "start", turn = 0, weight = 400, halo }) {
    const { context } = this;
    context.save();
    context.translate(x, y);
    context.rotate((turn * Math.PI) / 180);
    context.font = `${weight} ${size}px ${this.family}`;
    context.textAlign = anchor === "middle" ? "center" : anchor;
    context.globalAlpha = 1;
    context.setLineDash([]);
    if (halo) {
      context.strokeStyle = halo;
      context.lineWidth = 3;
      context.lineJoin = "round";
      context.strokeText(string, 0, size * BASELINE);
    }
    context.fillStyle = fill;
    context.fillText(string, 0, size * BASELINE);
    context.restore();
  }
  clipped({ left, top, right, bottom }, paint) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    paint();
    context.restore();
  }
}

/**
 * Two canvases as sheets: {under, over, box}. Nodes and texts, over, are painted anew with every
 * frame. What lies under them has a margin around the plot, to the edges of box, and is only moved
 * while the reader drags.
 */
export function sheetsOf(under, over, layout) {
  const family = getComputedStyle(document.body).fontFamily;
  const { left, right, top, bottom } = layout.plot;
  const [wide, tall] = [right - left, bottom - top];
  const [dx, dy] = [AROUND * wide, AROUND * tall];
  Object.assign(under.style, { left: `${-dx}px`, top: `${-dy}px` });
  const window = { left: `${left}px`, top: `${top}px`, width: `${wide}px`, height: `${tall}px` };
  Object.assign(under.parentNode.style, window);
  return {
    under: new Raster(under, wide + 2 * dx, tall + 2 * dy, family, [left - dx, top - dy]),
    over: new Raster(over, layout.width, layout.height, family),
    box: { left: left - dx, right: right + dx, top: top - dy, bottom: bottom + dy },
  };
}

/** An SVG element of width by height pixels, in .root. */
export class Vector {
  constructor(width, height, family, id) {
    this.root = el("svg", {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "font-family": family,
    });
    this.at = this.root;
    this.id = id;
    this.clips = 0;
  }
  path(d, { fill, stroke, width = 1, alpha = 1, dash }, transform) {
    return this.at.appendChild(
      el("path", {
        d,
        transform,
        fill: fill || "none",
        stroke: stroke || "none",
        "stroke-width": stroke ? width : null,
        opacity: alpha === 1 ? null : alpha,
        "stroke-dasharray": dash && dash.length ? dash.join(" ") : null,
      })
    );
  }
  links(d, style, view) {
    const { kx, ky, x, y } = view;
    if (d)
      this.path(d, style, `matrix(${kx} 0 0 ${ky} ${x} ${y})`).setAttribute(
        "vector-effect",
        "non-scaling-stroke"
      );
  }
  text(x, y, string, { size = 11, fill, anchor = "start", turn = 0, weight = 400, halo }) {
    this.at.append(
      el(
        "text",
        {
          transform: `translate(${x.toFixed(1)},${y.toFixed(1)}) rotate(${turn})`,
          y: size * BASELINE,
          "text-anchor": anchor,
          style: {
            fill,
            "font-size": `${size}px`,
            "font-weight": weight,
            ...(halo
              ? {
                  stroke: halo,
                  "stroke-width": "3px",
                  "paint-order": "stroke",
                  "stroke-linejoin": "round",
                }
              : {}),
          },
        },
        string
      )
    );
  }
  clipped({ left, top, right, bottom }, paint) {
    const id = `${this.id}-clip-${this.clips++}`;
    const clip = el(
      "clipPath",
      { id },
      el("rect", { x: left, y: top, width: right - left, height: bottom - top })
    );
    const group = el("g", { "clip-path": `url(#${id})` });
    this.at.append(el("defs", null, clip), group);
    const before = this.at;
    this.at = group;
    paint();
    this.at = before;
  }
}
