/**
 * The panel that tells all of a selected node, and what the picture shows while none is selected.
 */

/** Links of one kind that are listed at once. */
const MOST_LINKS = 40;

class Details {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.place = find("#details");
  }

  /** Show what is selected. */
  update() {
    const { app } = this;
    const { folding, selected, selectedCard } = app;
    let content;
    if (selectedCard !== null && folding.cards[selectedCard]) content = this.#card(folding.cards[selectedCard]);
    else content = selected === null ? this.#summary() : this.#node(selected);
    this.place.replaceChildren(...content);
    find("#said").textContent = selected === null ? "" : this.#spoken(selected);
  }

  #spoken(node) {
    const { graph } = this.app;
    const [into, outOf] = [graph.edgesInto(node).length, graph.edgesOutOf(node).length];
    return `${clipped(graph.name(node))}, ${graph.text("detail", node)}, ${counted(into, "input")}, ${counted(outOf, "output")}`;
  }

  #node(node) {
    const { app } = this;
    const { graph } = app;
    const rows = [
      ["kind", graph.text("kind", node)],
      ["role", graph.text("role", node)],
      ["scope", graph.text("scope", node)],
      ["lane", graph.text("lane", node)],
      ["time step", graph.step[node] ?? ""],
      ["group", this.#group(node)],
      ["remarks", this.#remarks(node)],
      ["number", node],
    ].filter(([, value]) => value !== "");
    const content = [
      element("h2", {}, dot(app.theme.nodes[graph.text("style", node)].line), graph.text("label", node)),
      element("p", { className: "detail" }, graph.text("detail", node)),
      this.#overlayValues(node),
      this.#change(node),
      element("pre", { className: "tooltip" }, graph.tooltip(node).join("\n")),
      element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))])),
    ];
    const { nodes } = app.related;
    const of = (relation) => [...nodes].filter(([, each]) => each === relation).map(([each]) => each);
    const inputs = Array.from(graph.edgesInto(node), (edge) => [graph.source[edge], graph.kindOf(edge)]);
    const outputs = Array.from(graph.edgesOutOf(node), (edge) => [graph.target[edge], graph.kindOf(edge)]);
    content.push(
      this.#edges("Inputs", inputs),
      this.#edges("Outputs", outputs),
      this.#links("Derivative of", of("origin"), "origin"),
      this.#links("Derivatives", of("derivative"), "derivative"),
      this.#links("Saved for backward", of("saved"), "saved"),
      this.#links("Computed once more", of("recomputed"), "recomputed"),
      this.#foldButton(node),
    );
    return content.filter((each) => each !== null);
  }

  #group(node) {
    const { graph } = this.app;
    const names = [];
    for (let group = graph.columns.group[node]; group >= 0; group = graph.groups[group].parent ?? -1) {
      const { label, kind, reason } = graph.groups[group];
      names.push(`${kind} ${label}${reason ? `: ${reason}` : ""}`);
    }
    return names.join("\n");
  }

  #remarks(node) {
    const { graph } = this.app;
    const remarks = [...(graph.badges.get(node) ?? [])];
    if (graph.isOutput.has(node)) remarks.push("output");
    if (graph.isRecomputed.has(node)) remarks.push("computed once more by the backward pass");
    return remarks.join(", ");
  }

  #overlayValues(node) {
    const { graph } = this.app;
    const rows = graph.overlays
      .map((overlay, at) => [overlay, overlay.frames[this.app.overlays.frameOf(at)]?.values[node] ?? null])
      .filter(([, value]) => value !== null)
      .map(([overlay, value]) => element("li", {}, `${overlay.title} `, element("strong", {}, numberText(value, overlay.unit))));
    return rows.length === 0 ? null : element("ul", { className: "values" }, ...rows);
  }

  #change(node) {
    const change = this.app.stages.changeOf(node);
    if (!change) return null;
    return element("p", { className: "change" }, dot(this.app.changeColour(change)), `${change} by this pass`);
  }

  #edges(title, ends) {
    const colour = (kind) => this.app.theme.edges[kind].line;
    return this.#section(title, ends.map(([other, kind]) => [other, colour(kind), kind]));
  }

  #links(title, nodes, relation) {
    return this.#section(title, nodes.map((other) => [other, this.app.theme.relations[relation], ""]));
  }

  #section(title, entries) {
    if (entries.length === 0) return null;
    const { app } = this;
    const items = entries.slice(0, MOST_LINKS).map(([other, colour, remark]) =>
      element("li", {}, link(clipped(app.graph.name(other)), () => app.select(other, true), colour), element("small", {}, remark)),
    );
    if (entries.length > MOST_LINKS) items.push(element("li", {}, `and ${grouping(entries.length - MOST_LINKS)} more`));
    return element("section", {}, element("h3", {}, `${title} (${grouping(entries.length)})`), element("ul", {}, ...items));
  }

  #foldButton(node) {
    const key = this.app.folding.innermost(node);
    if (key === null) return null;
    const text = key.startsWith("step:") ? `time step ${key.slice(5)}` : key.slice(key.indexOf(":") + 1);
    const name = key.startsWith("group:") ? this.app.graph.groups[Number(text)].label : text;
    return element("button", { type: "button", onclick: () => this.app.fold([key], true) }, `Fold ${clipped(name)}`);
  }

  #card(card) {
    const { app } = this;
    return [
      element("h2", {}, dot(app.theme.nodes[card.style].line), card.label),
      element("p", { className: "detail" }, `${counted(card.members.length, "node")}, folded`),
      element("button", { type: "button", onclick: () => app.fold([card.key], false) }, "Unfold"),
      this.#section("Inside", card.members.map((node) => [node, app.theme.nodes[app.graph.text("style", node)].line, ""])),
    ];
  }

  #summary() {
    const { app } = this;
    const { graph, theme } = app;
    const styles = new Set(graph.columns.style.map((each) => graph.texts[each]));
    const meanings = (table, names) => Object.keys(table).filter((name) => names.has(name));
    const steps = graph.steps.length > 0 ? `, ${counted(graph.steps.length, "time step")}` : "";
    return [
      element("h2", {}, graph.title || "Graph"),
      element("p", { className: "detail" }, `${counted(graph.count, "node")}, ${counted(graph.edgeCount, "edge")}${steps}`),
      element("h3", {}, "Boxes"),
      element("ul", { className: "legend" }, ...meanings(app.style.nodes, styles).map((name) => {
        const sample = element("span", { className: "box", "aria-hidden": "true" });
        sample.style.background = theme.nodes[name].fill;
        sample.style.borderColor = theme.nodes[name].line;
        sample.style.borderRadius = `${Math.min(theme.nodes[name].radius, 7)}px`;
        return element("li", {}, sample, app.style.nodes[name].meaning);
      })),
      element("h3", {}, "Lines"),
      element("ul", { className: "legend" }, ...meanings(app.style.edges, new Set(graph.kinds)).map((name) => {
        const sample = element("span", { className: "line", "aria-hidden": "true" });
        sample.style.borderTop = `${Math.max(1.5, theme.edges[name].width)}px ${theme.edges[name].dashes.length ? "dashed" : "solid"} ${theme.edges[name].line}`;
        return element("li", {}, sample, app.style.edges[name].meaning);
      })),
      element("p", { className: "hint" }, "Click a node, or search with / and walk with Shift and the arrow keys. ? lists all keys."),
    ];
  }
}
