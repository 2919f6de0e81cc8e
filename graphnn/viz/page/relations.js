/**
 * What belongs to a node: what it reads and who reads it, its derivatives, what they need of the
 * forward pass, and what is computed once more for them.
 */

/**
 * @param {Graph} graph
 * @param {number} node
 * @returns {{nodes: Map<number, string>, lines: Lines}} related nodes with the name of the
 *   relation, and the edges that join them
 */
function related(graph, node) {
  const nodes = new Map([[node, "selected"]]);
  const edges = new Set();
  const add = (other, relation) => {
    if (!nodes.has(other)) nodes.set(other, relation);
  };
  const origin = graph.origin[node];
  const derivatives = graph.derivatives(node);
  for (const each of derivatives) add(each, "derivative");
  if (origin >= 0) {
    add(origin, "origin");
    for (const each of graph.derivatives(origin)) add(each, "derivative");
  }
  const backward = [...nodes].filter(([, relation]) => relation === "derivative").map(([each]) => each);
  if (origin >= 0) backward.push(node);
  for (const each of backward) neededBy(graph, each, add, edges);
  for (const edge of graph.edgesInto(node)) {
    add(graph.source[edge], graph.kindOf(edge) === "saved" ? "saved" : "input");
    edges.add(edge);
  }
  for (const edge of graph.edgesOutOf(node)) {
    add(graph.target[edge], "output");
    edges.add(edge);
  }
  for (const each of backward) {
    for (const edge of graph.edgesInto(each)) if (nodes.has(graph.source[edge])) edges.add(edge);
  }
  return { nodes, lines: new Lines(graph, [...edges]) };
}

/** Add what a derivative needs of the forward pass: saved values, and recomputed ones with theirs. */
function neededBy(graph, derivative, add, edges) {
  const seen = new Set([derivative]);
  const waiting = [derivative];
  while (waiting.length > 0) {
    const node = waiting.pop();
    for (const edge of graph.edgesInto(node)) {
      const source = graph.source[edge];
      if (graph.isRecomputed.has(source)) {
        add(source, "recomputed");
        edges.add(edge);
        if (!seen.has(source)) waiting.push(source);
        seen.add(source);
      } else if (graph.kindOf(edge) === "saved") {
        add(source, "saved");
        edges.add(edge);
      }
    }
  }
}
