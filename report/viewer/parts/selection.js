// The token that the reader points at. Figures set it and listen to it.

export class Selection {
  constructor() {
    this.row = null;
    this.locked = null;
    this.listeners = new Set();
  }
  /** The pointer or focus is at a row; null: nowhere. A locked row stays. */
  set(row) {
    if (this.locked !== null || row === this.row) return;
    this.row = row;
    this.tell();
  }
  /** Keeps a row selected until it is locked again or another is; null: unlocks. */
  lock(row) {
    if (row === null && this.locked === null) return;
    this.locked = row === this.locked ? null : row;
    if (this.locked !== null) this.row = this.locked;
    this.tell();
  }
  tell() {
    for (const listener of this.listeners) listener(this.row, this.locked);
  }
  /**
   * Calls listener(row, locked) at every change. Returns a function that ends this. With an element
   * the calls also end when that element has left the page.
   */
  on(listener, element) {
    let wasThere = false;
    const guarded = element
      ? (row, locked) => {
          wasThere = wasThere || element.isConnected;
          if (wasThere && !element.isConnected) this.listeners.delete(guarded);
          else listener(row, locked);
        }
      : listener;
    this.listeners.add(guarded);
    return () => this.listeners.delete(guarded);
  }
}
