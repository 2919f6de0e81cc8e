/**
 * Boxes on their way from where one stage has them to where the next one does.
 *
 * A pass may move everything. Boxes that stay are followed by the eye if they move, not if they
 * jump; who asks for reduced motion sees the new places at once.
 */
const TRANSITION_TIME = 350;
/** Boxes that are moved at once. */
const MOST_MOVED = 4000;

class Transition {
  /**
   * @param {Explorer} app at the new stage already
   * @param {Map<number, object>} starts by node: its box before, in points of the new picture
   */
  constructor(app, starts) {
    this.app = app;
    this.starts = starts;
    this.began = performance.now();
  }

  get isOver() {
    return performance.now() - this.began >= TRANSITION_TIME;
  }

  /** Where the boxes that stay are now: x, y, width, height of every node. */
  get boxes() {
    const part = Math.min((performance.now() - this.began) / TRANSITION_TIME, 1);
    const eased = part * part * (3 - 2 * part);
    const boxes = this.app.graph.boxes.slice();
    for (const [node, { x, y, width, height }] of this.starts) {
      [x, y, width, height].forEach((from, side) => {
        boxes[4 * node + side] = from + (boxes[4 * node + side] - from) * eased;
      });
    }
    return boxes;
  }

  /** Paint what stays, and nothing else; the canvas counts in points of the picture. */
  paint(canvas, scale) {
    const { graph, painter, folding } = this.app;
    const places = graph.boxes;
    graph.boxes = this.boxes;
    painter.nodes(canvas, [...this.starts.keys()].filter((node) => folding.cardOf[node] < 0), scale);
    graph.boxes = places;
  }
}
