/**
 * Painting a part of the picture: with text when it is near, as coloured blocks when it is far.
 */

/** Pixels for a point from which on each thing can be recognised. */
const NEAR = { label: 0.3, detail: 0.62, heads: 0.3, rounded: 0.3, ghostText: 0.7, edgeLabels: 0.6, lines: 0.05 };
/** Pixels that letters need to be read. */
const LEGIBLE = 6.5;

/**
 * Points outside of what is seen that are painted nevertheless. Lines and areas of a million points
 * take long to paint, even if little of them is seen. A multiple of the lengths of all dashes.
 */
const BEYOND = 420;

class Painter {
  /** @param {Explorer} app what is to be seen, and how */
  constructor(app) {
    this.app = app;
  }

  /**
   * Paint what lies in a rectangle of the picture; the canvas counts in its points already.
   * @param {CanvasRenderingContext2D} canvas
   * @param {number[]} area left, top, right, bottom
   * @param {number} scale pixels for a point
   */
  paint(canvas, area, scale) {
    const { folding, theme } = this.app;
    canvas.fillStyle = theme.ground;
    canvas.fillRect(area[0], area[1], area[2] - area[0], area[3] - area[1]);
    this.#bands(canvas, area, scale);
    this.#groups(canvas, area, scale);
    this.lines(canvas, folding.linesBelow, area, scale);
    this.#cards(canvas, area, scale);
    this.lines(canvas, folding.linesAbove, area, scale);
    const nodes = this.app.nodeIndex.within(...area).filter((node) => folding.cardOf[node] < 0);
    this.nodes(canvas, nodes, scale);
    if (scale >= NEAR.rounded) this.ghosts(canvas, this.app.ghostsWithin(area), scale);
    this.#cuts(canvas, area, scale);
    if (scale >= NEAR.edgeLabels) this.#edgeLabels(canvas, area);
  }

  #bands(canvas, area, scale) {
    for (const band of this.app.graph.bands) {
      if (!touches(band, area)) continue;
      const { fill, line } = this.app.theme.band(band.tone);
      canvas.globalAlpha = CLEAR.includes(band.tone) ? (this.app.theme.isDark ? 0.5 : 0.6) : 1;
      canvas.fillStyle = fill;
      outline(canvas, cut(band, area), scale < NEAR.rounded ? 0 : 8);
      canvas.fill();
      canvas.globalAlpha = scale * band.width < 12 ? 0.12 : 0.35;
      canvas.strokeStyle = line;
      canvas.lineWidth = Math.max(1, 0.6 / scale);
      canvas.stroke();
    }
    canvas.globalAlpha = 1;
  }

  #groups(canvas, area, scale) {
    for (const frame of this.app.groupFrames) {
      if (!touches(frame, area)) continue;
      const colour = this.app.theme.group(frame.kind);
      outline(canvas, cut(frame, area), scale < NEAR.rounded ? 0 : 8);
      canvas.globalAlpha = 0.07;
      canvas.fillStyle = colour;
      canvas.fill();
      canvas.globalAlpha = 0.7;
      canvas.strokeStyle = colour;
      canvas.lineWidth = Math.max(1, 0.7 / scale);
      canvas.stroke();
      canvas.globalAlpha = 1;
    }
  }

  #cards(canvas, area, scale) {
    const { folding } = this.app;
    for (const number of folding.cardIndex.within(...area)) this.card(canvas, folding.cards[number], scale);
  }

  /** One card: what is folded away, and how much of it. */
  card(canvas, card, scale) {
    const { theme, fonts } = this.app;
    const look = theme.nodes[card.style];
    const inset = Math.min(4, card.height / 6);
    canvas.fillStyle = look.fill;
    canvas.strokeStyle = look.line;
    canvas.lineWidth = Math.max(1.2, 0.8 / scale);
    outline(canvas, card, 8);
    canvas.fill();
    canvas.stroke();
    canvas.globalAlpha = 0.4;
    outline(canvas, { x: card.x + inset, y: card.y + inset, width: card.width - 2 * inset, height: card.height - 2 * inset }, 5);
    canvas.stroke();
    canvas.globalAlpha = 1;
    const size = Math.min(Math.max(12, 13 / scale), card.height / 4, card.width / 8);
    if (size * scale < 6) return;
    canvas.fillStyle = theme.text;
    canvas.textAlign = "center";
    const [x, y] = [card.x + card.width / 2, card.y + card.height / 2];
    canvas.font = `600 ${size}px ${fonts}`;
    canvas.fillText(card.label, x, y, card.width - 16);
    canvas.font = `${0.75 * size}px ${fonts}`;
    canvas.fillText(`${grouping(card.members.length)} nodes`, x, y + 1.2 * size, card.width - 16);
  }

  /** Straight pieces, curves and arrowheads of some edges; lit ones are drawn bold. */
  lines(canvas, lines, area, scale, isLit = false) {
    const { graph, theme } = this.app;
    const strength = isLit ? 1 : Math.min(1, Math.max(0.25, scale / 0.35));
    const all = lines.pieces;
    const pieces = lines.pieceIndex.within(...area);
    const curves = lines.curveIndex.within(...area).map((at) => lines.curves[at]);
    const byKind = graph.kinds.map(() => new Path2D());
    const used = new Set();
    for (const piece of pieces) {
      const at = 5 * piece;
      const kind = all[at], x0 = all[at + 1], y0 = all[at + 2], x1 = all[at + 3], y1 = all[at + 4];
      if (!isLit && scale < NEAR.lines && Math.abs(x1 - x0) + Math.abs(y1 - y0) < 2 / scale) continue;
      if (y0 === y1) {
        byKind[kind].moveTo(nearEnd(x0, area[0]), y0);
        byKind[kind].lineTo(Math.min(x1, area[2] + BEYOND), y0);
      } else if (x0 === x1) {
        byKind[kind].moveTo(x0, nearEnd(y0, area[1]));
        byKind[kind].lineTo(x0, Math.min(y1, area[3] + BEYOND));
      } else {
        byKind[kind].moveTo(x0, y0);
        byKind[kind].lineTo(x1, y1);
      }
      used.add(kind);
    }
    for (const edge of curves) {
      trace(byKind[graph.edgeKind[edge]], graph, edge);
      used.add(graph.edgeKind[edge]);
    }
    canvas.globalAlpha = strength;
    for (const kind of used) this.#stroke(canvas, byKind[kind], theme.edges[graph.kinds[kind]], scale, isLit);
    if (scale >= NEAR.heads) {
      for (const head of lines.headIndex.within(...area)) this.#arrow(canvas, lines.heads, head);
      for (const edge of curves) this.#arrowOf(canvas, edge);
    }
    canvas.globalAlpha = 1;
  }

  #stroke(canvas, path, style, scale, isLit) {
    canvas.strokeStyle = style.line;
    canvas.lineWidth = isLit ? Math.max(style.width + 0.8, 1.4 / scale) : Math.max(style.width, 0.6 / scale);
    canvas.lineCap = style.dashes.length > 0 ? "butt" : "round";
    canvas.setLineDash(scale < NEAR.heads ? [] : style.dashes);
    canvas.stroke(path);
    canvas.setLineDash([]);
  }

  #arrow(canvas, heads, head) {
    const style = this.app.theme.edges[this.app.graph.kinds[heads[5 * head]]];
    const [x, y, dx, dy] = [heads[5 * head + 1], heads[5 * head + 2], heads[5 * head + 3], heads[5 * head + 4]];
    const [length, half] = [6 + style.width, 2.4 + 0.4 * style.width];
    canvas.fillStyle = style.line;
    canvas.beginPath();
    canvas.moveTo(x, y);
    canvas.lineTo(x - length * dx - half * dy, y - length * dy + half * dx);
    canvas.lineTo(x - length * dx + half * dy, y - length * dy - half * dx);
    canvas.fill();
  }

  /** The arrowhead at the end of one edge. */
  #arrowOf(canvas, edge) {
    const { points, pointStart, edgeKind } = this.app.graph;
    const [x0, y0, x1, y1] = points.subarray(pointStart[edge + 1] - 4, pointStart[edge + 1]);
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    this.#arrow(canvas, [edgeKind[edge], x1, y1, (x1 - x0) / length, (y1 - y0) / length], 0);
  }

  /** Boxes, by their looks; then the texts on them. */
  nodes(canvas, nodes, scale) {
    const { graph, theme } = this.app;
    const isNear = scale >= NEAR.rounded;
    const byLook = new Map();
    for (const node of nodes) {
      const key = `${graph.columns.style[node]} ${this.app.fillOf(node) ?? ""} ${graph.isRecomputed.has(node)} ${graph.isOutput.has(node)}`;
      const members = byLook.get(key);
      if (members) members.push(node);
      else byLook.set(key, [node]);
    }
    for (const members of byLook.values()) {
      const first = members[0];
      const look = theme.nodes[graph.text("style", first)];
      const fill = this.app.fillOf(first);
      if (!isNear) {
        canvas.fillStyle = fill ?? look.far;
        for (const node of members) this.#block(canvas, node, scale);
        continue;
      }
      canvas.beginPath();
      for (const node of members) {
        const box = graph.box(node);
        canvas.roundRect(box.x, box.y, box.width, box.height, Math.min(look.radius, box.height / 2));
      }
      canvas.fillStyle = fill ?? look.fill;
      canvas.fill();
      canvas.strokeStyle = look.line;
      canvas.lineWidth = graph.isOutput.has(first) ? 2.6 : 1.2;
      canvas.setLineDash(graph.isRecomputed.has(first) ? [5, 3] : []);
      canvas.stroke();
      canvas.setLineDash([]);
    }
    if (scale >= NEAR.label) for (const node of nodes) this.#texts(canvas, node, scale);
  }

  /** Badges with the names of what boxes read from far away. */
  ghosts(canvas, ghosts, scale) {
    const { graph, theme, fonts } = this.app;
    canvas.font = `7.5px ${fonts}`;
    canvas.textAlign = "center";
    canvas.lineWidth = 0.8;
    for (const ghost of ghosts) {
      const look = theme.nodes[graph.text("style", ghost.node)];
      outline(canvas, ghost, 4);
      canvas.fillStyle = look.fill;
      canvas.fill();
      canvas.strokeStyle = look.line;
      canvas.stroke();
      if (scale < NEAR.ghostText) continue;
      canvas.fillStyle = theme.text;
      canvas.fillText(clipped(ghost.text), ghost.x + ghost.width / 2, ghost.y + ghost.height / 2 + 2.7);
    }
  }

  #block(canvas, node, scale) {
    const { boxes } = this.app.graph;
    const at = 4 * node;
    const least = 1 / scale;
    canvas.fillRect(boxes[at], boxes[at + 1], Math.max(boxes[at + 2], least), Math.max(boxes[at + 3], least));
  }

  #texts(canvas, node, scale) {
    const { graph, theme, fonts, style } = this.app;
    const { x, y, width, height } = graph.box(node);
    const fill = this.app.fillOf(node);
    const value = this.app.valueText(node);
    const detail = value ?? graph.text("second", node);
    canvas.fillStyle = fill ? readableOn(fill) : theme.text;
    canvas.textAlign = "center";
    // A low box has room for its name alone; its colour, and a look at it, tell an overlay's number.
    const hasDetail = detail !== "" && scale >= NEAR.detail && height >= style.labelSize + style.detailSize + 6;
    const label = clipped(graph.text("first", node));
    if (!hasDetail && scale < 1) {
      // A single line may be larger than usual, so that it is read from further away.
      const size = Math.min(10 / scale, 0.6 * height, (1.5 * (width - 4)) / label.length);
      if (Math.max(size, style.labelSize) * scale < LEGIBLE) return;
      canvas.font = `${Math.max(size, style.labelSize)}px ${fonts}`;
      canvas.fillText(label, x + width / 2, y + height / 2 + 0.35 * Math.max(size, style.labelSize), width - 4);
      return;
    }
    canvas.font = `${style.labelSize}px ${fonts}`;
    canvas.fillText(label, x + width / 2, hasDetail ? y + 15 : y + height / 2 + 4, width - 4);
    if (hasDetail) {
      canvas.font = `${value === null ? "" : "600 "}${style.detailSize}px ${fonts}`;
      canvas.globalAlpha = value === null ? 0.8 : 1;
      canvas.fillText(clipped(detail), x + width / 2, y + height - 7, width - 4);
      canvas.globalAlpha = 1;
    }
    const badges = graph.badges.get(node);
    if (badges) this.#tag(canvas, clipped(badges.join("  ")), x + width - 4, y - 1, theme.muted, "right");
  }

  /** Small words with the ground behind them, so that lines do not cross them out. */
  #tag(canvas, text, x, y, colour, align) {
    const { theme, fonts } = this.app;
    canvas.font = `7.5px ${fonts}`;
    canvas.textAlign = align;
    canvas.lineWidth = 3;
    canvas.lineJoin = "round";
    canvas.strokeStyle = theme.ground;
    canvas.strokeText(text, x, y);
    canvas.fillStyle = colour;
    canvas.fillText(text, x, y);
  }

  /** Two bars across each edge on which a truncation ends the gradient. */
  #cuts(canvas, area, scale) {
    const { graph, theme } = this.app;
    canvas.lineWidth = Math.max(1.6, 1 / scale);
    for (const { edge, x, y } of graph.cuts) {
      if (!touches({ x: x - 6, y: y - 9, width: 12, height: 18 }, area)) continue;
      canvas.strokeStyle = theme.edges[graph.kindOf(edge)].line;
      canvas.beginPath();
      for (const at of [x - 3, x + 3]) {
        canvas.moveTo(at - 3, y + 8);
        canvas.lineTo(at + 3, y - 8);
      }
      canvas.stroke();
    }
  }

  #edgeLabels(canvas, area) {
    const { graph, theme, folding } = this.app;
    const isSeen = (edge) => folding.cardOf[graph.source[edge]] < 0 && folding.cardOf[graph.target[edge]] < 0;
    for (const at of this.app.labelIndex.within(area[0] - 60, area[1] - 10, area[2] + 60, area[3] + 10)) {
      const [edge, { text, x, y }] = this.app.edgeLabels[at];
      if (isSeen(edge)) this.#tag(canvas, clipped(text), x, y + 2.5, theme.edges[graph.kindOf(edge)].line, "center");
    }
  }
}

/** Where to begin a line that comes from far outside of an area: dashes stay where they are. */
function nearEnd(from, edge) {
  return from + Math.max(0, Math.floor((edge - BEYOND - from) / BEYOND)) * BEYOND;
}

/** What of a rectangle is in an area or not far outside of it. */
function cut({ x, y, width, height }, [left, top, right, bottom]) {
  const from = Math.max(x, left - BEYOND), upper = Math.max(y, top - BEYOND);
  return {
    x: from, y: upper,
    width: Math.min(x + width, right + BEYOND) - from, height: Math.min(y + height, bottom + BEYOND) - upper,
  };
}

/** Whether a rectangle touches an area. */
function touches({ x, y, width, height }, [left, top, right, bottom]) {
  return x <= right && y <= bottom && x + width >= left && y + height >= top;
}

/** Begin a path around a rectangle. */
function outline(canvas, { x, y, width, height }, radius) {
  canvas.beginPath();
  canvas.roundRect(x, y, width, height, radius);
}

/** A text that does not cost time, however long it is. */
function clipped(text) {
  return text.length > 80 ? `${text.slice(0, 40)}…${text.slice(-39)}` : text;
}

/** Add the way of a curved edge to a path. */
function trace(path, graph, edge) {
  const way = graph.points.subarray(graph.pointStart[edge], graph.pointStart[edge + 1]);
  path.moveTo(way[0], way[1]);
  for (let at = 2; at + 5 < way.length; at += 6) path.bezierCurveTo(...way.subarray(at, at + 6));
}
