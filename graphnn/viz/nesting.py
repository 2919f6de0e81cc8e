"""How deep scopes are worth a look: most levels of deep nesting have nothing that repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from graphnn.viz.collapse import content_of
from graphnn.viz.scene import Scene

__all__ = ["hopeful_levels"]

FEWEST = 3
"""Equal blocks that are worth a frame."""


def hopeful_levels(scene: Scene) -> list[int]:
    """Within how many scopes there may be equal blocks in a row.

    Three blocks have three equal boxes, or three scopes, of which one may be entered again with
    what was made of its result; within a scope that has neither no block repeats. This takes as
    long as it takes to read the scopes; to look for blocks takes a pass for each level.
    """
    tree = _Tree()
    boxes: Counter[Hashable] = Counter()
    scopes: Counter[Hashable] = Counter()
    found: set[int] = set()
    before: tuple[int, ...] = ()
    kind: Hashable = None
    for node in scene.nodes:
        way = tree.way(node.scope)
        level = len(way) - 1
        content = (way[-1], node.group, content_of(node))
        boxes[content] += 1
        if boxes[content] >= FEWEST:
            found.add(level)
        if node.kind == "input":
            before = ()
            continue
        same = _same(before, way) if kind == (node.role, node.step) else 1
        kind = (node.role, node.step)
        for outer in range(same - 1, level):
            scopes[way[outer], kind] += 1
            if scopes[way[outer], kind] >= FEWEST:
                found.add(outer)
        before = way
    return sorted(found)


class _Tree:
    """Scopes by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._ways: dict[str, tuple[int, ...]] = {}

    def way(self, scope: str) -> tuple[int, ...]:
        """The numbers of the scopes around, from the whole scene to the innermost."""
        known = self._ways.get(scope)
        if known is None:
            way = [0]
            for name in scope.split("/") if scope else ():
                way.append(self._numbers.setdefault((way[-1], name), len(self._numbers) + 1))
            known = self._ways[scope] = tuple(way)
        return known


def _same(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many scopes are around both; at least the whole scene is."""
    count = 1
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count
