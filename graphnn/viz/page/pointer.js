/**
 * The mouse, pens and fingers: drag, wheel, pinch, click, hover.
 */

/** Pixels that a finger may move and still click. */
const STILL = 5;

class Pointer {
  /** @param {Explorer} app */
  constructor(app) {
    this.app = app;
    this.canvas = find("#canvas");
    /** @type {Map<number, {x: number, y: number}>} */
    this.down = new Map();
    this.moved = 0;
    const on = (name, action) => this.canvas.addEventListener(name, action, { passive: false });
    on("pointerdown", (event) => this.#press(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#release(event));
    on("pointercancel", (event) => this.down.delete(event.pointerId));
    on("pointerleave", () => app.hover(null));
    on("wheel", (event) => this.#wheel(event));
    on("dblclick", (event) => this.#open(event));
  }

  #at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.app.camera.stop();
    this.down.set(event.pointerId, this.#at(event));
    if (this.down.size === 1) this.moved = 0;
  }

  #move(event) {
    const now = this.#at(event);
    const before = this.down.get(event.pointerId);
    if (!before) {
      this.app.hover(this.app.nodeAt(now.x, now.y), now);
      return;
    }
    this.moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.down.size === 2) this.#pinch(event.pointerId, before, now);
    else if (this.moved > STILL) this.app.camera.panBy(now.x - before.x, now.y - before.y);
    this.down.set(event.pointerId, now);
    this.app.hover(null);
    this.app.redraw();
  }

  #pinch(moving, before, now) {
    const [, other] = [...this.down].find(([id]) => id !== moving);
    const apart = (point) => Math.max(Math.hypot(point.x - other.x, point.y - other.y), 1);
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    this.app.camera.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.app.camera.zoomAt(apart(now) / apart(before), middle.x, middle.y);
  }

  #release(event) {
    const wasDown = this.down.delete(event.pointerId);
    if (!wasDown || this.moved > STILL || this.down.size > 0) return;
    const { x, y } = this.#at(event);
    this.app.selectAt(x, y);
  }

  #wheel(event) {
    event.preventDefault();
    const unit = [1, 16, 400][event.deltaMode];
    const { x, y } = this.#at(event);
    this.app.camera.stop();
    if (event.shiftKey && !event.ctrlKey) this.app.camera.panBy(-(event.deltaX || event.deltaY) * unit, 0);
    else this.app.camera.zoomAt(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
    this.app.redraw();
  }

  /** A double click unfolds a card, and folds what is around a node. */
  #open(event) {
    const { x, y } = this.#at(event);
    const { app } = this;
    const card = app.cardAt(x, y);
    const node = app.nodeAt(x, y);
    if (node !== null) app.foldAround(node);
    else if (card !== null) app.fold([app.folding.cards[card].key], false);
    else {
      app.camera.zoomAt(2, x, y);
      app.redraw();
    }
  }
}
