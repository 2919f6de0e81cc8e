/**
 * Which part of the picture is seen, and how large.
 */
/** Pixels for a point from which on the names in boxes can be read. */
const READABLE = 0.56;

class Camera {
  constructor() {
    /** The point of the picture at the middle of the view. */
    this.x = 0;
    this.y = 0;
    /** Pixels of the page for one point of the picture. */
    this.zoom = 1;
    this.width = 1;
    this.height = 1;
    /** Of the picture. */
    this.graphWidth = 1;
    this.graphHeight = 1;
    /** Whether it is where `goHome` has brought it. */
    this.isHome = true;
    this.flight = 0;
  }

  /** The zoom that shows all. */
  get whole() {
    return Math.min(this.width / (this.graphWidth + 40), this.height / (this.graphHeight + 40));
  }

  toScreen(x, y) {
    return [(x - this.x) * this.zoom + this.width / 2, (y - this.y) * this.zoom + this.height / 2];
  }

  toGraph(x, y) {
    return [(x - this.width / 2) / this.zoom + this.x, (y - this.height / 2) / this.zoom + this.y];
  }

  /** What is seen: left, top, right, bottom. */
  get seen() {
    return [...this.toGraph(0, 0), ...this.toGraph(this.width, this.height)];
  }

  /** Move by pixels of the page; some of the picture always stays in sight. */
  panBy(dx, dy) {
    this.moveTo(this.x - dx / this.zoom, this.y - dy / this.zoom, this.zoom);
  }

  moveTo(x, y, zoom) {
    this.zoom = Math.min(Math.max(zoom, Math.min(0.5 * this.whole, 0.1)), 6);
    this.x = Math.min(Math.max(x, 0), this.graphWidth);
    this.y = Math.min(Math.max(y, 0), this.graphHeight);
    const { home } = this;
    this.isHome = x === home.x && y === home.y && zoom === home.zoom;
  }

  goHome() {
    const { x, y, zoom } = this.home;
    this.moveTo(x, y, zoom);
  }

  /** Zoom by a factor around a point of the page, which stays where it is. */
  zoomAt(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toGraph(px, py);
    this.moveTo(this.x, this.y, this.zoom * factor);
    const [newX, newY] = this.toGraph(px, py);
    this.moveTo(this.x + x - newX, this.y + y - newY, this.zoom);
  }

  /**
   * Where the picture is seen best from: all of it, or the beginning of one so long and thin that
   * nothing of it could be recognised.
   */
  get overall() {
    const [all, height, width] = [this.whole, this.height / (this.graphHeight + 40), this.width / (this.graphWidth + 40)];
    return this.#beginning(Math.min(Math.max(height, width) > 3 * all ? 0.9 * Math.max(height, width) : all, 1.25));
  }

  /** Where it is at first: `overall`, or the beginning if a little closer everything can be read. */
  get home() {
    const { overall } = this;
    return overall.zoom < READABLE && overall.zoom >= READABLE / 2 ? this.#beginning(READABLE) : overall;
  }

  #beginning(zoom) {
    const middle = (size, room) => Math.min(size, room / zoom - 40) / 2;
    return { x: middle(this.graphWidth, this.width), y: middle(this.graphHeight, this.height), zoom };
  }

  /** Go somewhere, in a quarter of a second or at once. */
  flyTo({ x, y, zoom }, isStill, redraw) {
    const flight = ++this.flight;
    if (isStill) {
      this.moveTo(x, y, zoom);
      redraw();
      return;
    }
    const from = { x: this.x, y: this.y, zoom: this.zoom };
    const began = performance.now();
    const fly = (now) => {
      if (flight !== this.flight) return;
      const part = Math.min(Math.max((now - began) / 250, 0), 1);
      const eased = part * part * (3 - 2 * part);
      const between = (a, b) => a + (b - a) * eased;
      this.moveTo(between(from.x, x), between(from.y, y), from.zoom * (zoom / from.zoom) ** eased);
      redraw();
      if (part < 1) requestAnimationFrame(fly);
    };
    requestAnimationFrame(fly);
  }

  /** End a flight where it is. */
  stop() {
    this.flight++;
  }
}
