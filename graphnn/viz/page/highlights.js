/**
 * What is pointed out in the picture: the selected node with all that belongs to it, what a pass
 * changed, and what was searched for.
 */

/** Nodes that are found at most for each of them to get a ring. */
const MOST_RINGS = 5000;

class Highlights {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
  }

  /**
   * @param {CanvasRenderingContext2D} canvas with the picture on it
   * @param {() => void} toPicture lets the canvas count in points of the picture
   */
  paint(canvas, toPicture) {
    const { selectedCard, folding, theme, stages, search } = this.app;
    if (this.app.related !== null) this.#belonging(canvas, toPicture);
    toPicture();
    if (selectedCard !== null) this.#ring(canvas, folding.cards[selectedCard], theme.accent, 3, false);
    for (const [node, change] of stages.changes) this.#ringAround(canvas, node, this.app.changeColour(change), 2.4, false);
    for (const node of stages.leaves) this.#ringAround(canvas, node, theme.changes.removed, 2, true);
    if (search.found.length < MOST_RINGS) for (const node of search.found) this.#ringAround(canvas, node, theme.accent, 1.4, true);
  }

  /** The selected node and what belongs to it, over a picture that is dimmed. */
  #belonging(canvas, toPicture) {
    const { app } = this;
    const { camera, graph, folding, theme, painter, related } = app;
    canvas.setTransform(1, 0, 0, 1, 0, 0);
    canvas.globalAlpha = 0.72;
    canvas.fillStyle = theme.ground;
    canvas.fillRect(0, 0, canvas.canvas.width, canvas.canvas.height);
    canvas.globalAlpha = 1;
    toPicture();
    const { zoom, seen: area } = camera;
    painter.lines(canvas, related.lines, area, zoom, true);
    const lit = [...related.nodes.keys()];
    for (const card of new Set(lit.map((node) => folding.cardOf[node]))) {
      if (card >= 0) painter.card(canvas, folding.cards[card], zoom);
    }
    const seen = lit.filter((node) => folding.cardOf[node] < 0 && touches(graph.box(node), area));
    painter.nodes(canvas, seen, zoom);
    const isLit = (node) => related.nodes.has(node);
    painter.ghosts(canvas, app.ghostsWithin(area).filter(({ node, reader }) => isLit(node) && isLit(reader)), zoom);
    for (const node of seen) {
      const relation = related.nodes.get(node);
      this.#ring(canvas, graph.box(node), theme.relations[relation], relation === "selected" ? 3 : 1.8, relation === "recomputed");
    }
  }

  /** A ring around a node that is to be seen, and not folded away. */
  #ringAround(canvas, node, colour, pixels, isDashed) {
    const { graph, folding, camera } = this.app;
    if (folding.cardOf[node] < 0 && touches(graph.box(node), camera.seen)) this.#ring(canvas, graph.box(node), colour, pixels, isDashed);
  }

  #ring(canvas, { x, y, width, height }, colour, pixels, isDashed) {
    const line = pixels / this.app.camera.zoom;
    const gap = Math.max(3, line);
    outline(canvas, { x: x - gap, y: y - gap, width: width + 2 * gap, height: height + 2 * gap }, 8);
    canvas.strokeStyle = colour;
    canvas.lineWidth = Math.min(line, 12);
    canvas.setLineDash(isDashed ? [2.5 * line, 2 * line] : []);
    canvas.stroke();
    canvas.setLineDash([]);
  }
}
