/**
 * The explorer: what is shown, what is selected, and when it is painted.
 */

class Explorer {
  /** @param {object} data as explorer.py writes it */
  constructor(data) {
    this.data = data;
    this.style = { ...data.style };
    this.fonts = this.style.fonts;
    this.canvas = find("#canvas");
    this.camera = new Camera();
    this.painter = new Painter(this);
    this.tiles = new Tiles(this.painter);
    this.highlights = new Highlights(this);
    this.panel = new Panel(this);
    this.selected = null;
    this.selectedCard = null;
    this.hovered = null;
    this.related = null;
    this.isWaiting = false;
    /** How boxes come to their places after another stage was chosen, while they do. */
    this.transition = null;
    this.tips = new Tips(find("#tips"));
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.stillness = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.theme = new Theme(this.style, dark.matches);
    this.#load(data.stages.length - 1);
    this.overlays = new Overlays(this);
    this.stages = new Stages(this);
    this.details = new Details(this);
    this.search = new Search(this);
    this.outline = new Outline(this);
    this.list = new NodeList(find("#list"), (node) => this.describe(node), (node) => this.select(node, true));
    this.overview = new Overview(this);
    this.link = new DeepLink(this);
    new Pointer(this);
    new Keys(this);
    this.#buttons();
    dark.addEventListener("change", () => this.setDark(dark.matches));
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
    this.measure();
    this.camera.goHome();
    this.setDark(dark.matches);
    this.showStage(this.stages.now);
    this.link.read();
  }

  // ------------------------------------------------------------------------------- what is shown

  #load(number) {
    this.graph = new Graph(this.data.stages[number].scene, this.data.texts, this.tips, number);
    const { graph } = this;
    this.nodeIndex = new SpatialIndex(graph.boxes);
    this.ghostIndex = new SpatialIndex(graph.ghosts.flatMap(({ x, y, width, height }) => [x, y, width, height]));
    this.edgeLabels = [...graph.edgeLabels];
    this.labelIndex = new SpatialIndex(this.edgeLabels.flatMap(([, { x, y }]) => [x, y, 0, 0]));
    this.folding = new Folding(graph);
    this.groupFrames = graph.bands.some((band) => graph.groups.some(({ kind }) => kind === band.tone)) ? [] : groupFrames(graph);
    this.camera.graphWidth = graph.width;
    this.camera.graphHeight = graph.height;
    this.canvas.setAttribute("aria-label", `Graph of ${counted(graph.count, "node")} and ${counted(graph.edgeCount, "edge")}: ${clipped(graph.title)}`);
    find("#title").textContent = graph.title;
  }

  /**
   * Show another stage; the selected node stays selected where it is still there. The view follows
   * it, or else the node in the middle; what stays moves to its new place.
   */
  showStage(number) {
    const { stages, camera } = this;
    const to = Math.min(Math.max(number, 0), stages.all.length - 1);
    const from = stages.now;
    const selected = this.selected === null ? null : stages.follow(this.selected, from, to);
    const title = this.overlays.overlay?.title;
    if (to !== from) {
      const { isHome } = camera;
      const [held, place] = heldBetween(this, from, to);
      const before = placesOnScreen(this);
      this.#load(to);
      this.measure();
      if (isHome) camera.goHome();
      else if (held !== null) camera.moveTo(camera.x + middle(this.graph.box(held)).x - place.x, camera.y + middle(this.graph.box(held)).y - place.y, camera.zoom);
      this.transition = this.stillness.matches ? null : transitionFrom(this, before, stages.pairs(from, to));
    }
    stages.show(to);
    this.overlays.update(title);
    this.outline.update();
    this.search.update();
    this.#relist();
    this.select(selected);
    this.repaint();
  }

  /** Fold or unfold scopes ("scope:a/b"), time steps ("step:3") and groups ("group:0"). */
  fold(keys, isFolded) {
    this.folding.set(keys, isFolded);
    if (this.selected !== null && this.folding.cardOf[this.selected] >= 0) this.select(null);
    this.selectedCard = null;
    this.outline.update();
    this.details.update();
    this.#relist();
    this.repaint();
  }

  /** Fold the innermost thing that a node is in, and select its card. */
  foldAround(node) {
    const key = this.folding.innermost(node);
    if (key === null) return;
    this.fold([key], true);
    this.selectedCard = this.folding.cardOf[node] >= 0 ? this.folding.cardOf[node] : null;
    this.details.update();
    this.redraw();
  }

  /** Unfold the card that is selected. */
  unfoldSelected() {
    if (this.selectedCard !== null) this.fold([this.folding.cards[this.selectedCard].key], false);
  }

  #relist() {
    const shown = [];
    for (let node = 0; node < this.graph.count; node++) if (this.folding.cardOf[node] < 0) shown.push(node);
    this.list.set(shown);
  }

  /** What a row of a list tells of a node. */
  describe(node) {
    const { graph } = this;
    const scope = graph.text("scope", node);
    return {
      name: clipped(graph.name(node)),
      detail: clipped([graph.text("detail", node), scope].filter(Boolean).join("  ·  ")),
      colour: this.theme.nodes[graph.text("style", node)].line,
    };
  }

  /** The colour that an overlay gives a node; null without one. */
  fillOf(node) {
    return this.overlays.shades ? this.overlays.shades[node] : null;
  }

  /** The number that an overlay gives a node, as text; null without one. */
  valueText(node) {
    const value = this.overlays.values?.[node] ?? null;
    return value === null ? null : numberText(value, this.overlays.overlay.unit);
  }

  changeColour(change) {
    return this.theme.changes[change] ?? this.theme.changes.changed;
  }

  // ------------------------------------------------------------------------------------ selection

  /** Select a node, or nothing, and perhaps bring it into sight. */
  select(node, isToBeSeen = false) {
    this.selected = node;
    this.selectedCard = null;
    if (node !== null && this.folding.cardOf[node] >= 0) {
      this.folding.reveal(node);
      this.outline.update();
      this.#relist();
      this.repaint();
    }
    this.related = node === null ? null : related(this.graph, node);
    this.details.update();
    if (node !== null) {
      this.panel.show(true);
      this.panel.open("details");
      if (isToBeSeen) this.#bringIntoSight(node);
    }
    this.redraw();
  }

  #bringIntoSight(node) {
    const { x, y, width, height } = this.graph.box(node);
    const zoom = Math.max(this.camera.zoom, NEAR.detail * 1.2);
    this.measure();
    this.camera.flyTo({ x: x + width / 2, y: y + height / 2, zoom }, this.stillness.matches, () => this.redraw());
  }

  /** The node, or that of the badge, at a point of the view; or null. */
  nodeAt(px, py) {
    const [x, y] = this.camera.toGraph(px, py);
    const ghosts = this.camera.zoom < NEAR.rounded ? [] : this.ghostsWithin([x, y, x, y]);
    if (ghosts.length > 0) return ghosts[0].node;
    const near = 3 / this.camera.zoom;
    const found = this.nodeIndex.within(x - near, y - near, x + near, y + near).filter((node) => this.folding.cardOf[node] < 0);
    return found.length === 0 ? null : Math.max(...found);
  }

  /** Badges in a part of the picture, at boxes that are not folded away. */
  ghostsWithin(area) {
    const found = this.ghostIndex.within(...area).map((at) => this.graph.ghosts[at]);
    return found.filter(({ reader }) => this.folding.cardOf[reader] < 0);
  }

  /** The card at a point of the view, or null. */
  cardAt(px, py) {
    const [x, y] = this.camera.toGraph(px, py);
    return this.folding.cardIndex.within(x, y, x, y)[0] ?? null;
  }

  /** Select what is at a point of the view. */
  selectAt(px, py) {
    const node = this.nodeAt(px, py);
    const card = node === null ? this.cardAt(px, py) : null;
    this.select(node);
    if (card === null) return;
    this.selectedCard = card;
    this.panel.show(true);
    this.panel.open("details");
    this.details.update();
    this.redraw();
  }

  /** Show the short text of the node below the mouse, or none. */
  hover(node, at = null) {
    const tip = find("#tip");
    this.canvas.style.cursor = node === null ? "grab" : "pointer";
    tip.hidden = node === null;
    if (node === null) return;
    const value = this.valueText(node);
    const lines = [this.graph.name(node), ...(value === null ? [] : [`${this.overlays.overlay.title}: ${value}`]), ...this.graph.tooltip(node)];
    if (this.hovered !== node || value !== null || tip.textContent === "") {
      tip.textContent = lines.map(clipped).join("\n");
      this.hovered = node;
    }
    tip.style.left = `${Math.max(4, Math.min(at.x + 14, this.camera.width - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(at.y + 14, this.camera.height - tip.offsetHeight - 8))}px`;
  }

  // ------------------------------------------------------------------------------------ controls

  #buttons() {
    find("#fit").onclick = () => this.fit();
    find("#zoom-in").onclick = () => this.zoom(1.4);
    find("#zoom-out").onclick = () => this.zoom(1 / 1.4);
    find("#theme").onclick = () => this.setDark(!this.theme.isDark);
    find("#keys").onclick = () => find("#help").showModal();
  }

  zoom(factor) {
    this.camera.stop();
    this.camera.zoomAt(factor);
    this.redraw();
  }

  /** All of the picture, or the beginning of a very long one. */
  fit() {
    this.measure();
    this.camera.flyTo(this.camera.overall, this.stillness.matches, () => this.redraw());
  }

  /** Light or dark. */
  setDark(isDark) {
    this.theme = new Theme(this.style, isDark);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    find("#theme").setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
    this.overlays.recolour();
    this.stages.show(this.stages.now);
    this.details.update();
    this.repaint();
  }

  // ------------------------------------------------------------------------------------ painting

  /** Paint all anew, and soon: colours or contents have changed. */
  repaint() {
    this.tiles.forget();
    this.overview?.forget();
    this.redraw();
  }

  /** Paint soon: the camera has moved, or something else is selected. */
  redraw() {
    this.link?.write();
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.#paint();
    });
  }

  /** Learn how much room there is. */
  measure() {
    const { camera } = this;
    const { isHome, width, height } = camera;
    const look = () => {
      camera.width = Math.max(this.canvas.clientWidth, 1);
      camera.height = Math.max(this.canvas.clientHeight, 1);
    };
    look();
    this.overview.arrange(); // which may take some of the room
    look();
    const dx = camera.width - width, dy = camera.height - height;
    if (dx === 0 && dy === 0) return;
    // Until it is painted, what stands around it comes to its size. Later nothing may move below
    // the mouse when the panel opens.
    const isNew = document.documentElement.dataset.painted === undefined;
    if (isNew && isHome) camera.goHome();
    else if (!isNew) camera.panBy(-dx / 2, -dy / 2);
  }

  #paint() {
    const { camera, theme } = this;
    this.measure();
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = fitted(this.canvas);
    const canvas = this.canvas.getContext("2d", { alpha: false });
    canvas.setTransform(1, 0, 0, 1, 0, 0);
    canvas.fillStyle = theme.ground;
    canvas.fillRect(0, 0, width, height);
    const toPicture = () => {
      const scale = camera.zoom * ratio;
      canvas.setTransform(scale, 0, 0, scale, width / 2 - camera.x * scale, height / 2 - camera.y * scale);
    };
    if (this.transition?.isOver) this.transition = null;
    if (this.transition !== null) {
      toPicture();
      this.transition.paint(canvas, camera.zoom);
      this.overview.paint();
      this.redraw();
      return;
    }
    let isWhole = true;
    if (camera.zoom >= DIRECT) {
      toPicture();
      this.painter.paint(canvas, camera.seen, camera.zoom);
    } else isWhole = this.tiles.paint(canvas, camera, ratio);
    this.highlights.paint(canvas, toPicture);
    canvas.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintBandNames(canvas, this);
    this.overview.paint();
    if (!isWhole) this.redraw();
    else document.documentElement.dataset.painted ??= String(Math.round(performance.now()));
  }
}

/** For tests, and for those who open the browser's console. */
window.explorer = new Explorer(JSON.parse(find("#data").textContent));
