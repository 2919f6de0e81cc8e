/**
 * Search: nodes whose name, shape, scope, place in the source or other lines have all the words.
 */
class Search {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.field = find("#search");
    /** @type {number[]} */
    this.found = [];
    this.at = -1;
    this.list = new NodeList(find("#results"), (node) => app.describe(node), (node) => this.#go(this.found.indexOf(node)));
    this.field.addEventListener("input", () => this.update());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      else if (event.key === "ArrowDown" && this.found.length > 0) {
        find("#results").focus();
        this.list.activate(Math.max(this.at, 0));
      } else if (event.key === "Escape") {
        this.field.value = "";
        this.update();
        find("#canvas").focus();
      } else return;
      event.preventDefault();
    });
    find("#next").onclick = () => this.next(1);
    find("#previous").onclick = () => this.next(-1);
  }

  /** Search anew, after the words or the graph have changed. */
  update() {
    const words = this.field.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.found = words.length === 0 ? [] : this.#nodesWith(words);
    this.at = -1;
    this.list.active = -1;
    this.list.set(this.found);
    find("#results-box").hidden = words.length === 0;
    this.#tell();
    this.app.redraw();
  }

  /** Texts are few, nodes are many: every text of the table is looked at once a word. */
  #nodesWith(words) {
    const { graph } = this.app;
    const having = (word, texts) => Uint8Array.from(texts, (text) => (text.toLowerCase().includes(word) ? 1 : 0));
    const has = words.map((word) => [having(word, graph.texts), having(word, graph.tips.texts)]);
    const { label, detail, scope } = graph.columns;
    const { start, numbers } = graph.tips.of(graph.stage);
    const isSaid = (is, node) => {
      for (let at = start[node]; at < start[node + 1]; at++) if (is[numbers[at]]) return true;
      return false;
    };
    const found = [];
    for (let node = 0; node < graph.count; node++) {
      const all = has.every(([is, isInTip]) => is[label[node]] || is[detail[node]] || is[scope[node]] || isSaid(isInTip, node));
      if (all) found.push(node);
    }
    // What is called so comes before what merely says so.
    const isName = (node) => words.every((word) => graph.text("label", node).toLowerCase().includes(word));
    return [...found.filter(isName), ...found.filter((node) => !isName(node))];
  }

  /** Go to the next or the previous result, around the end. */
  next(by) {
    if (this.found.length === 0) return;
    const from = this.at < 0 && by < 0 ? 0 : this.at;
    this.#go((from + by + this.found.length) % this.found.length);
  }

  #go(at) {
    this.at = at;
    this.list.activate(at);
    this.#tell();
    this.app.select(this.found[at], true);
  }

  #tell() {
    const count = grouping(this.found.length);
    find("#count").textContent = this.at < 0 ? `${count} found` : `${grouping(this.at + 1)} of ${count}`;
  }
}
