"""The layout on the grid of time and operations: places, tracks and sizes become points."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from graphnn.compiler.garbage import without_collections
from graphnn.viz.frames import FRAME_PAD, GROUP_NAME, frames
from graphnn.viz.grid import Grid, Slot
from graphnn.viz.layout import Band, Box, Ghost, Layout, Route
from graphnn.viz.place import GHOST_GAP, place
from graphnn.viz.scene import Scene, SceneEdge
from graphnn.viz.sheet import Sheet, sheet_of
from graphnn.viz.style import SMALL_SIZE, text_width
from graphnn.viz.tracks import TRACK
from graphnn.viz.wires import (
    Wire,
    Wires,
    channel_of,
    tracks_between_columns,
    tracks_between_rows,
)

__all__ = ["grid_layout"]

MARGIN = 12.0
LANE_GAP = 8.0
LANE_NAME = 18.0
STEP_NAME = 18.0
STEP_GAP = 5.0
"""Points between a time step's frame and the lines beside it."""
GHOST = 12.0
"""Height of a badge that names a weight."""
HEAD = GHOST + 1
"""Points that badges need above a box, with a gap that shows the box's edge."""
LABEL = 9.0
"""Points below a box for what is saved of it."""


@without_collections()
def grid_layout(scene: Scene) -> Layout:
    """Positions on the grid of time and operations for every node and edge of a scene."""
    if not scene.nodes:
        return Layout((), (), (), 2 * MARGIN, 2 * MARGIN)
    sheet = sheet_of(scene)
    whole = place(sheet)
    wires = Wires(sheet.scene, whole)
    grid = _drawn(whole, sheet)
    columns = _Columns(grid, wires.all)
    rows = _Rows(grid, wires.all, columns)
    middles = {slot: columns.middle(slot) for slot in grid.unique}
    boxes = tuple(
        Box(
            columns.left[column] + middles[slot] - slot.width / 2,
            rows.middle[slot.row] - slot.height / 2,
            slot.width,
            slot.height,
        )
        for slot, column in zip(grid.slots, grid.columns, strict=True)
    )
    ghosts = _ghosts(grid, boxes)
    standing = {(ghost.node, ghost.reader): ghost for ghost in ghosts}
    ways = {wire: _way(wire, columns, rows, middles) for wire in wires.all}
    routes = []
    for edge, wire in zip(scene.edges, wires.of_edge[sheet.first_edge :], strict=True):
        if wire is None:
            routes.append(_short(standing[edge.source, edge.target], boxes))
        else:
            here = columns.left[grid.columns[edge.source]]
            there = columns.left[grid.columns[edge.target]]
            routes.append(_route(ways[wire], here, there, edge, boxes[edge.source]))
    routes = _told_once(scene, routes)
    heads = [HEAD if slot.has_ghost else 0.0 for slot in grid.slots]
    bands = (*_bands(scene, grid, columns, rows), *frames(scene, boxes, heads))
    return Layout(
        boxes,
        tuple(routes),
        bands,
        columns.end + MARGIN,
        rows.end + MARGIN,
        tuple(grid.texts),
        ghosts,
    )


def _drawn(grid: Grid, sheet: Sheet) -> Grid:
    """What is drawn of a grid of all zooms; they have their room in it."""
    if not sheet.drawn.zooms:
        return grid
    first = sheet.first_node
    ghosts = {
        reader - first: [(named - first, text, width) for named, text, width in names]
        for reader, names in grid.ghosts.items()
        if reader >= first
    }
    columns = sheet.near[first:]
    return replace(
        grid,
        slots=grid.slots[first:],
        columns=columns,
        kinds=grid.kinds[-(len(sheet.drawn.steps) + 2) :],
        is_ghost=grid.is_ghost[sheet.first_edge :],
        texts=grid.texts[first:],
        ghosts=ghosts,
    )


class _Columns:
    """Where columns, the places in them and the tracks between those lie."""

    def __init__(self, grid: Grid, wires: Sequence[Wire]) -> None:
        self._grid = grid
        self._chosen, self._count = tracks_between_columns(wires)
        rooms: dict[tuple[str, int], float] = {}
        for slot in grid.unique:
            key = (slot.kind, slot.place)
            rooms[key] = max(rooms.get(key, 0.0), slot.room)
        self._middles: dict[tuple[str, int], float] = {}
        self._ends: dict[tuple[str, int], float] = {}
        self.widths: dict[str, float] = {}
        for kind, places in grid.places.items():
            x = 0.0
            for number in range(places):
                if number:
                    x += self._width((kind, number))
                room = rooms.get((kind, number), 0.0)
                self._middles[kind, number] = x + room / 2
                x += room
                self._ends[kind, number] = x
            self.widths[kind] = x
        self.left: list[float] = []
        x = MARGIN - TRACK
        for column, kind in enumerate(grid.kinds):
            x += self._width(channel_of(grid, column, 0))
            self.left.append(x)
            x += self.widths[kind]
        self.end = x + self._width((grid.kinds[-1], "")) - TRACK

    def _width(self, channel: Hashable) -> float:
        return TRACK * (self._count.get(channel, 0) + 1) + 2 * self._edge(channel)

    def _edge(self, channel: Hashable) -> float:
        """Points beside the tracks, for frames around time steps."""
        is_boundary = isinstance(channel, tuple) and isinstance(channel[1], str)
        return STEP_GAP + 3 if is_boundary and channel != ("", "flat") else 3.0

    def middle(self, slot: Slot) -> float:
        """Of its box, from the left edge of its column."""
        return self._middles[slot.kind, slot.place]

    def track(self, wire: Wire, channel: Hashable, kind: str, place: int) -> float:
        """Where a wire runs up or down, from the left edge of a column of that kind.

        The channel is the one left of the place.
        """
        start = -self._width(channel) if place == 0 else self._ends[kind, place - 1]
        return start + self._edge(channel) + TRACK * (self._chosen[channel, wire.net] + 1)

    def out_track(self, wire: Wire) -> float:
        """Where it runs near its source, from the left edge of the source's column."""
        slot = wire.source
        return self.track(wire, wire.out, slot.kind, slot.place + (wire.out_side > 0))

    def into_track(self, wire: Wire) -> float:
        """Where it runs near its target, from the left edge of the target's column."""
        slot = wire.target
        return self.track(wire, wire.into, slot.kind, slot.place + (wire.in_side > 0))


class _Rows:
    """Where rows and the tracks between them lie."""

    def __init__(self, grid: Grid, wires: Iterable[Wire], columns: _Columns) -> None:
        level = [wire for wire in wires if wire.level is not None]
        ends = [
            (
                (wire.source.kind, columns.out_track(wire)),
                (wire.target.kind, columns.into_track(wire)),
            )
            for wire in level
        ]
        self._chosen, count = tracks_between_rows(level, ends, grid.places)
        above, below = [0.0] * grid.first[-1], [0.0] * grid.first[-1]
        for slot in grid.unique:
            head = HEAD if slot.has_ghost else 0.0
            label = LABEL if slot.has_label else 0.0
            over = head + GROUP_NAME * slot.frames
            under = max(label, FRAME_PAD * slot.frames)
            above[slot.row] = max(above[slot.row], slot.height / 2 + over)
            below[slot.row] = max(below[slot.row], slot.height / 2 + under)
        has_lanes = "step" in grid.kinds
        starts = set(grid.first[:-1]) if has_lanes else set()
        self.middle: list[float] = []
        self.lanes: list[tuple[float, float]] = []
        self._start: list[float] = []
        y = MARGIN + (STEP_NAME if has_lanes else 0.0)
        for row in range(grid.first[-1] + 1):
            is_last = row == grid.first[-1]
            lane_end = y + 6
            if row in starts and row:
                y += LANE_GAP
            self._start.append(y)
            y += TRACK * (count.get(row, 0) + 1)
            if has_lanes and row and (row in starts or is_last):
                self.lanes[-1] = (self.lanes[-1][0], y - 2 if is_last else lane_end)
            if is_last:
                break
            if row in starts:
                y += LANE_GAP if row else 0.0
                self.lanes.append((y, y))
                y += LANE_NAME
            y += above[row]
            self.middle.append(y)
            y += below[row]
        self.end = y

    def track(self, wire: Wire) -> float:
        """Where a wire runs along its channel."""
        assert wire.level is not None
        return self._start[wire.level] + TRACK * (self._chosen[wire.level, wire.net] + 1)


Way = list[tuple[bool, float, float]]
"""Corners: whether ``x`` counts from the target's column, ``x`` and ``y``."""


def _way(wire: Wire, columns: _Columns, rows: _Rows, middles: dict[Slot, float]) -> Way:
    """The corners of a wire, wherever its columns are."""
    source, target = wire.source, wire.target
    y, y_end = rows.middle[source.row] + wire.leaves, rows.middle[target.row] + wire.enters
    corners: Way = [(False, middles[source] + wire.out_side * _half(source, wire.leaves), y)]
    if wire.out is not None:
        x = columns.out_track(wire)
        corners.append((False, x, y))
        if wire.level is None:
            corners.append((False, x, y_end))
        else:
            level, x_end = rows.track(wire), columns.into_track(wire)
            corners += [(False, x, level), (True, x_end, level), (True, x_end, y_end)]
    corners.append((True, middles[target] + wire.in_side * _half(target, wire.enters), y_end))
    return corners


def _half(slot: Slot, offset: float) -> float:
    """From the middle of a box to its side; of a circle, less at the top and at the bottom."""
    if slot.width > slot.height or slot.height > 20:
        return slot.width / 2
    radius: float = slot.width / 2
    return float(max(radius * radius - offset * offset, 0.0) ** 0.5)


def _route(way: Way, here: float, there: float, edge: SceneEdge, source: Box) -> Route:
    """The line of an edge; bytes are told below the source, and else a lag at the level piece."""
    points = tuple([(x + (there if from_target else here), y) for from_target, x, y in way])
    if not edge.told:
        return Route(points)
    if len(points) == 6 and not edge.label:
        return Route(points, label_at=((points[2][0] + points[3][0]) / 2, points[2][1]))
    return Route(points, label_at=(source.center[0], source.y + source.height + LABEL / 2 + 1))


def _told_once(scene: Scene, routes: list[Route]) -> list[Route]:
    """The lines without labels that lie over the same ones, as where they share a track."""
    made, taken = [*routes], dict[tuple[str, float], list[float]]()
    for index, (edge, route) in enumerate(zip(scene.edges, routes, strict=True)):
        if edge.lag and route.label_at is not None:
            x, y = route.label_at
            beside = taken.setdefault((edge.told, y), [])
            if any(abs(x - other) < text_width(edge.told, SMALL_SIZE) for other in beside):
                made[index] = replace(route, label_at=None)
            else:
                beside.append(x)
    return made


def _short(ghost: Ghost, boxes: Sequence[Box]) -> Route:
    """From a ghost to the box at which it stands."""
    x, _ = ghost.box.center
    box = boxes[ghost.reader]
    x = min(max(x, box.x + 1), box.x + box.width - 1)
    return Route(((x, ghost.box.y), (x, box.y)))


def _ghosts(grid: Grid, boxes: Sequence[Box]) -> tuple[Ghost, ...]:
    """Badges above the boxes that read what stands at the left."""
    ghosts = []
    for reader, names in grid.ghosts.items():
        box = boxes[reader]
        total = sum(width + GHOST_GAP for _, _, width in names) - GHOST_GAP
        x = box.x - 5 if total < box.width else box.center[0] - total / 2
        for named, text, width in names:
            ghosts.append(Ghost(Box(x, box.y - HEAD, width, GHOST), named, reader, text))
            x += width + GHOST_GAP
    return tuple(ghosts)


def _bands(scene: Scene, grid: Grid, columns: _Columns, rows: _Rows) -> Iterable[Band]:
    """Lanes, and over them the columns of the time steps."""
    if not scene.steps:
        return
    for lane, (top, bottom) in zip(grid.lanes, rows.lanes, strict=True):
        name = f"{lane.name}  {lane.role}" if lane.name else lane.role
        label = f"{name} →" if lane.flow > 0 else f"← {name}"
        yield Band(Box(MARGIN / 2, top, columns.end, bottom - top), lane.role, label)
    labels = dict(scene.step_labels)
    for column, step in enumerate(scene.steps, start=1):
        if grid.kinds[column] == "step":
            left, width = columns.left[column] - STEP_GAP, columns.widths["step"] + 2 * STEP_GAP
            box = Box(left, MARGIN, width, rows.end - MARGIN)
            yield Band(box, "step", labels.get(step, f"t = {step}"))
