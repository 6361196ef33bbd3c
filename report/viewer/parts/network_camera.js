// Pan and zoom of a network: d3-zoom moves the width; the height follows once the columns of tokens
// are as wide as the lines of nodes are high.
import * as selection from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { eventOf } from "./dom.js";

const MOST_ZOOM = 40;
const WHEEL = 0.003; // powers of 2 per pixel of a wheel
const WHEEL_LINE = 0.05; // and per line

/** The event that a listener of either D3 was called for. */
const nativeOf = (first) => (first && first.type ? first : selection["event"]);

const inside = (value, low, high) => Math.max(low, Math.min(high, value));

export class Camera {
  /** changed(): called after every move; started(): when the reader begins one. */
  constructor(changed, started) {
    this.changed = changed;
    this.started = started;
    this.transform = zoomIdentity;
    this.view = { kx: 1, ky: 1, x: 0, y: 0 };
  }

  /** Listens on a board that shows a layout. Two fingers pan; one scrolls the page. */
  attach(board, layout) {
    const { left, right, top, bottom } = layout.plot;
    const box = [
      [left, top],
      [right, bottom],
    ];
    this.layout = layout;
    this.zoom = zoom()
      .scaleExtent([1, MOST_ZOOM])
      .extent(box)
      .translateExtent(box)
      .clickDistance(4)
      .filter((first) => {
        const event = nativeOf(first);
        return !event.button && !(event.touches && event.touches.length < 2);
      })
      .on("start", this.started)
      .on("zoom", (first) => {
        this.transform = eventOf(first).transform;
        this.lay(this.transform);
        this.changed();
      });
    this.surface = selection
      .select(board)
      .call(this.zoom)
      .on("wheel.zoom", null)
      .on("dblclick.zoom", null);
    board.style.touchAction = "pan-y";
    this.surface.call(this.zoom.transform, this.transform);
    board.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** How far k stretches the height. */
  heightAt(k) {
    return Math.max(1, k / Math.max(1, this.layout.cell[1] / this.layout.cell[0]));
  }

  /** Where the layout lies on the screen under a transform of d3-zoom. */
  lay({ k, x, y }) {
    const { top, bottom } = this.layout.plot;
    const ky = this.heightAt(k);
    // 0: the top is seen, 1: the bottom
    const part = k > 1 ? (top * (1 - k) - y) / ((bottom - top) * (k - 1)) : 0;
    this.view = { kx: k, ky, x, y: top * (1 - ky) - part * (bottom - top) * (ky - 1) };
  }

  /** Zooms to k, and brings a point of the layout to a point of the board if the edges let it. */
  lookAt(k, [wx, wy], [px, py]) {
    const { left, right, top, bottom } = this.layout.plot;
    const ky = this.heightAt(k);
    const tall = bottom - top;
    const part = ky > 1 ? inside((top * (1 - ky) - (py - wy * ky)) / (tall * (ky - 1)), 0, 1) : 0.5;
    const x = inside(px - wx * k, right * (1 - k), left * (1 - k));
    const y = top * (1 - k) - part * tall * (k - 1);
    this.surface.call(this.zoom.transform, zoomIdentity.translate(x, y).scale(k));
  }

  center() {
    const { left, right, top, bottom } = this.layout.plot;
    return [(left + right) / 2, (top + bottom) / 2];
  }

  /** Zooms around a point of the board; without one around its center. */
  zoomBy(factor, point) {
    const { kx, ky, x, y } = this.view;
    const at = point || this.center();
    this.lookAt(inside(kx * factor, 1, MOST_ZOOM), [(at[0] - x) / kx, (at[1] - y) / ky], at);
  }

  /** Shows all. */
  reset() {
    if (this.surface) this.surface.call(this.zoom.transform, zoomIdentity);
  }

  /** The wheel scrolls the page; with Ctrl it zooms. */
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = event.currentTarget.getBoundingClientRect();
    const step = event.deltaMode === 1 ? WHEEL_LINE : WHEEL;
    this.zoomBy(2 ** (-event.deltaY * step), [event.clientX - box.left, event.clientY - box.top]);
  }

  /** The place of a point of the layout on the board. */
  onBoard([x, y]) {
    const { kx, ky, x: dx, y: dy } = this.view;
    return [x * kx + dx, y * ky + dy];
  }

  /** Brings a point of the layout into sight. */
  reveal(point) {
    const { left, right, top, bottom } = this.layout.plot;
    const [x, y] = this.onBoard(point);
    if (x > left + 8 && x < right - 8 && y > top + 8 && y < bottom - 8) return;
    this.lookAt(this.view.kx, point, this.center());
  }
}
