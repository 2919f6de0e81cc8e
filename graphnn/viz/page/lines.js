/**
 * The edges as few lines: pieces of one kind that lie on each other are drawn once.
 *
 * A weight that 1,000 time steps read is one rail with 1,000 taps. Drawn edge by edge the rail
 * would be painted 1,000 times.
 */
class Lines {
  /**
   * @param {Graph} graph
   * @param {number[]} edges those to draw
   */
  constructor(graph, edges) {
    this.graph = graph;
    /** Numbers of the edges that are curves, which are drawn as they are. */
    this.curves = edges.filter((edge) => graph.isCurve.has(edge));
    /** @type {number[]} kind, x, y, x, y of each straight piece */
    this.pieces = [];
    /** @type {number[]} kind, x, y, and the direction of each arrowhead */
    this.heads = [];
    this.#split(edges.filter((edge) => !graph.isCurve.has(edge)));
    this.pieceIndex = new SpatialIndex(Lines.#rectangles(this.pieces));
    this.headIndex = new SpatialIndex(Lines.#points(this.heads));
    this.curveIndex = new SpatialIndex(this.#curveRectangles());
  }

  #split(edges) {
    const { points, pointStart, edgeKind } = this.graph;
    const rails = new Map();
    const heads = new Set();
    for (const edge of edges) {
      const kind = edgeKind[edge];
      const end = pointStart[edge + 1];
      for (let at = pointStart[edge]; at + 3 < end; at += 2) {
        this.#piece(rails, kind, points[at], points[at + 1], points[at + 2], points[at + 3]);
      }
      if (end - pointStart[edge] >= 4) this.#head(heads, kind, points.subarray(end - 4, end));
    }
    for (const rail of rails.values()) this.#join(rail);
  }

  #piece(rails, kind, x0, y0, x1, y1) {
    const isLevel = y0 === y1;
    if (!isLevel && x0 !== x1) {
      this.pieces.push(kind, x0, y0, x1, y1);
      return;
    }
    const fixed = isLevel ? y0 : x0;
    const from = isLevel ? Math.min(x0, x1) : Math.min(y0, y1);
    const to = isLevel ? Math.max(x0, x1) : Math.max(y0, y1);
    if (from === to) return;
    const key = (Math.round(fixed * 10) * 2 + (isLevel ? 1 : 0)) * this.graph.kinds.length + kind;
    const rail = rails.get(key);
    if (rail) rail.spans.push([from, to]);
    else rails.set(key, { kind, isLevel, fixed, spans: [[from, to]] });
  }

  /** Spans of one rail that overlap become one. */
  #join({ kind, isLevel, fixed, spans }) {
    if (spans.length > 1) spans.sort((a, b) => a[0] - b[0]);
    let [from, to] = spans[0];
    const put = () => {
      if (isLevel) this.pieces.push(kind, from, fixed, to, fixed);
      else this.pieces.push(kind, fixed, from, fixed, to);
    };
    for (let i = 1; i < spans.length; i++) {
      if (spans[i][0] <= to + 0.2) to = Math.max(to, spans[i][1]);
      else {
        put();
        [from, to] = spans[i];
      }
    }
    put();
  }

  #head(heads, kind, [x0, y0, x1, y1]) {
    const key = `${kind},${x1},${y1}`;
    if (heads.has(key)) return;
    heads.add(key);
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    this.heads.push(kind, x1, y1, (x1 - x0) / length, (y1 - y0) / length);
  }

  static #rectangles(rows) {
    const rectangles = new Float64Array((rows.length / 5) * 4);
    for (let i = 0; i < rows.length / 5; i++) {
      const [x0, y0, x1, y1] = [rows[5 * i + 1], rows[5 * i + 2], rows[5 * i + 3], rows[5 * i + 4]];
      rectangles.set([Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)], 4 * i);
    }
    return rectangles;
  }

  static #points(rows) {
    const rectangles = new Float64Array((rows.length / 5) * 4);
    for (let i = 0; i < rows.length / 5; i++) rectangles.set([rows[5 * i + 1], rows[5 * i + 2], 0, 0], 4 * i);
    return rectangles;
  }

  #curveRectangles() {
    const { points, pointStart } = this.graph;
    const rectangles = [];
    for (const edge of this.curves) {
      let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
      for (let at = pointStart[edge]; at < pointStart[edge + 1]; at += 2) {
        left = Math.min(left, points[at]);
        right = Math.max(right, points[at]);
        top = Math.min(top, points[at + 1]);
        bottom = Math.max(bottom, points[at + 1]);
      }
      rectangles.push(left, top, right - left, bottom - top);
    }
    return rectangles;
  }
}
