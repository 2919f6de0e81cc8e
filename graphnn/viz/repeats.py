"""Equal blocks, one after another, drawn once: ``blocks.0 … blocks.23  × 24``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from graphnn.viz.collapse import content_of
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup

__all__ = ["once_each"]

LONGEST_PERIOD = 24
"""Boxes and scopes that one block consists of, at most; so the search is linear."""
FEWEST_REPEATS = 3
FEWEST_HIDDEN = 4
"""Boxes that must disappear for a frame to be worth it."""


@dataclass(frozen=True)
class _Run:
    """Blocks that are equal: from which unit, of how many units each, and how many blocks."""

    first: int
    period: int
    count: int


def once_each(scene: Scene) -> Scene:
    """The scene with the first of equal blocks in place of all of them, in a frame.

    A block is a scope, or several scopes and operations in a row. Blocks are equal if they compute
    the same with weights of the same shapes, and read each other, and what is around them, in the
    same way.
    """
    depth = max((node.scope.count("/") + 1 for node in scene.nodes if node.scope), default=0)
    for level in range(depth + 1):
        scene = _once_each_at(scene, level)
    return scene


def _once_each_at(scene: Scene, level: int) -> Scene:
    """The same for blocks of scopes inside of `level` others, and of operations among them."""
    units = _units(scene, level)
    search = _Search(scene, units, level)
    runs = search.runs()
    if not runs:
        return scene
    groups = list(scene.groups)
    nodes = list(scene.nodes)
    dropped: set[int] = set()
    for run in runs:
        end = run.first + run.period
        drawn = [each for unit in units[run.first : end] for each in unit]
        last = [
            each
            for unit in units[end + run.period * (run.count - 2) :][: run.period]
            for each in unit
        ]
        dropped.update(
            each for unit in units[end : run.first + run.period * run.count] for each in unit
        )
        around = nodes[drawn[0]].group
        groups.append(_group(scene, drawn, last, level, run.count, around))
        for each in drawn:
            if nodes[each].group == around:
                nodes[each] = replace(nodes[each], group=len(groups) - 1)
    kept = [index for index in range(len(nodes)) if index not in dropped]
    whole = replace(scene, edges=search.edges(), groups=tuple(groups))
    parts = [(nodes[index], [index]) for index in kept]
    for place, (box, members) in enumerate(parts):
        if box.origin is not None:
            parts[place] = (replace(box, origin=search.drawn[box.origin]), members)
    return contracted(whole, parts)


def _units(scene: Scene, level: int) -> list[list[int]]:
    """What blocks are made of: scopes inside of `level` others, and single boxes, in order."""
    keys: list[Hashable] = []
    for index, node in enumerate(scene.nodes):
        parts = node.scope.split("/") if node.scope else []
        inside = len(parts) > level and node.kind != "input"
        keys.append((tuple(parts[: level + 1]), node.role, node.step) if inside else index)
    return parts_in_order(scene, keys)


def _group(
    scene: Scene,
    first: Sequence[int],
    last: Sequence[int],
    level: int,
    count: int,
    around: int | None,
) -> SceneGroup:
    names = [
        dict.fromkeys(
            parts[level]
            for parts in (scene.nodes[each].scope.split("/") for each in block)
            if len(parts) > level and parts[level]
        )
        for block in (first, last)
    ]
    words = [" + ".join(each) for each in names]
    role = scene.nodes[first[0]].role
    label = " … ".join(dict.fromkeys(word for word in words if word))
    label = f"{label} {role}" if label and role != "forward" else label
    return SceneGroup(
        f"{label}  × {count}".strip(),
        "repeat",
        f"{count} equal blocks, one after another; the first is drawn",
        around,
    )


class _Search:
    """Looks for runs of equal blocks among units, from left to right.

    Attributes
    ----------
    drawn : list of int
        By box: the one that is drawn in its place.
    """

    def __init__(self, scene: Scene, units: Sequence[Sequence[int]], level: int) -> None:
        self._scene = scene
        self._units = units
        self.drawn = list(range(len(scene.nodes)))
        self._at = [(0, 0)] * len(scene.nodes)  # unit, and place in it
        for number, members in enumerate(units):
            for place, member in enumerate(members):
                self._at[member] = (number, place)
        self._arriving: list[list[SceneEdge]] = [[] for _ in scene.nodes]
        for edge in scene.edges:
            self._arriving[edge.target].append(edge)
        self._contents = self._numbered_contents(level)

    def edges(self) -> tuple[SceneEdge, ...]:
        """The scene's edges between the boxes that are drawn, and none from a block's end back."""
        moved = (
            replace(edge, source=self.drawn[edge.source], target=self.drawn[edge.target])
            for edge in self._scene.edges
        )
        return tuple(
            edge for edge in moved if edge.lag or self._at[edge.source] <= self._at[edge.target]
        )

    def _numbered_contents(self, level: int) -> list[int]:
        numbers: dict[Hashable, int] = {}
        found = []
        for members in self._units:
            boxes = [self._scene.nodes[each] for each in members]
            content = tuple(
                (content_of(box), len(self._arriving[each]))
                for each, box in zip(members, boxes, strict=True)
            )
            first = boxes[0]
            parts = first.scope.split("/")
            key = (content, first.group, tuple(parts[:level]), len(parts) > level)
            found.append(numbers.setdefault(key, len(numbers)))
        return found

    def runs(self) -> list[_Run]:
        """The runs worth a frame; what is drawn in place of what is noted on the way."""
        equal = self._lengths()
        found, start = [], 0
        while start < len(self._units):
            run = self._best(start, equal)
            if run is None:
                start += 1
                continue
            found.append(run)
            for block in range(1, run.count):
                for unit in range(run.period):
                    first = self._units[run.first + unit]
                    other = self._units[run.first + block * run.period + unit]
                    for each, member in zip(first, other, strict=True):
                        self.drawn[member] = each
            start = run.first + run.period * run.count
        return found

    def _lengths(self) -> list[list[int]]:
        """By period and unit: how many units in a row equal those one period later."""
        contents = self._contents
        table = [[]]
        for period in range(1, LONGEST_PERIOD + 1):
            lengths = [0] * (len(contents) + 1)
            for unit in reversed(range(len(contents) - period)):
                same = contents[unit] == contents[unit + period]
                lengths[unit] = lengths[unit + 1] + 1 if same else 0
            table.append(lengths)
        return table

    def _best(self, start: int, equal: Sequence[Sequence[int]]) -> _Run | None:
        """The run from a unit on that hides the most boxes; of equal ones, the shortest blocks."""
        best, most = None, 0
        for period in range(1, LONGEST_PERIOD + 1):
            count = equal[period][start] // period + 1
            if count < FEWEST_REPEATS:
                continue
            size = sum(len(unit) for unit in self._units[start : start + period])
            if (count - 1) * size <= max(most, FEWEST_HIDDEN - 1):
                continue
            count = self._wired_alike(start, period, count)
            hidden = (count - 1) * size
            if count >= FEWEST_REPEATS and hidden > max(most, FEWEST_HIDDEN - 1):
                best, most = _Run(start, period, count), hidden
        return best

    def _wired_alike(self, start: int, period: int, count: int) -> int:
        """How many of these blocks read each other, and what is around them, in the same way."""
        for block in range(1, count):
            for unit in range(start + block * period, start + (block + 1) * period):
                pairs = zip(self._units[unit - period], self._units[unit], strict=True)
                if not all(self._reads_alike(a, b, start, period) for a, b in pairs):
                    return block
        return count

    def _reads_alike(self, before: int, after: int, start: int, period: int) -> bool:
        """Whether a box reads what its counterpart in the block before reads, one block later."""
        first_block = self._at[before][0] < start + period
        for old, new in zip(self._arriving[before], self._arriving[after], strict=True):
            unit, place = self._at[new.source]
            old_unit, old_place = self._at[old.source]
            later = (unit - old_unit, place) == (period, old_place) and old_unit >= start
            entering = first_block and old_unit < start <= unit < start + period
            same = self.drawn[old.source] == self.drawn[new.source]
            if old.kind != new.kind or not (later or same or entering):
                return False
        return True
