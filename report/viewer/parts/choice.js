// A setting of a figure that all panes share: the chosen head, the chosen statistic.

class Choice {
  constructor(value) {
    this.value = value;
    this.listeners = new Set();
  }
  /** Changes the value and tells the listeners. */
  set(value) {
    if (value === this.value) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener(value);
  }
  /** Calls listener(value) at every change. Returns a function that ends this. */
  on(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The page's choice of this name; first: its value if it is new. */
export function choice(page, name, first) {
  if (!page.choices) page.choices = new Map();
  if (!page.choices.has(name)) page.choices.set(name, new Choice(first));
  return page.choices.get(name);
}
