/**
 * The picture from afar, painted once on tiles: panning then only moves tiles.
 *
 * From near little is seen at once, and it is painted anew for each frame. From afar all 100,000
 * nodes may be seen, which no frame has the time for.
 */
const TILE = 512;
/** Pixels for a point from which on painting anew is fast enough. */
const DIRECT = 0.35;
/** Tiles that are kept; each takes a megabyte. */
const MOST_TILES = 120;
/** Milliseconds of a frame in which missing tiles are painted; one is always. */
const TILE_TIME = 10;

class Tiles {
  /** @param {Painter} painter */
  constructor(painter) {
    this.painter = painter;
    /** @type {Map<string, {canvas: HTMLCanvasElement, age: number}>} the latest used last */
    this.kept = new Map();
    this.age = 0;
  }

  /** All tiles are out of date: they are shown until they are painted again. */
  forget() {
    this.age++;
  }

  /**
   * Paint what the camera sees.
   * @returns {boolean} whether all of it is there
   */
  paint(canvas, camera, ratio) {
    const scale = 2 ** Math.ceil(Math.log2(camera.zoom * ratio));
    const size = TILE / scale;
    const [left, top, right, bottom] = camera.seen;
    const deadline = performance.now() + TILE_TIME;
    let missing = 0;
    let painted = 0;
    for (let row = Math.max(-1, Math.floor(top / size)); row * size <= Math.min(bottom, camera.graphHeight + size); row++) {
      for (let column = Math.max(-1, Math.floor(left / size)); column * size <= Math.min(right, camera.graphWidth + size); column++) {
        const key = `${scale} ${column} ${row}`;
        let tile = this.kept.get(key);
        if (tile?.age !== this.age) {
          if (painted === 0 || performance.now() < deadline) {
            tile = this.#make(tile, scale, column, row);
            painted++;
          } else missing++;
        }
        if (!tile) continue;
        this.kept.delete(key);
        this.kept.set(key, tile);
        const [x, y] = camera.toScreen(column * size, row * size);
        const side = size * camera.zoom * ratio;
        canvas.drawImage(tile.canvas, x * ratio, y * ratio, side + 0.5, side + 0.5);
      }
    }
    for (const key of this.kept.keys()) {
      if (this.kept.size <= MOST_TILES) break;
      this.kept.delete(key);
    }
    return missing === 0;
  }

  #make(old, scale, column, row) {
    const canvas = old?.canvas ?? document.createElement("canvas");
    canvas.width = canvas.height = TILE;
    const context = canvas.getContext("2d", { alpha: false });
    const size = TILE / scale;
    context.setTransform(scale, 0, 0, scale, -column * TILE, -row * TILE);
    this.painter.paint(context, [column * size, row * size, (column + 1) * size, (row + 1) * size], scale);
    return { canvas, age: this.age };
  }
}
