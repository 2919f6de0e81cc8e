/**
 * Areas behind the boxes: frames around groups, and the names of lanes, time steps and scopes.
 */

/** Areas that have room for their names at the top. */
const FRAMES = ["layer", "fusion", "loop", "branch", "repeat"];
/** Areas that lie over lanes, whose colours shine through. */
const CLEAR = ["step", "layer"];
/** How the kinds of areas begin that stand for bytes: above them are the bytes of another time. */
const MEMORY = ["live", "peak", "kept"];

/** Frames around the boxes of every group and the frames inside it, the outer ones first. */
function groupFrames(graph) {
  const frames = graph.groups.map((group) => ({ ...group, left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity }));
  const widen = (frame, left, top, right, bottom) => {
    frame.left = Math.min(frame.left, left);
    frame.top = Math.min(frame.top, top);
    frame.right = Math.max(frame.right, right);
    frame.bottom = Math.max(frame.bottom, bottom);
  };
  for (let node = 0; node < graph.count; node++) {
    const group = graph.columns.group[node];
    const { x, y, width, height } = graph.box(node);
    if (group >= 0) widen(frames[group], x - 6, y - 14, x + width + 6, y + height + 6);
  }
  for (const frame of [...frames].reverse()) {
    if (frame.parent !== null) widen(frames[frame.parent], frame.left - 6, frame.top - 14, frame.right + 6, frame.bottom + 6);
  }
  return frames
    .filter(({ left }) => left < Infinity)
    .map(({ left, top, right, bottom, ...group }) => ({ ...group, x: left, y: top, width: right - left, height: bottom - top }));
}

/**
 * The names of lanes, time steps and scopes in the size of the page's text. They stay in sight
 * while any of what they name is.
 */
function paintBandNames(canvas, { camera, graph, groupFrames, theme, fonts }) {
  canvas.textAlign = "left";
  const steps = graph.bands.filter((band) => band.tone === "step");
  const apart = steps.length > 1 ? (steps[1].x - steps[0].x) * camera.zoom : Infinity;
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000].find((each) => each * apart > 64) ?? 10000;
  const write = (text, x, y, colour) => {
    canvas.lineWidth = 4;
    canvas.lineJoin = "round";
    canvas.strokeStyle = theme.ground;
    canvas.strokeText(text, x, y);
    canvas.fillStyle = colour;
    canvas.fillText(text, x, y);
  };
  const written = [];
  const frames = groupFrames.map((frame) => ({ ...frame, tone: frame.kind, colour: theme.group(frame.kind) }));
  [...graph.bands, ...frames].forEach((band) => {
    const [left, top] = camera.toScreen(band.x, band.y);
    const [right, bottom] = [left + band.width * camera.zoom, top + band.height * camera.zoom];
    if (right < 0 || bottom < 0 || left > camera.width || top > camera.height || band.label === "") return;
    const isStep = band.tone === "step";
    if (isStep && steps.indexOf(band) % every !== 0) return;
    // Frames have a row for their name; others lend it some of the room above them.
    const isFrame = FRAMES.includes(band.tone);
    const isMemory = MEMORY.some((word) => band.tone.startsWith(word));
    // From afar that row is too low, and their names stand on their upper edges.
    const isOnEdge = isFrame && 14 * camera.zoom < LEGIBLE + 2;
    const size = isOnEdge ? 9 : isFrame ? Math.min(11, 14 * camera.zoom) : 11;
    if (isOnEdge && bottom - top < 3 * size) return;
    canvas.font = `${size}px ${fonts}`;
    const room = (isStep ? every : 1) * (right - left) - 12;
    const label = fitting(canvas, band.label, room);
    if (label === "" || bottom - top < 14) return;
    const width = canvas.measureText(label).width;
    const x = Math.min(Math.max(left + 6, 6), Math.max(right - width - 6, left + 6));
    // From afar, a name of this size would hide the first row of a lane.
    const isAbove = !isStep && !isFrame && !isMemory && camera.zoom < 0.8;
    const y = Math.min(Math.max(isAbove ? top - 3 : isOnEdge ? top + 3 : top + size + 1, 14), bottom - 4);
    // Lanes are named below the row of the time steps, which stays at the top.
    const row = steps.length > 0 && !isStep && left < 0 ? Math.max(camera.toScreen(0, steps[0].y)[1] + 12, 14) + 15 : 0;
    let line = Math.max(y, Math.min(row, bottom - 4));
    // Names of frames in frames would all stick to the same place at the edge of the view.
    const isHidden = (at) => written.some((each) => x < each.right && x + width > each.x && Math.abs(at - each.y) < size);
    if (isOnEdge && isHidden(line)) return;
    while (isHidden(line) && line < bottom - 4) line += size + 3;
    written.push({ x, right: x + width, y: line });
    write(label, x, line, band.colour ?? theme.band(band.tone).line);
  });
}

/** What of a text fits into some pixels, with a sign that there is more; nothing if little does. */
function fitting(canvas, text, room) {
  const width = canvas.measureText(clipped(text)).width;
  if (width <= room) return clipped(text);
  const length = Math.floor((clipped(text).length * room) / width) - 2;
  return length < 6 ? "" : `${text.slice(0, length).trimEnd()}…`;
}
