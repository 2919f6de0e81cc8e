/**
 * Finding what is in a rectangle, among very many things of very different sizes.
 */

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
    /** @type {Map<number, Map<number, number[]>>} items by size of cell, then by cell */
    this.levels = new Map();
    for (let item = 0; item < count; item++) this.#add(item);
  }

  #add(item) {
    const [x, y, width, height] = this.#rectangle(item);
    const size = 2 ** Math.max(7, Math.ceil(Math.log2(Math.max(width, height, 1))));
    let cells = this.levels.get(size);
    if (!cells) this.levels.set(size, (cells = new Map()));
    const key = SpatialIndex.#key(Math.floor((x + width / 2) / size), Math.floor((y + height / 2) / size));
    const cell = cells.get(key);
    if (cell) cell.push(item);
    else cells.set(key, [item]);
  }

  #rectangle(item) {
    const r = this.rectangles;
    return [r[4 * item], r[4 * item + 1], r[4 * item + 2], r[4 * item + 3]];
  }

  static #key(column, row) {
    return (column + 4096) * 2 ** 24 + row + 4096;
  }

  /**
   * All items that touch a rectangle, in any order.
   * @returns {number[]}
   */
  within(left, top, right, bottom) {
    const found = [];
    const r = this.rectangles;
    const look = (cell) => {
      for (const item of cell) {
        const x = r[4 * item], y = r[4 * item + 1];
        if (x <= right && y <= bottom && x + r[4 * item + 2] >= left && y + r[4 * item + 3] >= top) found.push(item);
      }
    };
    for (const [size, cells] of this.levels) {
      const first = Math.floor((left - size / 2) / size), last = Math.floor((right + size / 2) / size);
      const upper = Math.floor((top - size / 2) / size), lower = Math.floor((bottom + size / 2) / size);
      if ((last - first + 1) * (lower - upper + 1) > cells.size) {
        for (const cell of cells.values()) look(cell);
        continue;
      }
      for (let column = first; column <= last; column++) {
        for (let row = upper; row <= lower; row++) {
          const cell = cells.get(SpatialIndex.#key(column, row));
          if (cell) look(cell);
        }
      }
    }
    return found;
  }
}
