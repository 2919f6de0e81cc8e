/**
 * Deep links: what is seen, in the part of the address after #.
 */
class DeepLink {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.timer = null;
    this.written = "";
    window.addEventListener("hashchange", () => {
      if (window.location.hash !== this.written) this.read();
    });
  }

  /** Show what the address says; what it says of unknown things is ignored. */
  read() {
    const { app } = this;
    const said = new URLSearchParams(window.location.hash.slice(1));
    const number = (name) => (said.has(name) && Number.isFinite(Number(said.get(name))) ? Number(said.get(name)) : null);
    const stage = number("stage");
    if (stage !== null && app.data.stages[stage]) app.showStage(stage);
    if (said.has("folded")) app.folding.keys.clear();
    if (said.has("folded")) app.fold(said.get("folded").split("|").filter(Boolean), true);
    if (number("overlay") !== null) app.overlays.show(number("overlay"));
    if (number("frame") !== null) app.overlays.seek(number("frame"));
    const node = this.#node(said.get("node"));
    const [x, y, zoom] = ["x", "y", "zoom"].map(number);
    if (node !== null) app.select(node, x === null);
    if (x !== null && y !== null) {
      app.measure(); // what is selected has opened the panel
      app.camera.stop();
      app.camera.moveTo(x, y, zoom ?? app.camera.zoom);
      app.redraw();
    }
  }

  /** A node by its number or by its name. */
  #node(said) {
    if (said === null || said === "") return null;
    const { graph } = this.app;
    if (/^\d+$/.test(said)) return Number(said) < graph.count ? Number(said) : null;
    for (let node = 0; node < graph.count; node++) if (graph.text("label", node) === said) return node;
    return null;
  }

  /** Write it soon: addresses may change a hundred times in half a minute, not more. */
  write() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#write(), 400);
  }

  #write() {
    const { camera, selected, overlays, stages, folding, graph } = this.app;
    const said = new URLSearchParams();
    if (selected !== null) said.set("node", String(selected));
    said.set("x", camera.x.toFixed(0));
    said.set("y", camera.y.toFixed(0));
    said.set("zoom", camera.zoom.toPrecision(3));
    if (stages.all.length > 1) said.set("stage", String(stages.now));
    if (graph.overlays.length > 0) said.set("overlay", String(overlays.shown));
    if (overlays.overlay !== null) said.set("frame", String(overlays.frame));
    if (folding.keys.size > 0 && folding.keys.size < 50) said.set("folded", [...folding.keys].join("|"));
    this.written = `#${said}`;
    try {
      window.history.replaceState(null, "", this.written);
    } catch {
      // A frame without an address of its own, as in notebooks, has nothing to link to.
    }
  }
}
