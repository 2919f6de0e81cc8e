"""The drawing: marks, pills, strokes, bands and words with positions and styles.

Every picture is one, whichever layout found the positions; every writer needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from graphnn.compiler.garbage import without_collections
from graphnn.viz.layout import Band, Box, Layout, Route
from graphnn.viz.scene import Scene, SceneEdge
from graphnn.viz.shared import unshared
from graphnn.viz.style import (
    DETAIL_SIZE,
    EDGES,
    LABEL_SIZE,
    NODES,
    SMALL_SIZE,
    shorten,
    text_width,
)

__all__ = ["Drawing", "Mark", "Pill", "Stroke", "Tile", "Words", "drawing_of"]

PADDING = 10.0
LEGEND_ROW = 20.0
SWATCH = 26.0
TITLE = 24.0
PILL = 12.0
"""Height of a badge."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A box with up to two lines of text.

    Attributes
    ----------
    box : Box
    style : str
        Key in :data:`graphnn.viz.style.NODES`.
    label, detail : str
    tooltip : str
    is_output : bool
        Drawn with a thick line.
    is_dashed : bool
        Computed once more in the backward pass.
    fill, ink : str
        ``#rrggbb`` of the area and of the texts, in place of those of the style.
    """

    box: Box
    style: str
    label: str = ""
    detail: str = ""
    tooltip: str = ""
    is_output: bool = False
    is_dashed: bool = False
    fill: str = ""
    ink: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A coloured rectangle without a line around it: a piece of a scale."""

    box: Box
    fill: str


@dataclass(frozen=True, slots=True)
class Pill:
    """A badge: a few letters on a small round area, over the edge of a box.

    Attributes
    ----------
    box : Box
    style : str
        Key in :data:`graphnn.viz.style.NODES`.
    text : str
    """

    box: Box
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line with an arrowhead.

    Attributes
    ----------
    route : Route
    style : str
        Key in :data:`graphnn.viz.style.EDGES`.
    label : str
    ends : (int, int) or None
        Numbers of the marks it joins; None in the legend.
    cut_at : (float, float) or None
        Where two bars across the line tell that nothing goes on there.
    """

    route: Route
    style: str
    label: str = ""
    ends: tuple[int, int] | None = None
    cut_at: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Text that stands by itself; ``x`` is its left end, ``y`` its baseline."""

    x: float
    y: float
    text: str
    size: float = DETAIL_SIZE


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything in a picture, from back to front: bands, tiles, strokes, marks, pills, words.

    Attributes
    ----------
    title : str
    marks : tuple of Mark
        The scene's nodes in order, then swatches of the legend.
    strokes : tuple of Stroke
        The scene's edges in order, then samples of the legend.
    bands : tuple of Band
    words : tuple of Words
    width : float
        Points.
    top, bottom : float
        Where it begins and ends; positions are the layout's, and the title is above them.
    pills : tuple of Pill
    tiles : tuple of Tile
    """

    title: str
    marks: tuple[Mark, ...]
    strokes: tuple[Stroke, ...]
    bands: tuple[Band, ...]
    words: tuple[Words, ...]
    width: float
    top: float
    bottom: float
    pills: tuple[Pill, ...] = ()
    tiles: tuple[Tile, ...] = ()

    @property
    def height(self) -> float:
        """From its beginning to its end."""
        return self.bottom - self.top


@without_collections()
def drawing_of(scene: Scene, layout: Layout) -> Drawing:
    """Put a scene's texts and styles at a layout's positions, and add title and legend."""
    texts = layout.texts or [(node.label, node.detail) for node in scene.nodes]
    marks = [
        Mark(box, node.style, *text, node.tooltip, node.is_output, node.is_recomputed)
        for node, box, text in zip(scene.nodes, layout.boxes, texts, strict=True)
    ]
    routes = unshared(scene.edges, layout.routes)
    strokes = [_stroke(edge, route) for edge, route in zip(scene.edges, routes, strict=True)]
    pills = [Pill(ghost.box, scene.nodes[ghost.node].style, ghost.text) for ghost in layout.ghosts]
    for node, box in zip(scene.nodes, layout.boxes, strict=True):
        if node.badges:
            pills += _badges(node.badges, node.style, box)
    title = shorten(scene.title, 100)
    words = [Words(PADDING, 18 - TITLE, title, LABEL_SIZE)]
    width = max(layout.width, 2 * PADDING + text_width(title, LABEL_SIZE))
    legend = _Legend(width, layout.height)
    _explain(scene, bool(layout.ghosts), legend)
    words += legend.words
    width = max([width, *(each.x + text_width(each.text, each.size) + PADDING for each in words)])
    return Drawing(
        title,
        (*marks, *legend.marks),
        (*strokes, *legend.strokes),
        layout.bands,
        tuple(words),
        width,
        -TITLE,
        legend.end,
        (*pills, *legend.pills),
    )


def _stroke(edge: SceneEdge, route: Route) -> Stroke:
    cut_at = _middle(route) if edge.is_cut else None
    return Stroke(route, edge.kind, edge.told, (edge.source, edge.target), cut_at)


def _middle(route: Route) -> tuple[float, float]:
    """The middle of the longest level piece of a line."""
    points = route.points
    if route.is_curve:
        return points[len(points) // 2]
    (x, y), (x_end, y_end) = max(pairwise(points), key=lambda piece: abs(piece[0][0] - piece[1][0]))
    return (x + x_end) / 2, (y + y_end) / 2


def _badges(badges: tuple[str, ...], style: str, box: Box) -> list[Pill]:
    """Side by side, ending at the upper right corner of a box."""
    pills = []
    x = box.x + box.width + 5
    for text in reversed(badges):
        width = text_width(text, SMALL_SIZE) + 8
        x -= width
        pills.append(Pill(Box(x, box.y - PILL + 2, width, PILL), style, text))
        x -= 2
    return pills


class _Legend:
    """Rows as wide as the picture, each entry a sample and what it means."""

    def __init__(self, width: float, top: float) -> None:
        self.marks: list[Mark] = []
        self.strokes: list[Stroke] = []
        self.pills: list[Pill] = []
        self.words: list[Words] = []
        self._width = width
        self._x, self._y = PADDING, top + LEGEND_ROW / 2
        self._top = top

    @property
    def end(self) -> float:
        """Its lower end."""
        return self._y + LEGEND_ROW / 2 + PADDING if self.words else self._top

    def _room(self, meaning: str) -> tuple[float, float]:
        needed = SWATCH + 6 + text_width(meaning, DETAIL_SIZE) + 14
        if self._x > PADDING and self._x + needed > self._width:
            self._x, self._y = PADDING, self._y + LEGEND_ROW
        x = self._x
        self._x += needed
        self.words.append(Words(x + SWATCH + 6, self._y + 3, meaning))
        return x, self._y

    def add_mark(self, style: str, meaning: str, is_dashed: bool = False) -> None:
        """A box."""
        x, y = self._room(meaning)
        self.marks.append(Mark(Box(x, y - 6, SWATCH, PILL), style, is_dashed=is_dashed))

    def add_pill(self, style: str, text: str, meaning: str) -> None:
        """A badge."""
        x, y = self._room(meaning)
        self.pills.append(Pill(Box(x, y - 6, SWATCH, PILL), style, text))

    def add_stroke(self, style: str, meaning: str, is_cut: bool = False) -> None:
        """A line."""
        x, y = self._room(meaning)
        cut_at = (x + SWATCH / 2, y) if is_cut else None
        self.strokes.append(Stroke(Route(((x, y), (x + SWATCH, y))), style, cut_at=cut_at))


def _explain(scene: Scene, has_ghosts: bool, legend: _Legend) -> None:
    """Add an entry for everything that occurs in a scene."""
    styles = {node.style for node in scene.nodes}
    for name, style in NODES.items():
        if name in styles:
            legend.add_mark(name, style.meaning)
    if has_ghosts:
        where = "at a step that reads it" if scene.steps else "where it is read again"
        legend.add_pill("parameter", "W", f"the same weight, {where}")
    if any(node.is_recomputed for node in scene.nodes):
        legend.add_mark("forward", "computed once more for the backward pass", is_dashed=True)
    kinds = {edge.kind for edge in scene.edges if not (has_ghosts and edge.kind == "weight")}
    for name, look in EDGES.items():
        if name in kinds:
            legend.add_stroke(name, look.meaning)
    cut = next((edge.kind for edge in scene.edges if edge.is_cut), None)
    if cut is not None:
        legend.add_stroke(cut, "cut: nothing flows on", is_cut=True)
