"""Ways for the edges of a grid: level and plumb lines in the channels between boxes.

An edge leaves its source at the side to which the values of its lane flow, and enters its target at
the other side. Between two columns of boxes and between two rows runs a channel with parallel
tracks. Edges of one value and kind share a track; so do the gradients of all steps that meet in
sums at the left. The same edge of every time step is one wire, whose way is found once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from graphnn.viz.grid import Grid, Slot, gathers
from graphnn.viz.scene import Scene, SceneEdge
from graphnn.viz.tracks import Spans, assign_tracks

__all__ = [
    "Channel",
    "Wire",
    "Wires",
    "channel_of",
    "tracks_between_columns",
    "tracks_between_rows",
]

Channel = Hashable
"""Between columns of boxes of a kind, or between columns of two kinds."""

FAR = 1e6
NEAR = 2
"""Places that a line from another lane may run along its target's row."""
ROW = 100.0
"""Stands for the distance of two rows while it is not known yet."""


@dataclass(eq=False, slots=True)
class Wire:
    """The way of the same edge of every time step.

    It leaves ``source``, runs up or down in the channel ``out``, perhaps along the channel above
    the row ``level``, up or down in the channel ``into``, and enters ``target``. A straight one
    has neither, one without a level no second channel.

    Attributes
    ----------
    source, target : Slot
    kind : str
    net : hashable
        Equal where wires may share tracks.
    out, into : Channel or None
    level : int or None
    out_side, in_side : int
        1 where it is the right side of the box, -1 where the left.
    way : int
        How many columns to the right, at most 2.
    leaves, enters : float
        Points below the middle of the boxes.
    """

    source: Slot
    target: Slot
    kind: str
    net: Hashable
    way: int
    out_side: int
    in_side: int
    out: Channel | None = None
    into: Channel | None = None
    level: int | None = None
    leaves: float = 0.0
    enters: float = 0.0


def channel_of(grid: Grid, column: int, place: int) -> Channel:
    """The channel left of a place in a column; it may be that between two columns."""
    kind = grid.kinds[column]
    if place == 0:
        return (grid.kinds[column - 1] if column else "", kind)
    if place == grid.places[kind]:
        return (kind, grid.kinds[column + 1] if column + 1 < len(grid.kinds) else "")
    return (kind, place)


class Wires:
    """All wires of a scene: one for each edge of one step, shared by all steps."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        self._grid = grid
        self._occupied = _occupied(grid)
        self._first_place = [0]
        for kind in grid.kinds:
            self._first_place.append(self._first_place[-1] + grid.places[kind])
        known: dict[Hashable, Wire] = {}
        self.of_edge: list[Wire | None] = []
        for edge, is_ghost in zip(scene.edges, grid.is_ghost, strict=True):
            self.of_edge.append(None if is_ghost else self._wire(edge, known))
        self.all = list(known.values())
        self._leave()
        self._enter()

    def _wire(self, edge: SceneEdge, known: dict[Hashable, Wire]) -> Wire:
        grid = self._grid
        source, target = grid.slots[edge.source], grid.slots[edge.target]
        here, there = grid.columns[edge.source], grid.columns[edge.target]
        way = max(-2, min(there - here, 2))
        out_side = grid.lanes[source.lane].flow
        in_side = -grid.lanes[target.lane].flow
        out_place = source.place + (out_side > 0)
        in_place = target.place + (in_side > 0)
        out, into = channel_of(grid, here, out_place), channel_of(grid, there, in_place)
        key = (source, target, edge.kind, way, out, into, bool(edge.lag))
        wire = known.get(key)
        if wire is not None:
            return wire
        is_sum = gathers(source, target)
        is_far = is_sum or ("step" == source.kind != target.kind and abs(way) > 1)
        net: Hashable = (source, edge.kind)
        if is_far:
            net = ("sum", target.lane) if is_sum else (target, edge.kind)
        wire = known[key] = Wire(source, target, edge.kind, net, way, out_side, in_side)
        first, last = self._first_place[here] + out_place, self._first_place[there] + in_place
        is_near = source.lane == target.lane or abs(first - last) <= NEAR
        is_open = is_near and self._is_free(target.row, here, there, first, last)
        if edge.lag or is_far:
            wire.level = self._outer(target.lane, is_far)
        elif not is_open and first != last:
            wire.level = self._between(source, target)
        elif is_open and source.row == target.row and edge.kind != "saved":
            return wire  # straight
        wire.out = out
        if wire.level is not None:
            wire.into = into
        return wire

    def _outer(self, lane: int, is_far: bool) -> int:
        """The channel at the side of a lane that looks away from the other direction."""
        is_backward = self._grid.lanes[lane].role == "backward"
        return self._grid.first[lane + (is_backward or is_far)]

    def _between(self, source: Slot, target: Slot) -> int:
        """A channel between two rows: beside the target's, or beside its lane."""
        first = self._grid.first
        if source.lane == target.lane:
            return target.row + (source.row >= target.row)
        if source.lane < target.lane:
            return self._middle(source.lane, target.lane)
        return first[source.lane]

    def _middle(self, above: int, below: int) -> int:
        """Between the directions of time, or else above the lower lane."""
        roles = [lane.role for lane in self._grid.lanes]
        if "backward" in roles and above < roles.index("backward") <= below:
            return self._grid.first[roles.index("backward")]
        return self._grid.first[below]

    def _is_free(self, row: int, here: int, there: int, first: int, last: int) -> bool:
        """Whether no box of a row stands between two channels, given by number from the left."""
        if abs(here - there) > 1:
            return False
        low, high = min(first, last), max(first, last)
        for column in {here, there}:
            start = self._first_place[column]
            taken = self._occupied.get((self._grid.kinds[column], row), ())
            if any(low <= start + place < high for place in taken):
                return False
        return True

    def _leave(self) -> None:
        """What is saved leaves beside what flows on."""
        for wire in self.all:
            if wire.kind == "saved":
                down = 1 if wire.target.row > wire.source.row else -1
                wire.leaves = down * (9.0 if wire.source.height > 30 else 7.0)

    def _enter(self) -> None:
        """What comes straight enters in the middle, the others above and below it, in order."""
        arriving: dict[Slot, dict[Hashable, list[Wire]]] = {}
        for wire in self.all:
            key = (wire.net, wire.kind, wire.out is None)
            arriving.setdefault(wire.target, {}).setdefault(key, []).append(wire)
        for slot, found in arriving.items():
            groups = sorted(found.values(), key=lambda wires: _height_of(wires[0]))
            is_crowded = len(self._occupied[slot.kind, slot.row]) > 1 or slot.kind != "flat"
            reach = slot.height / 2 - (5.0 if slot.height > 20 else 6.0)
            above = [wires for wires in groups if _height_of(wires[0]) < slot.row]
            below = [wires for wires in groups if _height_of(wires[0]) > slot.row]
            if len(groups) == 1 and not is_crowded:
                continue
            for side, wires_of_side in ((-1, above[::-1]), (1, below)):
                for index, wires in enumerate(wires_of_side):
                    for wire in wires:
                        wire.enters = side * reach * (index + 1) / len(wires_of_side)


def _height_of(wire: Wire) -> float:
    """Where a wire comes from, in rows; a straight one from its target's row itself."""
    if wire.out is None:
        return wire.target.row
    if wire.level is not None:
        return wire.level - 0.5
    return wire.source.row if wire.source.row != wire.target.row else wire.target.row + 0.25


def _occupied(grid: Grid) -> dict[tuple[str, int], list[int]]:
    occupied: dict[tuple[str, int], list[int]] = {}
    for slot in grid.unique:
        occupied.setdefault((slot.kind, slot.row), []).append(slot.place)
    return occupied


# ------------------------------------------------------------------------------------ the tracks


def tracks_between_columns(
    wires: Iterable[Wire],
) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
    """Tracks of what runs up or down, by channel and net, and their number by channel."""
    spans: dict[tuple[Hashable, Hashable], Spans] = {}
    for wire in wires:
        start = wire.source.row * ROW + wire.leaves
        end = wire.target.row * ROW + wire.enters
        if wire.out is None:
            continue
        if wire.level is None:
            spans.setdefault((wire.out, wire.net), []).append((min(start, end), max(start, end)))
            continue
        level = (wire.level - 0.5) * ROW
        for channel, y in ((wire.out, start), (wire.into, end)):
            spans.setdefault((channel, wire.net), []).append((min(y, level), max(y, level)))
    return assign_tracks(spans)


def tracks_between_rows(
    wires: Iterable[Wire],
    ends: Sequence[tuple[tuple[str, float], tuple[str, float]]],
    kinds: Iterable[str],
) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
    """Tracks of what runs along a channel between rows.

    Parameters
    ----------
    wires : iterable of Wire
        With a level.
    ends : sequence of pairs
        Where each starts and ends: kind of column, and points from its left edge.
    kinds : iterable of str
        Those there are.
    """
    axis = {kind: 4 * FAR * index for index, kind in enumerate(kinds)}
    spans: dict[tuple[Hashable, Hashable], Spans] = {}
    for wire, (start, end) in zip(wires, ends, strict=True):
        found = spans.setdefault((wire.level, wire.net), [])
        (left_kind, left), (right_kind, right) = (start, end) if wire.way >= 0 else (end, start)
        if wire.way == 0:
            base = axis[left_kind]
            found.append((base + min(left, right), base + max(left, right)))
            continue
        found.append((axis[left_kind] + left, axis[left_kind] + FAR))
        found.append((axis[right_kind] - FAR, axis[right_kind] + right))
        if abs(wire.way) > 1:
            found += [
                (axis[kind] - FAR, axis[kind] + FAR) for kind in ("step", "elision") if kind in axis
            ]
    return assign_tracks(spans)
