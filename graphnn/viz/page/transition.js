/**
 * Boxes on their way from where one stage has them to where the next one does.
 *
 * A pass may move everything. Boxes that stay are followed by the eye if they move, not if they
 * jump; who asks for reduced motion sees the new places at once.
 */
const TRANSITION_TIME = 350;
/** Boxes that are moved at once. */
const MOST_MOVED = 4000;
/** Nodes in sight that are looked for in another stage. */
const MOST_TRIED = 50;

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

/** The boxes that there are, where the screen shows them. */
function placesOnScreen({ camera, graph }) {
  return Array.from({ length: graph.count }, (_, node) => {
    const { x, y, width, height } = graph.box(node);
    const [left, top] = camera.toScreen(x, y);
    return { left, top, width: width * camera.zoom, height: height * camera.zoom };
  });
}

/**
 * What brings boxes from their places on the screen to those of this stage; null if too many.
 *
 * @param {Explorer} app at the new stage already
 * @param {object[]} before places on the screen, as `placesOnScreen` gives them
 * @param {[number, number][]} pairs nodes with their numbers in the stage before
 */
function transitionFrom(app, before, pairs) {
  const { camera } = app;
  if (pairs.length > MOST_MOVED) return null;
  const starts = pairs.map(([node, old]) => {
    const { left, top, width, height } = before[old];
    const [x, y] = camera.toGraph(left, top);
    return [node, { x, y, width: width / camera.zoom, height: height / camera.zoom }];
  });
  return new Transition(app, new Map(starts));
}

/** What the selected node, or that nearest to the middle, is in another stage; and where it was. */
function heldBetween({ camera, graph, nodeIndex, selected, stages }, from, to) {
  const away = (node) => Math.hypot(middle(graph.box(node)).x - camera.x, middle(graph.box(node)).y - camera.y);
  const near = nodeIndex.within(...camera.seen).sort((a, b) => away(a) - away(b)).slice(0, MOST_TRIED);
  for (const node of selected === null ? near : [selected, ...near]) {
    const there = stages.follow(node, from, to);
    if (there !== null) return [there, middle(graph.box(node))];
  }
  return [null, null];
}

/** The middle of a box. */
function middle({ x, y, width, height }) {
  return { x: x + width / 2, y: y + height / 2 };
}
