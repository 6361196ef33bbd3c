// Builds the page from its data block.
import { Page } from "./data.js";
import { figuresOf } from "./figures/index.js";
import { theme } from "./parts/colors.js";
import { el } from "./parts/dom.js";
import { Selection } from "./parts/selection.js";

function drawSection(section, page) {
  const place = el("section", { id: `section-${section.name}` }, el("h2", null, section.name));
  for (const { figure, title, arrays } of figuresOf(section)) {
    const part = el("div", { class: "figure", "data-figure": figure.name }, el("h3", null, title));
    place.append(part);
    figure.draw(part, section, page, arrays);
  }
  return place;
}

function start() {
  const page = new Page(JSON.parse(document.getElementById("data").textContent));
  page.selection = new Selection();
  Object.defineProperty(page, "theme", { get: theme });
  const main = el("main", null);
  document.body.prepend(main);
  for (const section of page.runs[0].sections) main.append(drawSection(section, page));
  document.getElementById("text").open = false;
}

start();
