"""Ways for the edges of a grid: level and plumb lines in the channels between boxes.

Every edge leaves its source at the bottom and enters its target at the top. Between two rows and
between two columns runs a channel with parallel tracks. Edges of one value and kind share a
track, so a weight that all time steps read is one rail with a tap at every step, and gradients
that meet in one sum share a rail too. The same edge of every time step takes the same track.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from graphnn.viz.layout import HEIGHT, LANES, Band, Box, Grid, Layout, Route, Slot, place
from graphnn.viz.scene import Scene, SceneEdge

__all__ = ["grid_layout"]

TRACK = 7.0
"""Points between neighbouring tracks."""
MOST_TRACKS = 24
"""Of one channel; more share."""
MARGIN = 12.0
LANE_GAP = 24.0
"""Points between lanes; above the first lane are the numbers of the time steps."""
LANE_NAME = 10.0
ROW = 2 * TRACK
"""Stands for the distance of two rows while it is not known yet."""
LABEL_ROOM = 50.0
"""Points of a level line that has room for a label."""
LONGEST_LOOK = 8
"""Rows that are searched for a free way straight down."""

Point = tuple[float, float]
Key = TypeVar("Key")
Arrival = tuple[Slot, str, int]
"""Edges that arrive at one point: where they come from, their kind, and from how far."""


def grid_layout(scene: Scene) -> Layout:
    """Positions on the grid of time and operations for every node and edge of a scene."""
    if not scene.nodes:
        return Layout((), (), (), 2 * MARGIN, 2 * MARGIN)
    grid = place(scene)
    ports = _Ports(scene.edges, grid)
    wires = [_wire(edge, grid, ports) for edge in scene.edges]
    columns = _Columns(grid, wires)
    rows = _Rows(grid, wires, columns)
    boxes = tuple(
        Box(columns.left[column] + slot.x - slot.width / 2, rows.top[slot.row], slot.width, HEIGHT)
        for slot, column in zip(grid.slots, grid.columns, strict=True)
    )
    routes = tuple(_trace(wire, grid, columns, rows) for wire in wires)
    bands = tuple(_bands(scene, grid, columns, rows))
    return Layout(boxes, routes, bands, columns.end + MARGIN, rows.end + MARGIN)


class _Ports:
    """Where on its box an edge leaves or arrives, from the box's centre."""

    def __init__(self, edges: Iterable[SceneEdge], grid: Grid) -> None:
        leaving: dict[Slot, dict[Hashable, float]] = {}
        arriving: dict[Slot, dict[Arrival, float]] = {}
        for edge in edges:
            source, target = grid.slots[edge.source], grid.slots[edge.target]
            way = _way(edge, grid)
            leaving.setdefault(source, {})[edge.kind] = 1e5 * way + target.x - source.x
            arriving.setdefault(target, {})[source, edge.kind, way] = -1e5 * way + source.x
        self.out = {
            (slot, kind): offset
            for slot, kinds in leaving.items()
            for kind, offset in _apart(slot.width, sorted(kinds, key=lambda kind: kinds[kind]))
        }
        self.into: dict[tuple[Slot, Arrival], float] = {}
        for slot, wires in arriving.items():
            for key, offset in self._arrivals(slot, wires):
                self.into[slot, key] = offset

    def _arrivals(self, slot: Slot, wires: dict[Arrival, float]) -> list[tuple[Arrival, float]]:
        """First what comes straight from above, then the others in the space left, in order."""
        taken: list[tuple[Arrival, float]] = []
        others: list[Arrival] = []
        reach = slot.width / 2 - 8
        for key in sorted(wires, key=lambda key: wires[key]):
            source, kind, way = key
            offset = source.x + self.out[source, kind] - slot.x
            straight = way == 0 and source.row < slot.row and abs(offset) <= reach
            if straight and all(abs(offset - other) >= TRACK for _, other in taken):
                taken.append((key, offset))
            else:
                others.append(key)
        if not taken:
            return _apart(slot.width, others)
        free = [
            offset
            for _, offset in _apart(slot.width, range(max(5, 2 * len(wires) + 1)))
            if all(abs(offset - other) >= TRACK for _, other in taken)
        ] or [0.0]
        for index, key in enumerate(others):
            taken.append((key, free[(2 * index + 1) * len(free) // (2 * len(others))]))
        return taken


def _way(edge: SceneEdge, grid: Grid) -> int:
    """Whether an edge leads left or right, and how far: 3 stands for all that is not near."""
    here, there = grid.columns[edge.source], grid.columns[edge.target]
    if "left" in (grid.kinds[here], grid.kinds[there]):
        return 3 * ((there > here) - (there < here))
    return max(-2, min(there - here, 2))


def _apart(width: float, keys: Sequence[Key]) -> list[tuple[Key, float]]:
    """Offsets from a box's centre, evenly spread over it."""
    room = width - 16
    return [(key, room * ((index + 1) / (len(keys) + 1) - 0.5)) for index, key in enumerate(keys)]


@dataclass(frozen=True, slots=True)
class _Wire:
    """The way of an edge before its tracks have coordinates.

    ``first`` and ``second`` are channels above the row of that number; ``side`` is the channel
    left of the column of that number. None where the way has no such part.
    """

    edge: SceneEdge
    net: Hashable
    kind: Hashable
    start: tuple[int, float]
    end: tuple[int, float]
    first: int | None = None
    side: int | None = None
    second: int | None = None


def _wire(edge: SceneEdge, grid: Grid, ports: _Ports) -> _Wire:
    source, target = grid.slots[edge.source], grid.slots[edge.target]
    here, there = grid.columns[edge.source], grid.columns[edge.target]
    start = (here, source.x + ports.out[source, edge.kind])
    end = (there, target.x + ports.into[target, (source, edge.kind, _way(edge, grid))])
    gathers = grid.kinds[there] == "left" and here != there
    node, slot = (edge.target, target) if gathers else (edge.source, source)
    net, kind = (node, edge.kind, gathers), (slot, edge.kind, gathers)
    below, above = source.row + 1, target.row
    is_plumb = here == there and abs(start[1] - end[1]) < 0.5
    if is_plumb and below <= above and _is_free(grid, here, below, above, start[1]):
        return _Wire(edge, net, kind, start, end)
    if below == above or (below < above and _is_free(grid, there, below, above, end[1])):
        return _Wire(edge, net, kind, start, end, first=below)
    if below < above and here == there and _is_free(grid, here, below, above, start[1]):
        return _Wire(edge, net, kind, start, end, first=above)
    if grid.kinds[here] == "left" or grid.kinds[there] == "left":
        side = 1
    else:
        side = max(here, there) if abs(here - there) == 1 else there if here < there else there + 1
    return _Wire(edge, net, kind, start, end, first=below, side=side, second=above)


def _is_free(grid: Grid, column: int, first: int, end: int, x: float) -> bool:
    """Whether a plumb line at ``x`` meets no box in these rows of a column."""
    if end - first > LONGEST_LOOK:
        return False
    kind = grid.kinds[column]
    return not any(
        abs(slot.x - x) < slot.width / 2 + 5
        for row in range(first, end)
        for slot in grid.occupied.get((kind, row), ())
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a wire that lies in a channel, from ``low`` to ``high`` along it."""

    channel: Hashable
    kind: Hashable
    low: float
    high: float


def _tracks(pieces: dict[Hashable, _Piece]) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
    """A track for every kind of piece in every channel, and the number of tracks by channel.

    Pieces of one kind share a track; two kinds share one if none of their pieces overlap.
    """
    kinds: dict[tuple[Hashable, Hashable], list[tuple[float, float]]] = {}
    for piece in pieces.values():
        kinds.setdefault((piece.channel, piece.kind), []).append((piece.low, piece.high))
    longest = sorted(kinds, key=lambda key: -max(high - low for low, high in kinds[key]))
    used: dict[Hashable, list[list[tuple[float, float]]]] = {}
    chosen: dict[Hashable, int] = {}
    for key in longest:
        tracks = used.setdefault(key[0], [])
        spans = _joined(kinds[key])
        free = (
            number
            for number, track in enumerate(tracks)
            if not any(_overlaps(track, span) for span in spans)
        )
        number = next(free, len(tracks))
        if number == MOST_TRACKS:
            number = len(chosen) % MOST_TRACKS
        elif number == len(tracks):
            tracks.append([])
        tracks[number] = sorted([*tracks[number], *spans])
        chosen[key] = number
    return chosen, {channel: len(tracks) for channel, tracks in used.items()}


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same stretches, sorted, with those that overlap made one."""
    joined: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _overlaps(track: list[tuple[float, float]], span: tuple[float, float]) -> bool:
    """Whether a stretch comes closer than one track to any of a sorted list."""
    low, high = span[0] - TRACK, span[1] + TRACK
    index = bisect_left(track, (low,))
    if index < len(track) and track[index][0] < high:
        return True
    return index > 0 and track[index - 1][1] > low


def _add(pieces: dict[Hashable, _Piece], net: Hashable, piece: _Piece) -> None:
    known = pieces.get((piece.channel, net))
    if known is not None:
        piece = _Piece(
            piece.channel, piece.kind, min(known.low, piece.low), max(known.high, piece.high)
        )
    pieces[piece.channel, net] = piece


class _Columns:
    """Where columns and the tracks between them lie."""

    def __init__(self, grid: Grid, wires: Iterable[_Wire]) -> None:
        self._kinds = grid.kinds
        far = ROW * (grid.n_rows + 2)
        pieces: dict[Hashable, _Piece] = {}
        for wire in wires:
            if wire.side is not None and wire.first is not None and wire.second is not None:
                low, high = sorted((float(wire.first), float(wire.second)))
                # One channel for all boundaries of a kind, so that they are equally wide.
                piece = _Piece(
                    self._boundary(wire.side),
                    wire.kind,
                    wire.side * far + low * ROW,
                    wire.side * far + high * ROW,
                )
                _add(pieces, (wire.net, wire.side), piece)
        self._chosen, counts = _tracks(pieces)
        self.left: list[float] = []
        x = MARGIN
        self._start: list[float] = []
        for index, kind in enumerate(grid.kinds):
            self._start.append(x + TRACK)
            x += TRACK * (counts.get(self._boundary(index), 0) + 2)
            self.left.append(x)
            x += grid.widths.get(kind, 0.0)
        self._start.append(x + TRACK)
        self.end = x + TRACK * (counts.get(self._boundary(len(grid.kinds)), 0) + 1)

    def _boundary(self, index: int) -> Hashable:
        left = self._kinds[index - 1] if index > 0 else ""
        right = self._kinds[index] if index < len(self._kinds) else ""
        return left, right

    def x(self, place: tuple[int, float]) -> float:
        """Of a point given by column and distance from the column's left edge."""
        return self.left[place[0]] + place[1]

    def side(self, wire: _Wire) -> float:
        """Where a wire runs between two columns."""
        assert wire.side is not None
        return self._start[wire.side] + TRACK * (
            self._chosen[self._boundary(wire.side), wire.kind] + 0.5
        )


class _Rows:
    """Where rows and the tracks between them lie."""

    def __init__(self, grid: Grid, wires: Iterable[_Wire], columns: _Columns) -> None:
        pieces: dict[Hashable, _Piece] = {}
        for wire in wires:
            if wire.first is None:
                continue
            start, end = columns.x(wire.start), columns.x(wire.end)
            if wire.side is None or wire.second is None:
                _add(pieces, wire.net, _Piece(wire.first, wire.kind, *sorted((start, end))))
            else:
                side = columns.side(wire)
                _add(pieces, wire.net, _Piece(wire.first, wire.kind, *sorted((start, side))))
                _add(pieces, wire.net, _Piece(wire.second, wire.kind, *sorted((side, end))))
        self._chosen, counts = _tracks(pieces)
        # Where there is but one lane, it needs no name and no distance from the next.
        first_rows = {first for _, first, _ in grid.lanes} if "left" in grid.kinds else set()
        self.top: list[float] = []
        self._start: list[float] = []
        self.lane_top: dict[int, float] = {}
        y = MARGIN
        for row in range(grid.n_rows + 1):
            if row in first_rows:
                y += LANE_GAP
            if row in first_rows:
                self.lane_top[row] = y
                y += LANE_NAME
            self._start.append(y + TRACK)
            y += TRACK * (counts.get(row, 0) + 2)
            self.top.append(y)
            y += HEIGHT
        self.end = y - HEIGHT

    def track(self, channel: int, kind: Hashable) -> float:
        """Where pieces of a kind run above a row."""
        return self._start[channel] + TRACK * (self._chosen[channel, kind] + 0.5)


def _trace(wire: _Wire, grid: Grid, columns: _Columns, rows: _Rows) -> Route:
    """The corners of a wire."""
    start, end = columns.x(wire.start), columns.x(wire.end)
    bottom = rows.top[grid.slots[wire.edge.source].row] + HEIGHT
    top = rows.top[grid.slots[wire.edge.target].row]
    points: list[Point] = [(start, bottom)]
    if wire.first is not None:
        level = rows.track(wire.first, wire.kind)
        if wire.side is None or wire.second is None:
            points += [(start, level), (end, level)]
        else:
            side, last = columns.side(wire), rows.track(wire.second, wire.kind)
            points += [(start, level), (side, level), (side, last), (end, last)]
    points.append((end, top))
    return Route(tuple(points), label_at=_label_at(points) if wire.edge.label else None)


def _label_at(points: Sequence[Point]) -> Point:
    """The middle of the longest level piece; of the longest plumb one if that is short."""
    pieces = list(pairwise(points))
    level = max(pieces, key=lambda piece: abs(piece[0][0] - piece[1][0]))
    plumb = max(pieces, key=lambda piece: abs(piece[0][1] - piece[1][1]))
    (ax, ay), (bx, by) = level if abs(level[0][0] - level[1][0]) >= LABEL_ROOM else plumb
    return (ax + bx) / 2, (ay + by) / 2


def _bands(scene: Scene, grid: Grid, columns: _Columns, rows: _Rows) -> Iterable[Band]:
    """Lanes, and over them the columns of the time steps."""
    if not scene.steps:
        return
    for lane, first, count in grid.lanes:
        top = rows.lane_top[first]
        bottom = rows.lane_top.get(first + count, rows.end + LANE_GAP) - LANE_GAP
        name = LANES[lane]
        label = f"← {name}" if name == "backward" else f"{name} →"
        yield Band(Box(MARGIN / 2, top, columns.end, bottom - top), name, label)
    labels = dict(scene.step_labels)
    for index, step in enumerate(scene.steps, start=1):
        left, width = columns.left[index], grid.widths["step"]
        yield Band(
            Box(left - 4, MARGIN, width + 8, rows.end - MARGIN),
            "step",
            labels.get(step, f"t = {step}"),
        )
