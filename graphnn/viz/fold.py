"""Tall pictures folded into columns, as text is: a long chain is no sliver.

A layout is cut where few edges cross, and the parts are put side by side. Edges that cross a cut go
below their column, up between the columns, and into the next one from above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

from graphnn.viz.layout import Band, Box, Layout, Route
from graphnn.viz.scene import Scene
from graphnn.viz.style import SMALL_SIZE, text_width

__all__ = ["folded"]

SHORTEST = 1200.0
"""Points of height up to which nothing is folded."""
SLENDER = 3.0
"""Height by width from which a picture is a sliver."""
WANTED = 1.5
"""Width by height to come near to."""
SLACK = 0.25
"""How far from equal parts a cut may be, in heights of a part."""
LEAST_GAP = 6.0
THINNEST = 20.0
"""Piece of a frame that is drawn."""
MARGIN = 16.0
TRACK = 7.0
"""Between lines that run beside each other from one column to the next."""
CORNER = 6.0

Point = tuple[float, float]


@dataclass(frozen=True)
class _Crossing:
    """An edge from one column to another: its ways inside of both."""

    edge: int
    first: int
    last: int
    leaving: tuple[Point, ...]
    arriving: tuple[Point, ...]


def folded(scene: Scene, layout: Layout) -> Layout:
    """The layout in several columns if it is a sliver; the same object if it is not."""
    if layout.height <= SHORTEST or layout.height < SLENDER * layout.width:
        return layout
    cuts = _cuts(layout, max(2, round(sqrt(WANTED * layout.height / layout.width))))
    if not cuts:
        return layout
    return _Folding(scene, layout, cuts).layout()


def _cuts(layout: Layout, count: int) -> list[float]:
    """Where to cut into that many parts: near equal heights, across few lines and frames."""
    part = layout.height / count
    spans = [_span(point[1] for point in route.points) for route in layout.routes]
    frames = [(band.box.y, band.box.y + band.box.height) for band in layout.bands]
    gaps = _gaps(layout.boxes)
    found: list[float] = []
    for number in range(1, count):
        near = [y for y in gaps if abs(y - number * part) < SLACK * part]
        if near:
            crossed = {
                y: sum(low < y < high for low, high in spans)
                + 3 * sum(low < y < high for low, high in frames)
                for y in near
            }
            found.append(min(near, key=lambda y: (crossed[y], abs(y - number * part))))
    return found


def _gaps(boxes: Sequence[Box]) -> list[float]:
    """Middles of the heights where no box stands."""
    found, end = [], None
    for box in sorted(boxes, key=lambda box: box.y):
        if end is not None and box.y - end >= LEAST_GAP:
            found.append((box.y + end) / 2)
        end = box.y + box.height if end is None else max(end, box.y + box.height)
    return found


def _span(values: Iterable[float]) -> tuple[float, float]:
    listed = list(values)
    return min(listed), max(listed)


class _Folding:
    """Puts the parts of one layout side by side."""

    def __init__(self, scene: Scene, layout: Layout, cuts: Sequence[float]) -> None:
        self._layout = layout
        self._edges = scene.edges
        self._limits = [0.0, *cuts, layout.height]
        self._column = [self._part_of(box.center[1]) for box in layout.boxes]
        self._crossings = self._find_crossings()
        self._bands = [piece for band in layout.bands for piece in self._pieces(band)]
        self._place_columns()

    def layout(self) -> Layout:
        """The layout in columns."""
        boxes = tuple(
            self._moved_box(box, column)
            for box, column in zip(self._layout.boxes, self._column, strict=True)
        )
        routes = list(self._layout.routes)
        crossing = {each.edge for each in self._crossings}
        for index, edge in enumerate(self._edges):
            if index not in crossing:
                routes[index] = self._moved_route(routes[index], self._column[edge.source])
        for each in self._crossings:
            routes[each.edge] = self._led_over(each)
        bands = tuple(
            replace(band, box=self._moved_box(band.box, column)) for band, column in self._bands
        )
        return Layout(boxes, tuple(routes), bands, self._width, self._height)

    def _part_of(self, y: float) -> int:
        return next(part for part, limit in enumerate(self._limits[1:]) if y <= limit)

    def _find_crossings(self) -> list[_Crossing]:
        found = []
        for index, (edge, route) in enumerate(zip(self._edges, self._layout.routes, strict=True)):
            first, last = self._column[edge.source], self._column[edge.target]
            if first < last:
                points = route.points
                leaving, _ = _split(points, self._limits[first + 1])
                _, arriving = _split(points, self._limits[last])
                found.append(_Crossing(index, first, last, leaving, arriving))
        # From the right to the left, so that their ways into the next column do not cross.
        return sorted(found, key=lambda each: (each.last, -each.leaving[-1][0], each.edge))

    def _pieces(self, band: Band) -> list[tuple[Band, int]]:
        """A frame, cut where the layout is."""
        top, bottom = band.box.y, band.box.y + band.box.height
        first, last = self._part_of(top), self._part_of(bottom)
        pieces = []
        for part in range(first, last + 1):
            start, end = max(top, self._limits[part]), min(bottom, self._limits[part + 1])
            if end - start >= THINNEST:
                box = replace(band.box, y=start, height=end - start)
                label = band.label if part == first else ""
                pieces.append((replace(band, box=box, label=label), part))
        return pieces

    def _place_columns(self) -> None:
        """Find the shift of every column, with room for the lines between columns."""
        count = len(self._limits) - 1
        lanes = [sum(each.last == column for each in self._crossings) for column in range(count)]
        spans: list[list[float]] = [[] for _ in range(count)]
        for box, column in [
            *zip(self._layout.boxes, self._column, strict=True),
            *((band.box, column) for band, column in self._bands),
        ]:
            spans[column] += [box.x, box.x + box.width]
        for edge, route in zip(self._edges, self._layout.routes, strict=True):
            if self._column[edge.source] == self._column[edge.target]:
                spans[self._column[edge.source]] += [x for x, _ in route.points]
            if route.label_at is not None:
                x, y = route.label_at
                half = text_width(edge.label, SMALL_SIZE) / 2
                spans[self._part_of(y)] += [x - half, x + half]
        for each in self._crossings:
            spans[each.first] += [x for x, _ in each.leaving]
            spans[each.last] += [x for x, _ in each.arriving]
        self._room = MARGIN + TRACK * max(lanes)
        self._gutter = [0.0] * count
        self._shift = []
        x = MARGIN
        for column in range(count):
            self._gutter[column] = x
            x += TRACK * lanes[column] + (MARGIN if column else 0.0)
            left, right = _span(spans[column])
            self._shift.append((x - left, self._room - self._limits[column]))
            x += right - left + MARGIN
        heights = [b - a for a, b in pairwise(self._limits)]
        self._bottom = [self._room + height for height in heights]
        self._width = x
        self._height = max(self._bottom) + self._room

    def _moved_box(self, box: Box, column: int) -> Box:
        dx, dy = self._shift[column]
        return replace(box, x=box.x + dx, y=box.y + dy)

    def _moved(self, points: Iterable[Point], column: int) -> tuple[Point, ...]:
        dx, dy = self._shift[column]
        return tuple((x + dx, y + dy) for x, y in points)

    def _moved_route(self, route: Route, column: int) -> Route:
        label_at = route.label_at and self._moved([route.label_at], column)[0]
        return replace(route, points=self._moved(route.points, column), label_at=label_at)

    def _led_over(self, crossing: _Crossing) -> Route:
        """The way of an edge to a later column: below its own, up, and down from above."""
        into = [each for each in self._crossings if each.last == crossing.last]
        lane = into.index(crossing)
        leaving = self._moved(crossing.leaving, crossing.first)
        arriving = self._moved(crossing.arriving, crossing.last)
        low = max(self._bottom[crossing.first : crossing.last]) + TRACK * (lane + 1)
        side = self._gutter[crossing.last] + TRACK * lane
        high = self._room - TRACK * (len(into) - lane)
        start, end = leaving[-1], arriving[0]
        corners = [start, (start[0], low), (side, low), (side, high), (end[0], high), end]
        label_at = self._layout.routes[crossing.edge].label_at
        if label_at is not None:
            column = self._part_of(label_at[1])
            label_at = (
                (side, (low + high) / 2)
                if column not in (crossing.first, crossing.last)
                else self._moved([label_at], column)[0]
            )
        return Route((*leaving, *_rounded(corners), *arriving[1:]), True, label_at)


def _split(points: Sequence[Point], y: float) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Curves above and below a height that they pass."""
    for first in range(0, len(points) - 3, 3):
        piece = points[first : first + 4]
        if piece[0][1] <= y <= piece[3][1]:
            low, high = 0.0, 1.0
            for _ in range(30):
                middle = (low + high) / 2
                if _divided(piece, middle)[0][-1][1] < y:
                    low = middle
                else:
                    high = middle
            above, below = _divided(piece, low)
            return (*points[:first], *above), (*below, *points[first + 4 :])
    return tuple(points), (points[-1],) * 4


def _divided(piece: Sequence[Point], at: float) -> tuple[list[Point], list[Point]]:
    """One cubic curve as two (de Casteljau's algorithm)."""
    above, below, level = [piece[0]], [piece[-1]], list(piece)
    while len(level) > 1:
        level = [(a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at) for a, b in pairwise(level)]
        above.append(level[0])
        below.append(level[-1])
    return above, below[::-1]


def _rounded(corners: Sequence[Point]) -> list[Point]:
    """Straight lines with round corners as cubic curves, without their first point."""
    points: list[Point] = []
    at = corners[0]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        near, far = _toward(corner, before), _toward(corner, after)
        points += [at, near, near, corner, corner, far]
        at = far
    return [*points, at, corners[-1], corners[-1]]


def _toward(corner: Point, other: Point) -> Point:
    """A point near a corner, on the way to another."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    part = min(CORNER / length, 0.5) if length else 0.0
    return corner[0] + dx * part, corner[1] + dy * part
