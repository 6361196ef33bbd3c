// Builds the page from its data block.
import "./d3_license.js";
import { Page } from "./data.js";
import { figuresOf } from "./figures/index.js";
import { theme } from "./parts/colors.js";
import { el, slug } from "./parts/dom.js";
import { failure } from "./parts/frame.js";
import { contents, foot, head } from "./parts/layout.js";
import { inPanes, paneSwitch } from "./parts/panes.js";
import { panel } from "./parts/panel.js";
import { Selection } from "./parts/selection.js";
import { sentences } from "./parts/summary.js";
import { spine } from "./parts/tokens.js";

/** The summary of a section, and what the page lacks of it. parts: its figures. */
function words(section, parts) {
  const omitted = [...section.arrays.values()].filter((array) => array.omitted);
  const names = omitted.map((array) => array.key).join(", ");
  const note = (text) => el("p", { class: "note" }, text);
  return [
    ...sentences(section),
    parts.length + section.summary.length ? null : note("This plugin left no numbers of its own."),
    omitted.length ? note(`Too large for this page, in tensors.safetensors: ${names}.`) : null,
  ];
}

/** A part of a section: one figure, in a page of two runs in panes. */
function drawPart(part, page) {
  const { figure, section, title, arrays, values, id } = part;
  const place = el(
    "div",
    { class: "figure", id, "data-figure": figure.name },
    el("h3", null, title)
  );
  inPanes(place, section, page, (pane, shown) => {
    try {
      figure.draw(pane, shown, page, arrays, values);
    } catch (error) {
      pane.append(failure(title, error));
    }
  });
  const titles = place.querySelectorAll("h4");
  const isRepeated = title.toLowerCase() === section.name.toLowerCase();
  if (isRepeated || (titles.length === 1 && titles[0].textContent === title))
    place.firstChild.classList.add("hidden");
  return place;
}

/** The sections of the first run, and those that only the run beside it has. */
function sectionsOf([run, beside]) {
  const alone = beside ? beside.sections.filter((section) => !run.section(section.name)) : [];
  return [...run.sections, ...alone];
}

/** The parts of sections: [{figure, section, title, arrays, id}]. */
function partsOf(sections) {
  return sections.flatMap((section) =>
    figuresOf(section).map((found) => ({
      ...found,
      section,
      id: `${slug(section.name)}-${slug(found.title)}`,
    }))
  );
}

function drawSection(section, parts, page) {
  const two = page.runs.length === 2 && !section.beside;
  return el(
    "section",
    { class: "section", id: `section-${section.name}`, "data-section": section.name },
    el("h2", null, section.name),
    two ? el("p", { class: "note only" }, `In one run only: ${section.run.label}.`) : null,
    words(section, parts),
    parts.map((part) => drawPart(part, page)),
    section.docs ? el("p", { class: "note docs" }, `See ${section.docs}.`) : null
  );
}

/** Tells the style sheet how high the spine is, for links to places below it. */
function measure(sticky) {
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--spine", `${sticky ? sticky.offsetHeight : 0}px`);
  }).observe(sticky);
}

function listenToEscape(selection) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (selection.locked !== null) selection.lock(null);
    else selection.set(null);
  });
}

function start() {
  const page = new Page(JSON.parse(document.getElementById("data").textContent));
  page.selection = new Selection();
  Object.defineProperty(page, "theme", { get: theme });
  const [run] = page.runs;
  const sections = sectionsOf(page.runs);
  const parts = partsOf(sections);
  const ofSection = (section) => parts.filter((part) => part.section === section);
  const ownParts = parts.filter((part) => part.section.run === run);
  const text = document.getElementById("text");
  const tokens = spine(run, page);
  const main = el("main", { id: "figures", tabindex: "-1" });
  const toc = contents([
    ...sections.map((section) => ({
      id: `section-${section.name}`,
      title: section.name,
      figures: ofSection(section),
    })),
    { id: "about", title: "about" },
  ]);
  const columns = el(
    "div",
    { class: tokens ? "columns with-panel" : "columns" },
    toc,
    main,
    tokens ? panel(run, ownParts, page, tokens.tint) : null
  );
  document.body.prepend(
    el("a", { class: "skip", href: "#figures" }, "Skip to the figures"),
    head(page, page.runs.length === 2 ? paneSwitch() : null),
    ...(tokens ? [tokens.element] : []),
    columns,
    foot(page, text)
  );
  if (tokens) measure(tokens.element);
  for (const section of sections) main.append(drawSection(section, ofSection(section), page));
  text.open = false;
  listenToEscape(page.selection);
  document.documentElement.dataset.ready = "yes";
}

start();
