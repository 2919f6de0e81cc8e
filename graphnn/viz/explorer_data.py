"""What the explorer's page shows, as columns: one list for each property of all nodes.

A page of 100,000 nodes has to be read within a second. So texts are numbers into one table, edges
are rows of coordinates, and what few nodes have is listed for those alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from graphnn.viz.layout import Layout
from graphnn.viz.scene import Overlay, Scene
from graphnn.viz.scene_json import plain

__all__ = ["Texts", "scene_columns", "tooltip_columns"]


class Texts:
    """Every text once, in the order of its first use.

    Examples
    --------
    >>> texts = Texts()
    >>> texts.number("tanh"), texts.number("relu"), texts.number("tanh")
    (0, 1, 0)
    >>> texts.all
    ['tanh', 'relu']
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Where a text stands in the table."""
        return self._numbers.setdefault(text, len(self._numbers))

    def column(self, texts: Iterable[str]) -> list[int]:
        """Where each of many texts stands."""
        texts, numbers = list(texts), self._numbers
        for text in dict.fromkeys(texts):
            numbers.setdefault(text, len(numbers))
        return list(map(numbers.__getitem__, texts))

    @property
    def all(self) -> list[str]:
        """The table."""
        return list(self._numbers)


def scene_columns(scene: Scene, layout: Layout, texts: Texts) -> dict[str, Any]:
    """A scene and where its parts stand, for ``JSON``; its texts are added to the table."""
    return {
        "title": texts.number(scene.title),
        "width": _tenths(layout.width),
        "height": _tenths(layout.height),
        "nodes": _nodes(scene, layout, texts),
        "edges": _edges(scene, layout, texts),
        "bands": [
            [*_box(band.box), texts.number(band.tone), texts.number(band.label)]
            for band in layout.bands
        ],
        "ghosts": [
            [*_box(ghost.box), ghost.node, ghost.reader, texts.number(ghost.text)]
            for ghost in layout.ghosts
        ],
        "groups": plain(scene.groups),
        "overlays": [_overlay(each) for each in scene.overlays],
        "strip": scene.strip
        and {
            "title": scene.strip.title,
            "unit": scene.strip.unit,
            "values": _values(scene.strip.values),
        },
    }


def _nodes(scene: Scene, layout: Layout, texts: Texts) -> dict[str, Any]:
    nodes = scene.nodes
    written = layout.texts or [(node.label, node.detail) for node in nodes]
    return {
        "first": texts.column(first for first, _ in written),
        "second": texts.column(second for _, second in written),
        **{
            name: texts.column(map(attrgetter(name), nodes))
            for name in ("label", "detail", "kind", "role", "style", "scope", "lane")
        },
        "step": [node.step for node in nodes],
        "origin": [-1 if node.origin is None else node.origin for node in nodes],
        "group": [-1 if node.group is None else node.group for node in nodes],
        "outputs": [index for index, node in enumerate(nodes) if node.is_output],
        "recomputed": [index for index, node in enumerate(nodes) if node.is_recomputed],
        "badges": [[index, *node.badges] for index, node in enumerate(nodes) if node.badges],
        "boxes": _steps_in_tenths(
            [(box.x, box.y, box.width, box.height) for box in layout.boxes], 4
        ),
    }


def tooltip_columns(scene: Scene, texts: Texts) -> dict[str, Any]:
    """How many lines every box's tooltip has, and all of them, as numbers of texts."""
    lines = [[line for line in node.tooltip.split("\n") if line.strip()] for node in scene.nodes]
    return {
        "lines": list(map(len, lines)),
        "numbers": texts.column(line for each in lines for line in each),
    }


def _edges(scene: Scene, layout: Layout, texts: Texts) -> dict[str, Any]:
    edges, routes = scene.edges, layout.routes
    return {
        "source": [edge.source for edge in edges],
        "target": [edge.target for edge in edges],
        "kind": texts.column(edge.kind for edge in edges),
        "labels": [
            [index, texts.number(edge.told), *map(_tenths, route.label_at)]
            for index, (edge, route) in enumerate(zip(edges, routes, strict=True))
            if route.label_at is not None and edge.told
        ],
        "cuts": [index for index, edge in enumerate(edges) if edge.is_cut],
        "curves": [index for index, route in enumerate(routes) if route.is_curve],
        "corners": [len(route.points) for route in routes],
        "points": _steps_in_tenths([point for route in routes for point in route.points], 2),
    }


def _overlay(overlay: Overlay) -> dict[str, Any]:
    return {
        "title": overlay.title,
        "unit": overlay.unit,
        "low": plain(float(overlay.low)),
        "high": plain(float(overlay.high)),
        "log": overlay.is_log,
        "frames": [
            {"label": frame.label, "values": _values(frame.values)} for frame in overlay.frames
        ],
    }


def _values(values: Sequence[float | None]) -> list[float | str | None]:
    """Six digits are enough; what is not finite is a word."""
    return [
        None if value is None else float(f"{value:.6g}") if math.isfinite(value) else str(value)
        for value in map(_float_or_none, values)
    ]


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)


def _box(box: Any) -> list[float]:
    return [_tenths(each) for each in (box.x, box.y, box.width, box.height)]


def _steps_in_tenths(rows: Sequence[tuple[float, ...]], width: int) -> list[int]:
    """By how many tenths of a point each number is above that of the row before.

    That is short: what follows in a list is near in a picture, which may be a million points wide.
    """
    tenths = np.rint(np.array(rows, np.float64).reshape(-1, width) * 10).astype(np.int64)
    steps: list[int] = np.diff(tenths, axis=0, prepend=0).ravel().tolist()
    return steps


def _tenths(value: float) -> float:
    """A tenth of a point is enough, and whole numbers are shorter."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded
