"""Frames around the groups of a scene whose boxes stand on a grid.

Where the smallest rectangle around the members would hold others too, every run of members in a row
has a frame of its own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from graphnn.viz.layout import Band, Box
from graphnn.viz.scene import Scene, SceneGroup
from graphnn.viz.style import DETAIL_SIZE, text_width

__all__ = ["FRAME_PAD", "GROUP_NAME", "frames", "nesting"]

GROUP_NAME = 15.0
"""Points above the members, for the name."""
FRAME_PAD = 4.0
"""Points beside and below them."""
MOST_PAD = 12.0
"""Of all frames around a box together: what is between two boxes in a row."""

Corners = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def nesting(groups: Sequence[SceneGroup]) -> list[int]:
    """By group: how many frames need room around what is in it."""
    around = _reach(groups)
    for number, group in enumerate(groups):
        if group.parent is not None:
            around[number] = around[group.parent]
    return around


def frames(scene: Scene, boxes: Sequence[Box], heads: Sequence[float]) -> Iterator[Band]:
    """Areas that hold the members of each group and nothing else, the outer groups' first.

    Parameters
    ----------
    heads : sequence of float
        By node: points above its box that badges need.
    """
    if not scene.groups:
        return
    rows = _Rows(boxes)
    members = _members(scene)
    full = [
        Box(box.x, box.y - head, box.width, box.height + head)
        for box, head in zip(boxes, heads, strict=True)
    ]
    reach = _reach(scene.groups)
    for number, group in enumerate(scene.groups):
        inside = members[number]
        if not inside:
            continue
        whole = _around([full[each] for each in inside], reach[number])
        parts = [whole]
        if not rows.holds_only(whole, len(inside)):
            runs = rows.runs(inside)
            parts = [_around([full[each] for each in run], reach[number]) for run in runs]
        needed = text_width(group.label, DETAIL_SIZE) + GROUP_NAME
        widest = max(right - left for left, _, right, _ in parts)
        for left, top, right, bottom in parts:
            has_name = right - left >= min(needed, widest)
            box = Box(left, top, right - left, bottom - top)
            yield Band(box, group.kind, group.label if has_name else "")


def _members(scene: Scene) -> list[list[int]]:
    """By group: the nodes in it and in those inside of it."""
    members: list[list[int]] = [[] for _ in scene.groups]
    for index, node in enumerate(scene.nodes):
        group = node.group
        while group is not None:
            members[group].append(index)
            group = scene.groups[group].parent
    return members


def _reach(groups: Sequence[SceneGroup]) -> list[int]:
    """By group: how many frames must fit between it and its boxes, its own among them."""
    reach = [1] * len(groups)
    for number in reversed(range(len(groups))):
        parent = groups[number].parent
        if parent is not None:
            reach[parent] = max(reach[parent], reach[number] + 1)
    return reach


def _around(boxes: Iterable[Box], reach: int) -> Corners:
    found = list(boxes)
    pad = min(FRAME_PAD * reach, MOST_PAD)
    return (
        min(box.x for box in found) - pad,
        min(box.y for box in found) - GROUP_NAME * reach,
        max(box.x + box.width for box in found) + pad,
        max(box.y + box.height for box in found) + pad,
    )


class _Rows:
    """Boxes by row, from the left: what stands in a rectangle is found without a search."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes = boxes
        self._rows: dict[float, list[int]] = {}
        for index, box in enumerate(boxes):
            self._rows.setdefault(round(box.center[1], 3), []).append(index)
        for row in self._rows.values():
            row.sort(key=lambda index: boxes[index].x)
        self._heights = sorted(self._rows)
        self._tallest = max((box.height for box in boxes), default=0.0)

    def holds_only(self, corners: Corners, count: int) -> bool:
        """Whether a rectangle touches no more than so many boxes."""
        left, top, right, bottom = corners
        first = bisect_left(self._heights, top - self._tallest / 2)
        last = bisect_right(self._heights, bottom + self._tallest / 2)
        middle = (top + bottom) / 2
        # From the middle: where others stand in a wide frame, few of them are looked at.
        for y in sorted(self._heights[first:last], key=lambda y: abs(y - middle)):
            row = self._rows[y]
            start = bisect_left(row, left, key=self._end)
            stop = bisect_right(row, right, key=self._start)
            for number in range(start, stop):
                box = self._boxes[row[number]]
                count -= box.y < bottom and top < box.y + box.height
                if count < 0:
                    return False
        return True

    def runs(self, members: Iterable[int]) -> Iterator[list[int]]:
        """Members beside each other with no other box between them, row by row."""
        wanted = set(members)
        for y in sorted({round(self._boxes[each].center[1], 3) for each in wanted}):
            run: list[int] = []
            for index in self._rows[y]:
                if index in wanted:
                    run.append(index)
                elif run:
                    yield run
                    run = []
            if run:
                yield run

    def _start(self, index: int) -> float:
        return self._boxes[index].x

    def _end(self, index: int) -> float:
        return self._boxes[index].x + self._boxes[index].width
