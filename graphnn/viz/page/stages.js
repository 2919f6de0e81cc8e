/**
 * A slider over stages of one graph, such as the compiler's passes: what each added, changed and
 * removed, and what it noted.
 */
class Stages {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.all = app.data.stages;
    this.now = this.all.length - 1;
    this.slider = find("#stage");
    this.slider.max = String(this.all.length - 1);
    this.slider.oninput = () => app.showStage(this.slider.valueAsNumber);
    find("#stage-row").hidden = this.all.length < 2;
    find("#tab-notes").hidden = this.all.length < 2;
    find("#earlier").onclick = () => app.showStage(this.now - 1);
    find("#later").onclick = () => app.showStage(this.now + 1);
    /** What became of nodes of this stage, by number; and which of them the next one removes. */
    this.changes = new Map();
    this.leaves = [];
  }

  /** What a node of one stage is in another one, following it from each to the next; or null. */
  follow(node, from, to) {
    for (let stage = from; node !== null && stage < to; stage++) {
      const next = this.all[stage + 1].same.indexOf(node);
      node = next < 0 ? null : next;
    }
    for (let stage = from; node !== null && stage > to; stage--) {
      const before = this.all[stage].same[node] ?? -1;
      node = before < 0 ? null : before;
    }
    return node;
  }

  /** Every node that is in both of two stages: its number in the second, and in the first. */
  pairs(from, to) {
    const [later, earlier] = from < to ? [to, from] : [from, to];
    const found = [];
    this.all[later].scene.nodes.label.forEach((_, node) => {
      const there = this.follow(node, later, earlier);
      if (there !== null) found.push(from < to ? [node, there] : [there, node]);
    });
    return found;
  }

  /** Show one stage's name, notes and changes. */
  show(number) {
    this.now = number;
    const stage = this.all[number];
    this.changes = new Map(stage.changes);
    this.leaves = this.all[number + 1]?.removed ?? [];
    this.slider.value = String(number);
    this.slider.setAttribute("aria-valuetext", stage.name);
    find("#stage-name").textContent = `${number + 1}/${this.all.length}  ${clipped(stage.name)}`;
    if (this.all.length > 1) this.#tell(stage, this.all[number - 1]);
    this.#key();
  }

  /** What the rings mean that are to be seen. */
  #key() {
    const { changes } = this.app.theme;
    const meanings = [...new Set(this.changes.values())].map((change) => [change, this.app.changeColour(change)]);
    if (this.leaves.length > 0) meanings.push(["removed by the next", changes.removed]);
    find("#stage-key").replaceChildren(
      ...meanings.map(([meaning, colour]) => element("span", {}, dot(colour), meaning)),
    );
  }

  /** Go back to the stage before, in which a node still was. */
  #look(node) {
    this.app.showStage(this.now - 1);
    this.app.select(node, true);
  }

  changeOf(node) {
    return this.changes.get(node) ?? "";
  }

  #tell(stage, before) {
    const { app } = this;
    const byChange = new Map();
    for (const [node, change] of this.changes) byChange.set(change, [...(byChange.get(change) ?? []), node]);
    const content = [element("h2", {}, stage.name), element("ul", {}, ...stage.notes.map((note) => element("li", {}, note)))];
    for (const [change, nodes] of byChange) {
      const items = nodes.slice(0, MOST_LINKS).map((node) =>
        element("li", {}, link(clipped(app.graph.name(node)), () => app.select(node, true), app.changeColour(change))),
      );
      content.push(element("h3", {}, `${change} (${nodes.length})`), element("ul", {}, ...items));
    }
    if (stage.removed.length > 0) {
      const { label } = before.scene.nodes;
      const names = stage.removed.slice(0, MOST_LINKS).map((node) =>
        element("li", {}, link(clipped(app.data.texts[label[node]]), () => this.#look(node), app.theme.changes.removed)),
      );
      content.push(element("h3", {}, `removed (${stage.removed.length})`), element("ul", {}, ...names));
    }
    find("#notes").replaceChildren(...content);
  }
}
