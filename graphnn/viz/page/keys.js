/**
 * The keyboard.
 */

/** Pixels that an arrow key moves the view. */
const STRIDE = 80;

class Keys {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
      const isTyping = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
      if (!isTyping && this.#anywhere(event.key)) event.preventDefault();
      else if (event.target === find("#canvas") && this.#onCanvas(event)) event.preventDefault();
    });
  }

  /** @returns {boolean} whether the key means something wherever the focus is */
  #anywhere(key) {
    const { app } = this;
    const actions = {
      "/": () => find("#search").select(),
      "?": () => find("#help").showModal(),
      "+": () => app.zoom(1.4),
      "=": () => app.zoom(1.4),
      "-": () => app.zoom(1 / 1.4),
      "0": () => app.fit(),
      n: () => app.search.next(1),
      N: () => app.search.next(-1),
      c: () => app.selected !== null && app.foldAround(app.selected),
      C: () => app.outline.foldAll(true),
      E: () => app.outline.foldAll(false),
      d: () => app.setDark(!app.theme.isDark),
      ".": () => app.stages.all.length > 1 && app.showStage(app.stages.now + 1),
      ",": () => app.stages.all.length > 1 && app.showStage(app.stages.now - 1),
      Escape: () => app.select(null),
    };
    actions[key]?.();
    return key in actions;
  }

  #onCanvas(event) {
    const { app } = this;
    const ways = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "Enter") {
      app.unfoldSelected();
      return true;
    }
    if (event.key === "p" && app.selected !== null) {
      this.#partner(app.selected);
      return true;
    }
    if (!(event.key in ways)) return false;
    const [dx, dy] = ways[event.key];
    if (event.shiftKey && app.selected !== null) this.#walk(event.key, app.selected);
    else {
      app.camera.stop();
      app.camera.panBy(dx * STRIDE, dy * STRIDE);
      app.redraw();
    }
    return true;
  }

  /** Along an edge to an input (up) or an output (down); left and right to others of the same. */
  #walk(key, node) {
    const { app } = this;
    const { graph } = app;
    const inputs = (of) => Array.from(graph.edgesInto(of), (edge) => graph.source[edge]);
    const outputs = (of) => Array.from(graph.edgesOutOf(of), (edge) => graph.target[edge]);
    if (key === "ArrowUp" || key === "ArrowDown") {
      const choices = key === "ArrowUp" ? inputs(node) : outputs(node);
      if (choices.length === 0) return;
      this.choices = choices;
      app.select(choices[0], true);
      return;
    }
    const choices = this.choices?.includes(node) ? this.choices : inputs(node).flatMap(outputs);
    if (choices.length === 0) return;
    this.choices = choices;
    const by = key === "ArrowRight" ? 1 : -1;
    app.select(choices[(choices.indexOf(node) + by + choices.length) % choices.length], true);
  }

  /** From a node to its derivative, and back. */
  #partner(node) {
    const { graph } = this.app;
    const partner = graph.origin[node] >= 0 ? graph.origin[node] : graph.derivatives(node)[0];
    if (partner !== undefined) this.app.select(partner, true);
  }
}
