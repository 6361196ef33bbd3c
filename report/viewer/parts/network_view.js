// A network on the page: a canvas that pans and zooms, a slider for weak links, pinned nodes with
// names, paths through the node under the pointer or with the focus.
import { button, el, freshId } from "./dom.js";
import { Camera } from "./network_camera.js";
import { colorsNow } from "./network_key.js";
import { layoutOf } from "./network_layout.js";
import { lanesOf, neighbors, pathsThrough } from "./network_model.js";
import {
  linesOfLink,
  linesOfNode,
  linkNear,
  nameOf,
  nodeBeside,
  nodeNear,
} from "./network_near.js";
import { groupsOf, paintOver, paintUnder, radiusOf } from "./network_paint.js";
import { pinItem } from "./network_pins.js";
import { sheetsOf, Vector } from "./network_sheet.js";
import { short } from "./scales.js";
import { hideTip, showTip } from "./tip.js";

const AT_FIRST = 250; // links shown at first
const STEPS = 1000; // of the slider
const FAINTEST = 1e-6; // of the strongest link: where the slider begins
const EXACT = 1 - 1e-12; // a link at the threshold is shown
const FASTER = 1.4; // zoom of one key or button

/** A network with its state: what is shown, pinned, named and chosen. */
export class NetworkView {
  /** run: whose tokens; page: for the selected token. */
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.pins = new Map(); // node's name -> the reader's name for it
    this.chosen = null; // under the pointer or with the focus
    this.camera = new Camera(() => this.ask(false), hideTip);
    this.slider = el("input", {
      type: "range",
      min: 0,
      max: STEPS,
      step: 1,
      "aria-label": "Weakest link shown",
      on: { input: () => this.setStep(Number(this.slider.value)) },
    });
    this.told = el("output", { class: "network-told" });
    this.controls = [
      el(
        "label",
        { class: "network-threshold" },
        el("span", null, "Links from "),
        this.slider,
        this.told
      ),
      el(
        "span",
        { class: "network-zoom", role: "group", "aria-label": "Zoom" },
        button("\u2212", () => this.camera.zoomBy(1 / FASTER), { "aria-label": "Zoom out" }),
        button("+", () => this.camera.zoomBy(FASTER), { "aria-label": "Zoom in" }),
        button("Reset", () => this.camera.reset())
      ),
    ];
  }

  /** Shows another network in place of this one. */
  setNetwork(network) {
    this.network = network;
    this.around = neighbors(network);
    this.lanes = lanesOf(network.links);
    const sizes = network.links.map((link) => Math.abs(link.weight));
    this.sizes = sizes;
    this.ranked = sizes.map((_, i) => i).sort((a, b) => sizes[a] - sizes[b] || b - a);
    const n = sizes.length;
    this.high = n ? sizes[this.ranked[n - 1]] : 1;
    this.low = n ? Math.max(sizes[this.ranked[0]], this.high * FAINTEST) : 1;
    this.threshold = n > AT_FIRST ? sizes[this.ranked[n - AT_FIRST]] : 0;
    const others = network.nodes.filter((node) => node.kind !== "logit");
    this.most = Math.max(1e-30, ...others.map((node) => Math.abs(node.size)));
    this.rows = this.run.tokens.length
      ? 1 + Math.max(0, ...network.nodes.map((node) => node.row))
      : 0;
    this.weights = new Map(); // row -> its largest node
    for (const { row, size } of network.nodes)
      this.weights.set(row, Math.max(this.weights.get(row) || 0, Math.abs(size)));
    this.chosen = null;
    this.slider.value = this.stepAt(this.threshold);
    this.count();
  }

  // --- links shown ---

  stepAt(weight) {
    if (!(weight > this.low && this.high > this.low)) return 0;
    return Math.round((STEPS * Math.log(weight / this.low)) / Math.log(this.high / this.low));
  }
  setStep(step) {
    this.threshold = step <= 0 ? 0 : this.low * (this.high / this.low) ** (step / STEPS);
    this.count();
    this.regroup();
  }
  isShown(link) {
    return this.sizes[link] >= this.threshold * EXACT;
  }
  /** Takes the shown links from the ranked, and says how many they are. */
  count() {
    const first = this.ranked.findIndex((i) => this.isShown(i));
    this.shown = first < 0 ? [] : this.ranked.slice(first);
    const least = `${short(this.threshold)} ${this.network.unit}`.trim();
    this.slider.setAttribute("aria-valuetext", least);
    this.told.textContent = `${least}: ${this.shown.length} of ${this.ranked.length} links`;
  }

  // --- drawing ---

  /** Draws into an empty area. */
  draw(area, width) {
    if (this.rows === 0 || this.network.nodes.length === 0) {
      area.append(el("p", { class: "note" }, "This network has no nodes at tokens of the run."));
      return;
    }
    this.layout = layoutOf(this.network, this.run.tokens.slice(0, this.rows), width);
    this.colors = colorsNow();
    const [under, over] = [0, 1].map(() => el("canvas", { "aria-hidden": "true" }));
    this.board = el(
      "div",
      {
        class: "network",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "network",
        "aria-label": this.label(),
        style: { height: `${this.layout.height}px` },
      },
      el("div", { class: "network-under" }, under),
      over
    );
    this.voice = el("p", { class: "hidden", role: "status", "aria-live": "polite" });
    this.list = el("ul", { class: "network-pins", "aria-label": "Pinned nodes" });
    area.append(this.board, this.list, this.voice);
    Object.assign(this, sheetsOf(under, over, this.layout), { moving: under, painted: null });
    this.camera.attach(this.board, this.layout);
    this.listen();
    this.listPins();
    this.followSelection();
    this.regroup();
    this.paintNow(); // a page that is being printed waits for no frame
  }
  label() {
    return (
      `${this.network.nodes.length} nodes and ${this.network.links.length} links. ` +
      "Arrow keys move among the nodes, Enter pins one, plus and minus zoom, 0 shows all."
    );
  }
  scene() {
    const { network, layout, groups, paths, chosen, colors, shown, lanes } = this;
    const pins = new Map();
    network.nodes.forEach(
      (node, i) => this.pins.has(node.name) && pins.set(i, this.pins.get(node.name))
    );
    return {
      network,
      layout,
      view: this.camera.view,
      groups,
      paths,
      chosen,
      colors,
      shown,
      lanes,
      pins,
      tokens: this.run.tokens,
      row: this.page.selection.row,
      relative: (i) => Math.min(1, Math.abs(network.nodes[i].size) / this.most),
      weightOfRow: (row) => this.weights.get(row) || 0,
    };
  }
  /** Groups the links again, because other links are shown or other paths are of interest. */
  regroup() {
    if (!this.layout) return;
    const pinned = () =>
      this.network.nodes.map((_, i) => i).filter((i) => this.pins.has(this.network.nodes[i].name));
    this.paths = null;
    for (const start of this.chosen !== null ? [this.chosen] : pinned()) {
      const one = pathsThrough(this.network, this.around, start, (i) => this.isShown(i));
      if (!this.paths) this.paths = one;
      else
        for (const key of ["nodes", "links", "near"])
          one[key].forEach((i) => this.paths[key].add(i));
    }
    this.groups = groupsOf(this.network, this.layout, this.shown, this.lanes, this.paths);
    this.ask();
  }
  /** Marks the column of the selected token, while the board is in sight. */
  followSelection() {
    let seen = true;
    if (this.sight) this.sight.disconnect();
    this.sight = new IntersectionObserver((entries) => {
      const before = seen;
      seen = entries[entries.length - 1].isIntersecting;
      if (seen && !before) this.ask(false);
    });
    this.sight.observe(this.board);
    this.page.selection.on(() => seen && this.ask(false), this.board);
  }
  /** Paints with the next frame of the screen; all: also what lies under the nodes. */
  ask(all = true) {
    if (all) this.painted = null;
    if (this.asked || !this.groups) return;
    this.asked = true;
    requestAnimationFrame(() => this.paintNow());
  }
  paintNow() {
    this.asked = false;
    const scene = this.scene();
    this.paintUnder(scene);
    this.over.clear();
    paintOver(this.over, scene);
  }
  paintUnder(scene) {
    const { kx, ky, x, y } = scene.view;
    const { left, top } = this.layout.plot;
    const old = this.painted;
    const near =
      old &&
      old.kx === kx &&
      old.ky === ky &&
      Math.abs(x - old.x) <= left - this.box.left &&
      Math.abs(y - old.y) <= top - this.box.top;
    if (!near) {
      this.under.clear();
      paintUnder(this.under, scene, this.box);
      this.painted = scene.view;
    }
    this.moving.style.transform = `translate(${x - this.painted.x}px, ${y - this.painted.y}px)`;
  }
  /** The network as it is shown, as an SVG element. */
  svg() {
    const sheet = new Vector(this.layout.width, this.layout.height, "", freshId("network"));
    const scene = this.scene();
    paintUnder(sheet, scene, this.layout.plot);
    paintOver(sheet, scene);
    return sheet.root;
  }

  // --- pointer ---

  listen() {
    const listeners = {
      pointermove: (event) => this.point(event),
      click: (event) => this.click(event),
      pointerleave: () => this.leave(),
      keydown: (event) => this.key(event),
      blur: () => this.leave(),
    };
    for (const [type, listener] of Object.entries(listeners))
      this.board.addEventListener(type, listener);
  }
  pointOf(event) {
    const box = this.board.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
  point(event) {
    if (event.buttons) return;
    const at = this.pointOf(event);
    const node = nodeNear(this.layout, this.camera, at);
    this.choose(node);
    if (node !== null) {
      showTip(this.linesOf(node), event);
      return;
    }
    const link = linkNear(this.network, this.layout, this.camera, this.shown, this.lanes, at);
    if (link === null) hideTip();
    else showTip(linesOfLink(this.network, this.run, link), event);
  }
  leave() {
    hideTip();
    this.choose(null);
    this.page.selection.set(null);
  }
  click(event) {
    const node = nodeNear(this.layout, this.camera, this.pointOf(event));
    if (node !== null) this.pin(node);
  }
  /** The node whose paths are shown; null: none. */
  choose(node) {
    if (node === this.chosen) return;
    this.chosen = node;
    if (node !== null) this.page.selection.set(this.network.nodes[node].row);
    this.regroup();
  }
  linesOf(i) {
    const isShown = (link) => this.isShown(link);
    return linesOfNode(this.network, this.run, i, this.around[i], isShown);
  }

  // --- keys ---

  key(event) {
    if (event.target !== this.board || event.ctrlKey || event.metaKey || event.altKey) return;
    const pin = () => this.chosen !== null && this.pin(this.chosen);
    const near = () =>
      this.chosen === null ? null : this.camera.onBoard(this.layout.at[this.chosen]);
    const grow = () => this.camera.zoomBy(FASTER, near());
    const actions = {
      ArrowLeft: () => this.step(-1, 0),
      ArrowRight: () => this.step(1, 0),
      ArrowUp: () => this.step(0, -1),
      ArrowDown: () => this.step(0, 1),
      Enter: pin,
      " ": pin,
      "+": grow,
      "=": grow,
      "-": () => this.camera.zoomBy(1 / FASTER, near()),
      0: () => this.camera.reset(),
    };
    if (event.key === "Escape" && this.chosen !== null) {
      event.stopPropagation();
      hideTip();
      this.choose(null);
    }
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }
  /** Moves the focus to the next node in a direction, at first to the logit. */
  step(right, down) {
    const { nodes } = this.network;
    const next =
      this.chosen === null
        ? Math.max(
            0,
            nodes.findIndex((node) => node.kind === "logit")
          )
        : nodeBeside(this.layout, this.chosen, right, down);
    if (next === null) return;
    this.camera.reveal(this.layout.at[next]);
    this.choose(next);
    const box = this.board.getBoundingClientRect();
    const [x, y] = this.camera.onBoard(this.layout.at[next]);
    const lines = this.linesOf(next);
    showTip(lines, {
      x: box.left + x + radiusOf(this.layout, this.camera.view, 1),
      y: box.top + y,
    });
    this.voice.textContent = lines.join(", ");
  }

  // --- pins ---

  pin(i) {
    const { name } = this.network.nodes[i];
    if (!this.pins.delete(name)) this.pins.set(name, "");
    const state = this.pins.has(name) ? "pinned" : "no longer pinned";
    this.voice.textContent = `${nameOf(this.network, this.run, i)} ${state}`;
    this.listPins();
    this.regroup();
  }
  /** Lists the pinned nodes again, each with its name and a button that lets it go. */
  listPins() {
    const named = (node, name) => {
      this.pins.set(node.name, name);
      this.ask(false);
    };
    const unpinned = (i) => {
      this.pin(i);
      this.board.focus({ preventScroll: true });
    };
    const items = [];
    this.network.nodes.forEach((node, i) => {
      if (!this.pins.has(node.name)) return;
      const size = node.facts.length ? short(node.size) : "";
      const text = `${nameOf(this.network, this.run, i)} ${size}`;
      items.push(
        pinItem(node, text, this.pins.get(node.name), this.colors.kind(node.kind), {
          named: (name) => named(node, name),
          unpinned: () => unpinned(i),
        })
      );
    });
    this.list.replaceChildren(...items);
    this.list.hidden = items.length === 0;
  }
}
