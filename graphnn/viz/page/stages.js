/**
 * A slider over stages of one graph, such as the compiler's passes: what each added, changed and
 * removed, and what it noted.
 */
class Stages {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.all = app.data.stages;
    this.now = 0;
    this.slider = find("#stage");
    this.slider.max = String(this.all.length - 1);
    this.slider.oninput = () => app.showStage(this.slider.valueAsNumber);
    find("#stage-row").hidden = this.all.length < 2;
    find("#tab-notes").hidden = this.all.length < 2;
    find("#earlier").onclick = () => app.showStage(this.now - 1);
    find("#later").onclick = () => app.showStage(this.now + 1);
    this.changes = new Map();
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

  /** Show one stage's name, notes and changes. */
  show(number) {
    this.now = number;
    const stage = this.all[number];
    this.changes = new Map(stage.changes);
    this.slider.value = String(number);
    this.slider.setAttribute("aria-valuetext", stage.name);
    find("#stage-name").textContent = `${number + 1}/${this.all.length}  ${clipped(stage.name)}`;
    if (this.all.length > 1) this.#tell(stage, this.all[number - 1]);
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
        element("li", {}, dot(app.theme.changes.removed), clipped(app.data.texts[label[node]])),
      );
      content.push(element("h3", {}, `removed (${stage.removed.length})`), element("ul", {}, ...names));
    }
    find("#notes").replaceChildren(...content);
  }
}
