"""Dashed lines of one value that run together: what they share is drawn once.

Dashes over dashes fill each other's gaps, and the line would look full and bold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from graphnn.viz.layout import Route
from graphnn.viz.scene import SceneEdge
from graphnn.viz.style import EDGES

__all__ = ["unshared"]

Point = tuple[float, float]
Drawn = dict[tuple[bool, float], tuple[float, float]]
"""By a level or plumb line: the stretch of it that is drawn."""


def unshared(edges: Sequence[SceneEdge], routes: Sequence[Route]) -> list[Route]:
    """The routes; dashed ones begin where they part from earlier ones of the same value."""
    found = list(routes)
    drawn: dict[tuple[int, str], Drawn] = {}
    for number, (edge, route) in enumerate(zip(edges, routes, strict=True)):
        if EDGES[edge.kind].dashes and not route.is_curve:
            known = drawn.setdefault((edge.source, edge.kind), {})
            points = _beyond(route.points, known)
            if points is not route.points:
                found[number] = replace(route, points=points)
            for start, end in pairwise(route.points):
                _mark(start, end, known)
    return found


def _beyond(points: tuple[Point, ...], drawn: Drawn) -> tuple[Point, ...]:
    """The rest of a line after what is drawn; its last piece always has an arrowhead."""
    for number, (start, end) in enumerate(pairwise(points)):
        line, low, high = _stretch(start, end)
        known = drawn.get(line)
        along = 0 if line[0] else 1
        if known is None or not known[0] <= start[along] <= known[1]:
            return points[number:] if number else points
        if number == len(points) - 2 and known[0] <= low and high <= known[1]:
            return points[number:]
        if low < known[0] or high > known[1]:
            turn = min(max(end[along], known[0]), known[1])
            from_here = (turn, start[1]) if along == 0 else (start[0], turn)
            return (from_here, *points[number + 1 :])
    return points


def _mark(start: Point, end: Point, drawn: Drawn) -> None:
    """Remember a piece, with what is drawn of its line before if they touch."""
    line, low, high = _stretch(start, end)
    known = drawn.get(line)
    if known is not None and low <= known[1] and known[0] <= high:
        low, high = min(low, known[0]), max(high, known[1])
    drawn[line] = (low, high)


def _stretch(start: Point, end: Point) -> tuple[tuple[bool, float], float, float]:
    is_level = start[1] == end[1]
    if is_level:
        return (True, start[1]), min(start[0], end[0]), max(start[0], end[0])
    return (False, start[0]), min(start[1], end[1]), max(start[1], end[1])
