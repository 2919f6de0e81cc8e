/**
 * What boxes tell when they are asked: lines of text that are read with the first question. They
 * are a third of what is in a page, and no picture needs them.
 */
class Tips {
  /** @param {HTMLElement} place of the JSON that explorer.py writes */
  constructor(place) {
    this.place = place;
    this.data = null;
    this.starts = new Map();
  }

  #read() {
    this.data ??= JSON.parse(this.place.textContent);
    return this.data;
  }

  /** The table of all lines. */
  get texts() {
    return this.#read().texts;
  }

  /**
   * The lines of one stage: `numbers` of texts, and by node where they `start`.
   * @returns {{start: Int32Array, numbers: number[]}}
   */
  of(stage) {
    const { lines, numbers } = this.#read().stages[stage];
    if (!this.starts.has(stage)) {
      const start = new Int32Array(lines.length + 1);
      lines.forEach((count, node) => (start[node + 1] = start[node] + count));
      this.starts.set(stage, start);
    }
    return { start: this.starts.get(stage), numbers };
  }
}
