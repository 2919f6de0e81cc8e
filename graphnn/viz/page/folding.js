/**
 * Folding: what is folded away shows as one card in the place of its nodes.
 *
 * Nothing moves: a card is as large as what it stands for, so a graph is recognised folded or not.
 * A scope that many time steps share becomes one card for each step and direction.
 */
class Folding {
  /** @param {Graph} graph */
  constructor(graph) {
    this.graph = graph;
    /** @type {Set<string>} such as "scope:lstm/cell", "step:3", "group:0" */
    this.keys = new Set();
    this.scopes = Folding.#scopesOf(graph);
    this.update();
  }

  /** Every scope and those around it, with the number of nodes inside, in order of their names. */
  static #scopesOf(graph) {
    const counts = new Map();
    for (let node = 0; node < graph.count; node++) {
      const parts = graph.text("scope", node).split("/");
      if (parts[0] === "") continue;
      for (let depth = 1; depth <= parts.length; depth++) {
        const scope = parts.slice(0, depth).join("/");
        counts.set(scope, (counts.get(scope) ?? 0) + 1);
      }
    }
    return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Fold or unfold, and find the cards anew. */
  set(keys, isFolded) {
    for (const key of keys) {
      if (isFolded) this.keys.add(key);
      else this.keys.delete(key);
    }
    this.update();
  }

  /** Find the cards: `cardOf` tells by node which card hides it, or -1. */
  update() {
    const { graph } = this;
    this.cardOf = new Int32Array(graph.count).fill(-1);
    /** @type {{key: string, label: string, members: number[], style: string}[]} */
    this.cards = [];
    if (this.keys.size > 0) {
      for (const { key, label, members } of this.#candidates().values()) {
        if (members.length < 2) continue;
        for (const node of members) this.cardOf[node] = this.cards.length;
        this.cards.push({ key, label, members, style: graph.text("role", members[0]), ...this.#around(members) });
      }
    }
    this.cardIndex = new SpatialIndex(this.cards.flatMap((card) => [card.x, card.y, card.width, card.height]));
    this.#sortEdges();
  }

  #candidates() {
    const { graph } = this;
    const found = new Map();
    const scopes = new Map();
    for (let node = 0; node < graph.count; node++) {
      const key = this.#keyOf(node, scopes);
      if (key === null) continue;
      const step = graph.step[node];
      const place = [key, step, graph.text("role", node), graph.text("lane", node)].join("\n");
      const known = found.get(place);
      if (known) known.members.push(node);
      else found.set(place, { key, label: this.#label(key, step), members: [node] });
    }
    return found;
  }

  /** The outermost folded thing that a node is in, or null. */
  #keyOf(node, scopes) {
    const { graph } = this;
    if (graph.step[node] !== null && this.keys.has(`step:${graph.step[node]}`)) return `step:${graph.step[node]}`;
    const scope = graph.text("scope", node);
    if (!scopes.has(scope)) {
      const parts = scope.split("/");
      const around = parts.map((_, depth) => `scope:${parts.slice(0, depth + 1).join("/")}`);
      scopes.set(scope, around.find((key) => this.keys.has(key)) ?? null);
    }
    let key = scopes.get(scope);
    for (let group = graph.columns.group[node]; group >= 0 && key === null; group = graph.groups[group].parent ?? -1) {
      if (this.keys.has(`group:${group}`)) key = `group:${group}`;
    }
    return key;
  }

  #label(key, step) {
    const [what, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
    if (what === "step") return `t = ${name}`;
    const label = what === "group" ? this.graph.groups[Number(name)].label : name;
    return step === null ? label : `${label} · t = ${step}`;
  }

  #around(members) {
    const { boxes } = this.graph;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const node of members) {
      left = Math.min(left, boxes[4 * node]);
      top = Math.min(top, boxes[4 * node + 1]);
      right = Math.max(right, boxes[4 * node] + boxes[4 * node + 2]);
      bottom = Math.max(bottom, boxes[4 * node + 1] + boxes[4 * node + 3]);
    }
    return { x: left - 4, y: top - 4, width: right - left + 8, height: bottom - top + 8 };
  }

  /** Edges inside of a card vanish; those from and to cards are drawn below the cards. */
  #sortEdges() {
    const { graph, cardOf } = this;
    const below = [], above = [];
    for (let edge = 0; edge < graph.edgeCount; edge++) {
      const from = cardOf[graph.source[edge]], to = cardOf[graph.target[edge]];
      if (from < 0 && to < 0) above.push(edge);
      else if (from !== to) below.push(edge);
    }
    this.linesBelow = new Lines(graph, below);
    this.linesAbove = new Lines(graph, above);
  }

  /** The key that folds the innermost thing around a node; null if it is in nothing. */
  innermost(node) {
    const { graph } = this;
    const scope = graph.text("scope", node);
    if (scope !== "") return `scope:${scope}`;
    if (graph.columns.group[node] >= 0) return `group:${graph.columns.group[node]}`;
    return graph.step[node] === null ? null : `step:${graph.step[node]}`;
  }

  /** Unfold all that hides a node. */
  reveal(node) {
    while (this.cardOf[node] >= 0) this.set([this.cards[this.cardOf[node]].key], false);
  }
}
