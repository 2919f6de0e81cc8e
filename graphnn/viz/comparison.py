"""``gn.viz.side_by_side``: several pictures in one, whose colours mean the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from graphnn.core.errors import RenderError
from graphnn.viz.layout import Band, Box, Ghost, Layout, Route
from graphnn.viz.picture import Picture
from graphnn.viz.scene import Frame, Overlay, Scene, SceneEdge, SceneGroup, SceneNode

__all__ = ["side_by_side"]

HEAD = 26.0
"""Points above each picture, for its title."""
SPACE = 14.0


class _Combined(Picture):
    """A picture whose layout is known."""

    def __init__(self, scene: Scene, layout: Layout, text: Callable[[], str]) -> None:
        super().__init__(scene, "grid", text)
        self._known = layout

    @cached_property
    def layout(self) -> Layout:
        """Those of its parts, moved."""
        return self._known


def side_by_side(*pictures: Picture, titles: Sequence[str] = ()) -> Picture:
    """One picture of several, with one scale for what is measured in all of them.

    Wide pictures, such as those of many time steps, come below each other; high ones beside each
    other.

    Parameters
    ----------
    *pictures : Picture
        What :func:`graphnn.render` gives without a path: of two runs, or of what two devices do.
        All have an overlay of the same measure, or none has.
    titles : sequence of str, optional
        One for each. Default: their own.

    Returns
    -------
    Picture

    Raises
    ------
    RenderError
        If there is no picture, the number of titles is another one, or overlays have nothing in
        common.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> y = gn.exp(x)
    >>> feeds = np.zeros(3, "float32"), np.ones(3, "float32")
    >>> runs = [gn.viz.measure(y, [feed], "value norm") for feed in feeds]
    >>> gn.viz.side_by_side(*(gn.render(y, overlay=run) for run in runs))
    <Picture of 4 nodes, 2 edges>
    """
    if not pictures or len(titles) not in (0, len(pictures)):
        raise RenderError(
            f"side_by_side: {len(pictures)} pictures and {len(titles)} titles",
            hint="give pictures, and one title for each or none",
            where="",
        )
    names = titles or [each.scene.title for each in pictures]
    scene = _joined([each.scene for each in pictures], " | ".join(names))
    layout = _arranged(pictures, names)
    return _Combined(scene, layout, lambda: "\n\n".join(each.txt.rstrip() for each in pictures))


def _arranged(pictures: Sequence[Picture], titles: Sequence[str]) -> Layout:
    layouts = [each.layout for each in pictures]
    is_wide = sum(each.width for each in layouts) > sum(each.height for each in layouts)
    boxes: list[Box] = []
    routes: list[Route] = []
    bands: list[Band] = []
    texts: list[tuple[str, str]] = []
    ghosts: list[Ghost] = []
    width = height = 0.0
    for layout, picture, title in zip(layouts, pictures, titles, strict=True):
        left, top = (0.0, height) if is_wide else (width, 0.0)
        bands.append(Band(Box(left, top, layout.width, layout.height + HEAD), "scope", title))
        ghosts += [
            replace(
                each,
                box=_moved(each.box, left, top + HEAD),
                node=each.node + len(boxes),
                reader=each.reader + len(boxes),
            )
            for each in layout.ghosts
        ]
        texts += layout.texts or [(node.label, node.detail) for node in picture.scene.nodes]
        boxes += [_moved(each, left, top + HEAD) for each in layout.boxes]
        routes += (_moved_route(each, left, top + HEAD) for each in layout.routes)
        bands += (replace(b, box=_moved(b.box, left, top + HEAD)) for b in layout.bands)
        right, bottom = left + layout.width, top + layout.height + HEAD
        width, height = max(width, right), max(height, bottom)
        width, height = (width, height + SPACE) if is_wide else (width + SPACE, height)
    return Layout(
        tuple(boxes), tuple(routes), tuple(bands), width, height, tuple(texts), tuple(ghosts)
    )


def _moved(box: Box, x: float, y: float) -> Box:
    return replace(box, x=box.x + x, y=box.y + y)


def _moved_route(route: Route, x: float, y: float) -> Route:
    points = tuple((px + x, py + y) for px, py in route.points)
    label = route.label_at
    return replace(route, points=points, label_at=label and (label[0] + x, label[1] + y))


def _joined(scenes: Sequence[Scene], title: str) -> Scene:
    """All nodes, edges and groups, numbered one after the other."""
    nodes: list[SceneNode] = []
    edges: list[SceneEdge] = []
    groups: list[SceneGroup] = []
    for scene in scenes:
        first, outer = len(nodes), len(groups)
        edges += (
            replace(each, source=each.source + first, target=each.target + first)
            for each in scene.edges
        )
        nodes += (
            replace(each, origin=_later(each.origin, first), group=_later(each.group, outer))
            for each in scene.nodes
        )
        groups += (replace(each, parent=_later(each.parent, outer)) for each in scene.groups)
    return Scene(title, tuple(nodes), tuple(edges), tuple(groups), overlays=_on_one_scale(scenes))


def _later(number: int | None, by: int) -> int | None:
    return None if number is None else number + by


def _on_one_scale(scenes: Sequence[Scene]) -> tuple[Overlay, ...]:
    """The first overlays of all scenes as one."""
    given = [each.overlays[0] for each in scenes if each.overlays]
    if not given:
        return ()
    kinds = sorted({(each.title, each.unit, each.is_log) for each in given})
    if len(kinds) > 1 or len(given) < len(scenes):
        titles = ", ".join(repr(title) for title, _, _ in kinds)
        raise RenderError(
            f"side_by_side: these have no scale in common: {titles}"
            + (", and a picture without an overlay" if len(given) < len(scenes) else ""),
            hint="give every picture an overlay of the same measure",
            where="",
        )
    count = max(len(each.frames) for each in given)
    frames = [
        _frame([each.frames[min(n, len(each.frames) - 1)] for each in given]) for n in range(count)
    ]
    low, high = min(each.low for each in given), max(each.high for each in given)
    return (replace(given[0], frames=tuple(frames), low=low, high=high),)


def _frame(frames: Sequence[Frame]) -> Frame:
    """The same moment of several runs; the last one of those that are over."""
    labels = dict.fromkeys(each.label for each in frames if each.label)
    return Frame(" | ".join(labels), tuple(value for each in frames for value in each.values))
