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
    const { points, pointStart, edgeKind, kinds } = this.graph;
    // The latest span on every rail. Edges come in the order of time, so that one which overlaps
    // another nearly always follows it.
    const latest = new Map();
    const heads = new Set();
    for (const edge of edges) {
      const kind = edgeKind[edge];
      const end = pointStart[edge + 1];
      for (let at = pointStart[edge]; at + 3 < end; at += 2) {
        this.#piece(latest, kind, points[at], points[at + 1], points[at + 2], points[at + 3]);
      }
      if (end - pointStart[edge] < 4) continue;
      const [x, y] = [points[end - 2], points[end - 1]];
      const key = (Math.round(x * 10) * 2 ** 22 + Math.round(y * 10)) * kinds.length + kind;
      if (heads.has(key)) continue;
      heads.add(key);
      const [dx, dy] = [x - points[end - 4], y - points[end - 3]];
      const length = Math.hypot(dx, dy) || 1;
      this.heads.push(kind, x, y, dx / length, dy / length);
    }
  }

  /** Add a straight piece, or lengthen the one that it lies on. */
  #piece(latest, kind, x0, y0, x1, y1) {
    const { pieces } = this;
    const isLevel = y0 === y1;
    if (isLevel && x0 === x1) return;
    if (!isLevel && x0 !== x1) {
      pieces.push(kind, x0, y0, x1, y1);
      return;
    }
    const key = (Math.round((isLevel ? y0 : x0) * 10) * 2 + (isLevel ? 1 : 0)) * this.graph.kinds.length + kind;
    const known = latest.get(key);
    const start = isLevel ? 1 : 2;
    const from = isLevel ? Math.min(x0, x1) : Math.min(y0, y1);
    const to = isLevel ? Math.max(x0, x1) : Math.max(y0, y1);
    if (known !== undefined && from <= pieces[known + start + 2] && to >= pieces[known + start]) {
      pieces[known + start] = Math.min(pieces[known + start], from);
      pieces[known + start + 2] = Math.max(pieces[known + start + 2], to);
      return;
    }
    latest.set(key, pieces.length);
    if (isLevel) pieces.push(kind, from, y0, to, y0);
    else pieces.push(kind, x0, from, x0, to);
  }

  static #rectangles(rows) {
    const rectangles = new Float64Array((rows.length / 5) * 4);
    for (let i = 0; i < rows.length / 5; i++) {
      const x0 = rows[5 * i + 1], y0 = rows[5 * i + 2], x1 = rows[5 * i + 3], y1 = rows[5 * i + 4];
      rectangles[4 * i] = Math.min(x0, x1);
      rectangles[4 * i + 1] = Math.min(y0, y1);
      rectangles[4 * i + 2] = Math.abs(x1 - x0);
      rectangles[4 * i + 3] = Math.abs(y1 - y0);
    }
    return rectangles;
  }

  static #points(rows) {
    const rectangles = new Float64Array((rows.length / 5) * 4);
    for (let i = 0; i < rows.length / 5; i++) {
      rectangles[4 * i] = rows[5 * i + 1];
      rectangles[4 * i + 1] = rows[5 * i + 2];
    }
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
