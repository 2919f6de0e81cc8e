"""What holds for every layout of straight lines: nothing is drawn over anything else."""

from itertools import pairwise

from graphnn.viz.layout import Box, Layout
from graphnn.viz.scene import Scene
from graphnn.viz.style import SMALL_SIZE, text_width


def overlap(one: Box, other: Box, slack: float = 0.5) -> bool:
    return (
        one.x < other.x + other.width - slack
        and other.x < one.x + one.width - slack
        and one.y < other.y + other.height - slack
        and other.y < one.y + one.height - slack
    )


def area(start: tuple[float, float], end: tuple[float, float]) -> Box:
    """Of a straight piece of a line."""
    x, y = min(start[0], end[0]), min(start[1], end[1])
    return Box(x - 0.3, y - 0.3, abs(start[0] - end[0]) + 0.6, abs(start[1] - end[1]) + 0.6)


def labels_are_apart(scene: Scene, layout: Layout) -> None:
    """No text at a line is written over another one."""
    found: list[Box] = []
    for edge, route in zip(scene.edges, layout.routes, strict=True):
        if route.label_at is not None and edge.told:
            (x, y), width = route.label_at, text_width(edge.told, SMALL_SIZE)
            text = Box(x - width / 2, y - 3, width, 6)
            assert not any(overlap(text, other) for other in found)
            found.append(text)


def nothing_overlaps(scene: Scene, layout: Layout) -> None:
    for index, box in enumerate(layout.boxes):
        assert not any(overlap(box, other) for other in layout.boxes[:index])
        assert 0 < box.x < box.x + box.width < layout.width
        assert 0 < box.y < box.y + box.height < layout.height
    for index, ghost in enumerate(layout.ghosts):
        assert not any(overlap(ghost.box, other.box) for other in layout.ghosts[:index])
        for number, box in enumerate(layout.boxes):
            assert number == ghost.reader or not overlap(ghost.box, box)
    for edge, route in zip(scene.edges, layout.routes, strict=True):
        for start, end in pairwise(route.points):
            assert start[0] == end[0] or start[1] == end[1]
            piece = area(start, end)
            for number, box in enumerate(layout.boxes):
                # A line to a circle ends at its rim, inside of the square around it.
                is_end = number in (edge.source, edge.target) and box.width == box.height
                assert not overlap(piece, box, 4.0 if is_end else 1.2), (edge, number)
