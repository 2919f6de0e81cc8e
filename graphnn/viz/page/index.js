/**
 * Finding what is in a rectangle, among very many things of very different sizes.
 */

/** Sides of the smallest cells, in points. */
const LEAST_CELL = 128;

/**
 * A loose quadtree in flat arrays. Each item lies in one cell: of the level whose cells are at
 * least as large as it is, and where its centre is. So a search looks half a cell further.
 */
class SpatialIndex {
  /**
   * @param {ArrayLike<number>} rectangles x, y, width, height of each item, one after the other
   */
  constructor(rectangles) {
    const count = rectangles.length / 4;
    this.rectangles = rectangles;
    /** @type {Map<number, Map<number, number>>} numbers of cells, by their size and place */
    this.levels = new Map();
    const cells = new Int32Array(count);
    let total = 0;
    // Neighbours in a list are often neighbours in the picture.
    let latestSize = 0, latestKey = NaN, latestCell = 0;
    for (let item = 0; item < count; item++) {
      const at = 4 * item;
      const width = rectangles[at + 2], height = rectangles[at + 3];
      let size = LEAST_CELL;
      while (size < width || size < height) size *= 2;
      const column = Math.floor((rectangles[at] + width / 2) / size);
      const key = SpatialIndex.#key(column, Math.floor((rectangles[at + 1] + height / 2) / size));
      if (key !== latestKey || size !== latestSize) {
        let level = this.levels.get(size);
        if (!level) this.levels.set(size, (level = new Map()));
        latestCell = level.get(key) ?? total;
        if (latestCell === total) level.set(key, total++);
        [latestKey, latestSize] = [key, size];
      }
      cells[item] = latestCell;
    }
    this.cells = grouped(cells, total);
  }

  static #key(column, row) {
    return (column + 64) * 2 ** 22 + row + 64;
  }

  /**
   * All items that touch a rectangle, in any order.
   * @returns {number[]}
   */
  within(left, top, right, bottom) {
    const found = [];
    const r = this.rectangles;
    const { start, items } = this.cells;
    const look = (cell) => {
      for (let i = start[cell]; i < start[cell + 1]; i++) {
        const at = 4 * items[i];
        const x = r[at], y = r[at + 1];
        if (x <= right && y <= bottom && x + r[at + 2] >= left && y + r[at + 3] >= top) found.push(items[i]);
      }
    };
    for (const [size, level] of this.levels) {
      const first = Math.floor(left / size - 0.5), last = Math.floor(right / size + 0.5);
      const upper = Math.floor(top / size - 0.5), lower = Math.floor(bottom / size + 0.5);
      if ((last - first + 1) * (lower - upper + 1) > level.size) {
        for (const cell of level.values()) look(cell);
        continue;
      }
      for (let column = first; column <= last; column++) {
        for (let row = upper; row <= lower; row++) {
          const cell = level.get(SpatialIndex.#key(column, row));
          if (cell !== undefined) look(cell);
        }
      }
    }
    return found;
  }
}
