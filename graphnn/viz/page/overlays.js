/**
 * Overlays: a number on every box as its colour, with a menu, a scale, and a slider over moments.
 */

/** Milliseconds for a moment, while they are played. */
const MOMENT = 250;

class Overlays {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    /** Number of the overlay that is shown, or -1. */
    this.shown = -1;
    this.frame = 0;
    this.timer = null;
    this.menu = find("#overlay");
    this.slider = find("#frame");
    this.menu.onchange = () => this.show(Number(this.menu.value));
    this.slider.oninput = () => {
      this.stop();
      this.seek(this.slider.valueAsNumber);
    };
    find("#play").onclick = () => (this.timer === null ? this.play() : this.stop());
  }

  get overlay() {
    return this.app.graph.overlays[this.shown] ?? null;
  }

  /** The moment at which an overlay is looked at: the shown one's, the last one of others. */
  frameOf(number) {
    return number === this.shown ? this.frame : this.app.graph.overlays[number].frames.length - 1;
  }

  /** Another graph, with other overlays: show one of the same title, or else the first. */
  update(title = this.overlay?.title) {
    const { overlays } = this.app.graph;
    const options = [element("option", { value: "-1" }, "no overlay")];
    overlays.forEach((overlay, at) => options.push(element("option", { value: String(at) }, clipped(overlay.title))));
    this.menu.replaceChildren(...options);
    find("#overlay-row").hidden = overlays.length === 0;
    const known = overlays.findIndex((overlay) => overlay.title === title);
    this.show(known >= 0 ? known : overlays.length > 0 ? 0 : -1);
  }

  /** Show an overlay at its last moment; -1 shows none. */
  show(number) {
    this.stop();
    this.shown = this.app.graph.overlays[number] ? number : -1;
    this.menu.value = String(this.shown);
    const moments = this.overlay?.frames.length ?? 0;
    find("#moments").hidden = moments < 2;
    this.slider.max = String(Math.max(moments - 1, 0));
    this.#scale();
    this.seek(moments - 1);
  }

  /** Show the values of one moment. */
  seek(frame) {
    const moments = this.overlay?.frames.length ?? 0;
    this.frame = Math.min(Math.max(frame, 0), Math.max(moments - 1, 0));
    this.slider.value = String(this.frame);
    const label = this.overlay?.frames[this.frame]?.label ?? "";
    this.slider.setAttribute("aria-valuetext", label || String(this.frame));
    find("#frame-label").textContent = label;
    this.#shade();
    this.app.repaint();
  }

  /** The colours of all nodes at this moment. */
  #shade() {
    const values = this.overlay?.frames[this.frame]?.values ?? null;
    this.values = values;
    this.shades = values && values.map((value) => this.#shadeOf(value));
  }

  #shadeOf(value) {
    const { theme, style } = this.app;
    if (value === null) return theme.nothing;
    if (typeof value === "string") return theme.invalid;
    return style.ramp[Math.round(this.#part(value) * (style.ramp.length - 1))];
  }

  #part(value) {
    const { low, high, log } = this.overlay;
    if (!(high > low)) return 0.5;
    if (log && value <= 0) return 0;
    const part = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return Math.min(Math.max(part, 0), 1);
  }

  #scale() {
    const { overlay } = this;
    find("#scale").hidden = overlay === null;
    if (overlay === null) return;
    find("#bar").style.background = `linear-gradient(to right, ${this.app.style.ramp.join(", ")})`;
    find("#low").textContent = numberText(overlay.low, overlay.unit);
    find("#high").textContent = `${numberText(overlay.high, overlay.unit)}${overlay.log ? " (log)" : ""}`;
    const isInvalid = overlay.frames.some((frame) => frame.values.some((value) => typeof value === "string"));
    find("#invalid").hidden = !isInvalid;
    find("#invalid .dot").style.background = this.app.theme.invalid;
  }

  /** Another theme. */
  recolour() {
    this.#scale();
    this.#shade();
  }

  play() {
    if (this.frame >= this.overlay.frames.length - 1) this.seek(0);
    this.timer = setInterval(() => {
      if (this.frame >= this.overlay.frames.length - 1) this.stop();
      else this.seek(this.frame + 1);
    }, MOMENT);
    this.#tellPlaying();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.#tellPlaying();
  }

  #tellPlaying() {
    find("#play").textContent = this.timer === null ? "▶" : "❚❚";
    find("#play").setAttribute("aria-label", this.timer === null ? "Play" : "Pause");
  }
}
