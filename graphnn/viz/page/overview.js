/**
 * The whole picture as a strip along the view, stretched to its length, with a window that shows
 * what is seen; and what a scene's own strip tells, such as the memory in use, node by node.
 */
class Overview {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.canvas = find("#overview");
    this.curve = find("#curve");
    this.base = document.createElement("canvas");
    this.isStale = true;
    const move = (event) => {
      if (event.buttons === 0) return;
      const { left, top, width, height } = this.canvas.getBoundingClientRect();
      const { camera, graph } = app;
      camera.stop();
      camera.moveTo(((event.clientX - left) / width) * graph.width, ((event.clientY - top) / height) * graph.height, camera.zoom);
      app.redraw();
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    this.canvas.addEventListener("pointermove", move);
    this.curve.addEventListener("click", (event) => {
      const { left, width } = this.curve.getBoundingClientRect();
      const node = Math.floor(((event.clientX - left) / width) * app.graph.count);
      app.select(Math.min(Math.max(node, 0), app.graph.count - 1), true);
    });
  }

  /** What it shows has changed. */
  forget() {
    this.isStale = true;
  }

  /** Stand below wide pictures and beside tall ones; small ones need none. */
  arrange() {
    const { camera, graph } = this.app;
    // The strip takes room, which changes what it is decided by: once shown, it stays.
    this.isShown ||= camera.whole <= 0.25 || camera.whole * 1.2 <= camera.home.zoom;
    this.canvas.hidden = !this.isShown;
    find("#curve-row").hidden = !graph.strip;
    find("#view").classList.toggle("upright", graph.height > graph.width);
  }

  paint() {
    const { app } = this;
    if (!this.canvas.hidden) this.#paintWhole();
    if (app.graph.strip) this.#paintCurve();
  }

  #paintWhole() {
    const { canvas, base, app } = this;
    const { camera, graph, theme } = app;
    const size = fitted(canvas);
    if (size.width === 0 || size.height === 0) return;
    if (this.isStale || base.width !== size.width || base.height !== size.height) this.#paintBase(size);
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(base, 0, 0);
    const [left, top, right, bottom] = camera.seen;
    const across = size.width / graph.width, down = size.height / graph.height;
    const x = Math.max(left * across, 1), y = Math.max(top * down, 1);
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    const width = Math.max(Math.min(right * across, size.width - 1) - x, 4);
    context.strokeRect(x, y, width, Math.max(Math.min(bottom * down, size.height - 1) - y, 4));
  }

  #paintBase(size) {
    const { base, app } = this;
    const { graph, theme, folding } = app;
    base.width = size.width;
    base.height = size.height;
    const context = base.getContext("2d");
    const across = size.width / graph.width, down = size.height / graph.height;
    // A hundred thousand calls of the canvas would take a second, so pixels are set one by one.
    const image = context.createImageData(size.width, size.height);
    const pixels = new Uint32Array(image.data.buffer);
    const values = new Map();
    const valueOf = (colour) => {
      const [red, green, blue] = channels(colour);
      return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    };
    const block = ({ x, y, width, height }, colour) => {
      if (!values.has(colour)) values.set(colour, valueOf(colour));
      const value = values.get(colour);
      const left = Math.max(Math.floor(x * across), 0), top = Math.max(Math.floor(y * down), 0);
      const right = Math.min(Math.max(Math.round((x + width) * across), left + 1), size.width);
      const bottom = Math.min(Math.max(Math.round((y + height) * down), top + 1), size.height);
      for (let row = top; row < bottom; row++) pixels.fill(value, row * size.width + left, row * size.width + right);
    };
    pixels.fill(valueOf(theme.ground));
    for (const band of graph.bands) if (!CLEAR.includes(band.tone)) block(band, theme.band(band.tone).fill);
    for (let node = 0; node < graph.count; node++) {
      if (folding.cardOf[node] < 0) block(graph.box(node), app.fillOf(node) ?? theme.nodes[graph.text("style", node)].far);
    }
    for (const card of folding.cards) block(card, theme.nodes[card.style].far);
    context.putImageData(image, 0, 0);
    this.isStale = false;
  }

  #paintCurve() {
    const { graph, theme, selected } = this.app;
    const { values, title, unit } = graph.strip;
    const size = fitted(this.curve);
    const context = this.curve.getContext("2d");
    context.clearRect(0, 0, size.width, size.height);
    const peak = graph.peak;
    const most = peak < 0 ? 1 : values[peak];
    const at = (node) => ((node + 0.5) / graph.count) * size.width;
    context.fillStyle = theme.nodes.forward.far;
    context.beginPath();
    context.moveTo(0, size.height);
    values.forEach((value, node) => {
      if (typeof value !== "number") return;
      const y = size.height * (1 - (0.86 * value) / (most || 1));
      context.lineTo((node / graph.count) * size.width, y);
      context.lineTo(((node + 1) / graph.count) * size.width, y);
    });
    context.lineTo(size.width, size.height);
    context.fill();
    const mark = (node, colour) => {
      context.fillStyle = colour;
      context.fillRect(at(node) - 1, 0, 2, size.height);
    };
    if (peak >= 0) mark(peak, theme.edges.gradient.line);
    if (selected !== null) mark(selected, theme.accent);
    find("#curve-text").textContent =
      title + (typeof values[selected] === "number" ? `; here ${numberText(values[selected], unit)}` : "");
  }
}

/** Give a canvas as many pixels as it has on the screen. */
function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return { width, height };
}
