"""A small graph in layers from left to right: what is inside of a frame.

The layered layout of K. Sugiyama, S. Tagawa and M. Toda (1981), in its simplest form: longest ways
are the columns, edges over several columns take a place of their own in each, and columns are put
in order by what their members read. Meant for some dozens of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Layers", "layered"]

Point = tuple[float, float]

COLUMN_GAP = 22.0
"""Points between columns."""
ROW_GAP = 12.0
"""Points between boxes of a column, in which a badge has room."""
LINE = 4.0
"""Points of height that a line takes that passes a column."""
SWEEPS = 4


@dataclass(frozen=True)
class Layers:
    """Where boxes are, and the way of every edge.

    Attributes
    ----------
    corners : tuple of (float, float)
        The upper left one of every box.
    ways : tuple of tuple of (float, float)
        The points between the ends of every edge that it goes through.
    sides : tuple of (float, float)
        The left and the right end of every box's column.
    width, height : float
    """

    corners: tuple[Point, ...]
    ways: tuple[tuple[Point, ...], ...]
    sides: tuple[Point, ...]
    width: float
    height: float


@dataclass(eq=False)
class _Place:
    """A box, or the place of a line that passes a column."""

    width: float
    height: float
    column: int
    before: list[_Place]
    after: list[_Place]
    y: float = 0.0
    x: float = 0.0


def layered(sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layers:
    """Put boxes in columns.

    Parameters
    ----------
    sizes : sequence of (float, float)
        Width and height of every box.
    edges : sequence of (int, int)
        From a box to a later one.

    Returns
    -------
    Layers
    """
    columns = _columns(len(sizes), edges)
    boxes = [
        _Place(width, height, column, [], [])
        for (width, height), column in zip(sizes, columns, strict=True)
    ]
    places = list(boxes)
    ways: list[list[_Place]] = []
    for source, target in edges:
        way, last = [], boxes[source]
        for column in range(columns[source] + 1, columns[target]):
            place = _Place(0.0, LINE, column, [], [])
            _connect(last, place)
            way.append(place)
            last = place
        _connect(last, boxes[target])
        places += way
        ways.append(way)
    by_column: list[list[_Place]] = [[] for _ in range(max(columns, default=-1) + 1)]
    for place in places:
        by_column[place.column].append(place)
    _settle(by_column)
    top = min((place.y - place.height / 2 for place in places), default=0.0)
    x = 0.0
    sides = []
    for members in by_column:
        width = max(place.width for place in members)
        for place in members:
            place.x = x + (width - place.width) / 2 if place.width else x + width / 2
            place.y -= top
        sides.append((x, x + width))
        x += width + COLUMN_GAP
    return Layers(
        tuple((box.x, box.y - box.height / 2) for box in boxes),
        tuple(tuple((place.x, place.y) for place in way) for way in ways),
        tuple(sides[column] for column in columns),
        max(x - COLUMN_GAP, 0.0),
        max((place.y + place.height / 2 for place in places), default=0.0),
    )


def _connect(source: _Place, target: _Place) -> None:
    source.after.append(target)
    target.before.append(source)


def _columns(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest ways; what reads nothing stands right before its first reader."""
    columns = [0] * count
    first: dict[int, int] = {}
    reads = {target for _, target in edges}
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        columns[target] = max(columns[target], columns[source] + 1)
    for source, target in edges:
        if source not in reads:
            first[source] = min(first.get(source, columns[target]), columns[target])
    for source, column in first.items():
        columns[source] = column - 1
    return columns


def _settle(by_column: Sequence[list[_Place]]) -> None:
    """Order the columns, and find heights: each near to its neighbours, without overlaps."""
    for members in by_column:
        _stack(members, [place.y for place in members])
    for sweep in range(SWEEPS):
        backwards = sweep % 2 == 1
        for members in reversed(by_column) if backwards else by_column:
            wanted = []
            for place in members:
                near = place.after if backwards else place.before
                wanted.append(sum(each.y for each in near) / len(near) if near else place.y)
            paired = sorted(zip(wanted, members, strict=True), key=lambda pair: pair[0])
            members[:] = [place for _, place in paired]
            _stack(members, [wish for wish, _ in paired])
    _close_up([place for members in by_column for place in members])


def _close_up(places: Sequence[_Place]) -> None:
    """Take out heights at which there is nothing in any column."""
    bottom, shift = float("-inf"), 0.0
    for place in sorted(places, key=lambda each: each.y - each.height / 2):
        top = place.y - place.height / 2 - shift
        if bottom > float("-inf"):
            empty = max(top - bottom - ROW_GAP, 0.0)
            shift += empty
            top -= empty
        place.y -= shift
        bottom = max(bottom, top + place.height)


def _stack(members: Sequence[_Place], wanted: Sequence[float]) -> None:
    """Stand below each other, each where it wants to be or as near as those above allow."""
    bottom = float("-inf")
    moved = 0.0
    for place, wish in zip(members, wanted, strict=True):
        place.y = max(wish, bottom + ROW_GAP + place.height / 2)
        bottom = place.y + place.height / 2
        moved += place.y - wish
    shift = moved / len(members) if members else 0.0
    for place in members:
        place.y -= shift
