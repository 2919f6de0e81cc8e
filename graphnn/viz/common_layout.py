"""One layout for several stages of a graph, so that a box keeps its place from stage to stage.

All boxes and lines that any stage has are laid out as one scene, and each stage is shown in it with
holes where others have boxes. That serves stages that are much alike, such as a graph before and
after rewrites. What kernels and instructions are made of it has frames around other boxes, and is
laid out for itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from graphnn.viz.history import Stage
from graphnn.viz.layout import Band, Box, Layout, box_size
from graphnn.viz.scene import Scene, SceneEdge, SceneNode
from graphnn.viz.texts import box_texts

__all__ = ["common_layouts"]

MOST_HOLES = 1.5
"""How many times the boxes of the largest stage all of them together may have."""


def common_layouts(stages: Sequence[Stage], arrange: Callable[[Scene], Layout]) -> list[Layout]:
    """Positions for the first stages: as many as have one layout, perhaps none.

    Parameters
    ----------
    stages : sequence of Stage
    arrange : callable
        The layout of a scene.
    """
    plain = next((n for n, each in enumerate(stages) if each.scene.groups), len(stages))
    alike = stages[:plain]
    names = _names(alike)
    whole = _union([each.scene for each in alike], names) if plain > 1 else None
    if whole is None:
        return []
    scene, place = whole
    layout = arrange(scene)
    numbers = [[place[name] for name in each] for each in names]
    return [_part(layout, scene, *each) for each in zip(alike, numbers, strict=True)]


def _names(stages: Sequence[Stage]) -> list[list[int]]:
    """For every stage a number for each box, which is the same for the same box of all stages."""
    found: list[list[int]] = []
    count = 0
    for stage in stages:
        row = []
        for was in stage.same:
            if was is None:
                row.append(count)
                count += 1
            else:
                row.append(found[-1][was])
        found.append(row)
    return found


def _union(
    scenes: Sequence[Scene], names: Sequence[Sequence[int]]
) -> tuple[Scene, dict[int, int]] | None:
    """The scene with all boxes and lines, and where each box is; None if there is none to read."""
    boxes: dict[int, SceneNode] = {}
    lines: dict[tuple[int, int], SceneEdge] = {}
    for scene, row in zip(scenes, names, strict=True):
        for name, node in zip(row, scene.nodes, strict=True):
            origin = row[node.origin] if node.origin is not None else None
            wider = name not in boxes or box_size(node)[0] > box_size(boxes[name])[0]
            if wider:
                boxes[name] = node.about(origin, node.subject)
        lines.update({(row[edge.source], row[edge.target]): edge for edge in scene.edges})
    if len(boxes) > MOST_HOLES * max(len(scene.nodes) for scene in scenes):
        return None
    order = _in_order(boxes, lines)
    if len(order) < len(boxes):
        return None  # a pass has turned something round
    place = {name: number for number, name in enumerate(order)}
    nodes = []
    for name in order:
        box, origin = boxes[name], boxes[name].origin
        nodes.append(box.about(None if origin is None else place[origin], box.subject))
    edges = [
        replace(edge, source=place[source], target=place[target])
        for (source, target), edge in lines.items()
    ]
    scopes = dict(pair for scene in scenes for pair in scene.scopes)
    first = replace(scenes[0], nodes=tuple(nodes), edges=tuple(edges), zooms=())
    return replace(first, scopes=tuple(scopes.items())), place


def _in_order(boxes: Iterable[int], lines: Iterable[tuple[int, int]]) -> list[int]:
    """What is read before what reads it, and else as numbered; without what reads itself."""
    readers: dict[int, list[int]] = {name: [] for name in boxes}
    waits = dict.fromkeys(readers, 0)
    for source, target in lines:
        readers[source].append(target)
        waits[target] += 1
    ready = [name for name, count in waits.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    return order


def _part(layout: Layout, whole: Scene, stage: Stage, numbers: Sequence[int]) -> Layout:
    """What a stage has of the layout of all."""
    scene = stage.scene
    ways = dict(zip(((e.source, e.target) for e in whole.edges), layout.routes, strict=True))
    here = {number: index for index, number in enumerate(numbers)}
    pairs = [(numbers[edge.source], numbers[edge.target]) for edge in scene.edges]
    known = set(pairs)
    ghosts = tuple(
        replace(ghost, node=here[ghost.node], reader=here[ghost.reader])
        for ghost in layout.ghosts
        if (ghost.node, ghost.reader) in known
    )
    boxes = tuple(layout.boxes[number] for number in numbers)
    return replace(
        layout,
        boxes=boxes,
        routes=tuple(ways[pair] for pair in pairs),
        bands=tuple(band for band in layout.bands if _holds_one(band, boxes)),
        texts=tuple(box_texts(scene)) if layout.texts else (),
        ghosts=ghosts,
    )


def _holds_one(band: Band, boxes: Iterable[Box]) -> bool:
    """Whether a box lies in an area."""
    area = band.box
    return any(
        area.x <= box.center[0] <= area.x + area.width
        and area.y <= box.center[1] <= area.y + area.height
        for box in boxes
    )
