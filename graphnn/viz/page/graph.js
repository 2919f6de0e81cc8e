/**
 * A graph with positions: the columns that Python wrote, and who reads whom.
 */

/**
 * Which items have which key: a table of starts, and the items in the order of their keys.
 * @param {ArrayLike<number>} keys by item; negative for none
 * @param {number} count of keys
 * @returns {{start: Int32Array, items: Int32Array}}
 */
function grouped(keys, count) {
  const start = new Int32Array(count + 1);
  for (let i = 0; i < keys.length; i++) if (keys[i] >= 0) start[keys[i] + 1]++;
  for (let key = 0; key < count; key++) start[key + 1] += start[key];
  const next = start.slice(0, count);
  const items = new Int32Array(start[count]);
  for (let i = 0; i < keys.length; i++) if (keys[i] >= 0) items[next[keys[i]]++] = i;
  return { start, items };
}

/**
 * Numbers in rows, of which each is given as the tenths by which it is above that of the row before.
 * @param {number[]} steps
 * @param {number} width numbers in a row
 */
function fromSteps(steps, width) {
  const numbers = Float64Array.from(steps);
  for (let i = width; i < numbers.length; i++) numbers[i] += numbers[i - width];
  for (let i = 0; i < numbers.length; i++) numbers[i] /= 10;
  return numbers;
}

/** One scene at its positions. */
class Graph {
  /**
   * @param {object} scene columns, as explorer_data.py writes them
   * @param {string[]} texts the table that columns of texts point into
   * @param {Tips} tips
   * @param {number} stage which of the tips' stages it is
   */
  constructor(scene, texts, tips, stage) {
    const { nodes, edges } = scene;
    this.texts = texts;
    this.tips = tips;
    this.stage = stage;
    this.title = texts[scene.title];
    this.width = scene.width;
    this.height = scene.height;
    this.count = nodes.label.length;
    this.edgeCount = edges.source.length;
    this.columns = nodes;
    this.boxes = fromSteps(nodes.boxes, 4);
    this.step = nodes.step;
    this.origin = Int32Array.from(nodes.origin);
    this.isOutput = new Set(nodes.outputs);
    this.isRecomputed = new Set(nodes.recomputed);
    this.badges = new Map(nodes.badges.map(([node, ...badges]) => [node, badges]));
    this.source = Int32Array.from(edges.source);
    this.target = Int32Array.from(edges.target);
    /** The kinds of edges that occur, and by edge which of them it is of. */
    this.kinds = [...new Set(edges.kind)].map((kind) => texts[kind]);
    const numbers = new Map(this.kinds.map((kind, number) => [kind, number]));
    this.edgeKind = Int32Array.from(edges.kind, (kind) => numbers.get(texts[kind]));
    this.edgeLabels = new Map(edges.labels.map(([edge, text, x, y]) => [edge, { text: texts[text], x, y }]));
    this.isCurve = new Set(edges.curves);
    this.points = fromSteps(edges.points, 2);
    this.pointStart = new Int32Array(this.edgeCount + 1);
    edges.corners.forEach((corners, edge) => (this.pointStart[edge + 1] = this.pointStart[edge] + 2 * corners));
    this.cuts = edges.cuts.map((edge) => ({ edge, ...this.#middle(edge) }));
    this.bands = scene.bands.map(([x, y, width, height, tone, label]) => ({
      x, y, width, height, tone: texts[tone], label: texts[label],
    }));
    /** Badges with the names of nodes, at boxes that read them from far away. */
    this.ghosts = scene.ghosts.map(([x, y, width, height, node, reader, text]) => ({
      x, y, width, height, node, reader, text: texts[text],
    }));
    this.groups = scene.groups;
    this.overlays = scene.overlays;
    this.strip = scene.strip;
    /** The node at which the strip is highest, or -1. */
    this.peak = -1;
    scene.strip?.values.forEach((value, node, all) => {
      if (typeof value === "number" && value > (all[this.peak] ?? -Infinity)) this.peak = node;
    });
    this.into = grouped(edges.target, this.count);
    this.outOf = grouped(edges.source, this.count);
    this.derived = grouped(nodes.origin, this.count);
    this.steps = [...new Set(nodes.step.filter((step) => step !== null))].sort((a, b) => a - b);
  }

  /** The middle of an edge's longest level piece; of a curve, of its points. */
  #middle(edge) {
    const way = this.points.subarray(this.pointStart[edge], this.pointStart[edge + 1]);
    let best = 2 * Math.floor(Math.max(way.length / 2 - 2, 0) / 2);
    const long = (at) => Math.abs(way[at + 2] - way[at]);
    if (!this.isCurve.has(edge)) for (let at = 0; at + 3 < way.length; at += 2) if (long(at) > long(best)) best = at;
    return { x: (way[best] + way[best + 2]) / 2, y: (way[best + 1] + way[best + 3]) / 2 };
  }

  /**
   * A property of a node that is a text: label, detail, kind, role, style, scope, lane; or the
   * first or second line of what its box has room for.
   */
  text(name, node) {
    return this.texts[this.columns[name][node]];
  }

  /** @returns {string[]} all that is known of a node, by lines */
  tooltip(node) {
    const { start, numbers } = this.tips.of(this.stage);
    return numbers.slice(start[node], start[node + 1]).map((line) => this.tips.texts[line]);
  }

  /** What a node is called where there is one line for it. */
  name(node) {
    const step = this.step[node];
    return step === null ? this.text("label", node) : `${this.text("label", node)} · t = ${step}`;
  }

  /** Numbers of the edges that enter a node. */
  edgesInto(node) {
    return this.into.items.subarray(this.into.start[node], this.into.start[node + 1]);
  }

  /** Numbers of the edges that leave a node. */
  edgesOutOf(node) {
    return this.outOf.items.subarray(this.outOf.start[node], this.outOf.start[node + 1]);
  }

  /** Nodes that compute derivatives of a node. */
  derivatives(node) {
    return this.derived.items.subarray(this.derived.start[node], this.derived.start[node + 1]);
  }

  /** What an edge carries: its key in the table of styles. */
  kindOf(edge) {
    return this.kinds[this.edgeKind[edge]];
  }

  /** The box of a node. */
  box(node) {
    const at = 4 * node;
    return { x: this.boxes[at], y: this.boxes[at + 1], width: this.boxes[at + 2], height: this.boxes[at + 3] };
  }
}
