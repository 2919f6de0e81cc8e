"""The drawing: marks, strokes, bands and words with positions and styles.

Every picture is one, whichever layout found the positions; every writer needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphnn.viz.layout import Band, Box, Layout, Route
from graphnn.viz.scene import Scene
from graphnn.viz.style import DETAIL_SIZE, EDGES, LABEL_SIZE, NODES, shorten, text_width

__all__ = ["Drawing", "Mark", "Stroke", "Tile", "Words", "drawing_of"]

PADDING = 10.0
LEGEND_ROW = 20.0
SWATCH = 26.0
TITLE = 24.0


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
    fill, ink : str
        ``#rrggbb`` of the area and of the texts, in place of those of the style.
    """

    box: Box
    style: str
    label: str = ""
    detail: str = ""
    tooltip: str = ""
    is_output: bool = False
    fill: str = ""
    ink: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A coloured rectangle without a line around it: a piece of a scale."""

    box: Box
    fill: str


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
    """

    route: Route
    style: str
    label: str = ""
    ends: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Text that stands by itself; ``x`` is its left end, ``y`` its baseline."""

    x: float
    y: float
    text: str
    size: float = DETAIL_SIZE


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything in a picture, from back to front: bands, tiles, strokes, marks, words.

    Attributes
    ----------
    title : str
    marks : tuple of Mark
        The scene's nodes in order, then swatches of the legend.
    strokes : tuple of Stroke
        The scene's edges in order, then samples of the legend.
    bands : tuple of Band
    words : tuple of Words
    width, height : float
        Points.
    tiles : tuple of Tile
    """

    title: str
    marks: tuple[Mark, ...]
    strokes: tuple[Stroke, ...]
    bands: tuple[Band, ...]
    words: tuple[Words, ...]
    width: float
    height: float
    tiles: tuple[Tile, ...] = ()


def drawing_of(scene: Scene, layout: Layout) -> Drawing:
    """Put a scene's texts and styles at a layout's positions, and add title and legend."""
    marks = [
        Mark(_lower(box, TITLE), node.style, node.label, node.detail, node.tooltip, node.is_output)
        for node, box in zip(scene.nodes, layout.boxes, strict=True)
    ]
    strokes = [
        Stroke(_lower_route(route), edge.kind, edge.label, (edge.source, edge.target))
        for edge, route in zip(scene.edges, layout.routes, strict=True)
    ]
    bands = tuple(Band(_lower(band.box, TITLE), band.tone, band.label) for band in layout.bands)
    title = shorten(scene.title, 100)
    words = [Words(PADDING, 18, title, LABEL_SIZE)]
    width = max(layout.width, 2 * PADDING + text_width(title, LABEL_SIZE))
    height = _add_legend(scene, width, layout.height + TITLE, marks, strokes, words)
    width = max([width, *(each.x + text_width(each.text, each.size) + PADDING for each in words)])
    return Drawing(title, tuple(marks), tuple(strokes), bands, tuple(words), width, height)


def _lower(box: Box, by: float) -> Box:
    return Box(box.x, box.y + by, box.width, box.height)


def _lower_route(route: Route) -> Route:
    label_at = route.label_at
    return Route(
        tuple((x, y + TITLE) for x, y in route.points),
        route.is_curve,
        (label_at[0], label_at[1] + TITLE) if label_at is not None else None,
    )


def _add_legend(
    scene: Scene,
    width: float,
    top: float,
    marks: list[Mark],
    strokes: list[Stroke],
    words: list[Words],
) -> float:
    """Explain the styles that occur, in rows as wide as the picture. Returns the bottom."""
    node_styles = {node.style for node in scene.nodes}
    edge_styles = {edge.kind for edge in scene.edges}
    entries = [(name, style.meaning, True) for name, style in NODES.items() if name in node_styles]
    entries += [
        (name, style.meaning, False) for name, style in EDGES.items() if name in edge_styles
    ]
    x, y = PADDING, top + LEGEND_ROW / 2
    for name, meaning, is_node in entries:
        needed = SWATCH + 6 + text_width(meaning, DETAIL_SIZE) + 14
        if x > PADDING and x + needed > width:
            x, y = PADDING, y + LEGEND_ROW
        if is_node:
            marks.append(Mark(Box(x, y - 6, SWATCH, 12), name))
        else:
            strokes.append(Stroke(Route(((x, y), (x + SWATCH, y))), name))
        words.append(Words(x + SWATCH + 6, y + 3, meaning))
        x += needed
    return y + LEGEND_ROW / 2 + PADDING if entries else top
