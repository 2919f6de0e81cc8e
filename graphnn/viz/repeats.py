"""Equal blocks, one after another, drawn once: ``blocks.0 … blocks.23  × 24``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphnn.viz.collapse import content_of
from graphnn.viz.mirror import has_mirror
from graphnn.viz.nesting import hopeful_levels
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup

__all__ = ["once_each"]

LONGEST_PERIOD = 24
"""Boxes and scopes that one block consists of, at most; so the search is linear."""
PERIODS = np.arange(LONGEST_PERIOD + 1)
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
    for level in hopeful_levels(scene):
        scene = _once_each_at(scene, level)
    return scene


def _once_each_at(scene: Scene, level: int) -> Scene:
    """The same for blocks of scopes inside of `level` others, and of boxes among them."""
    units = _units(scene, level)
    search = _Search(scene, units, level)
    runs = search.runs()
    if not runs:
        return scene
    groups = list(scene.groups)
    nodes = list(scene.nodes)
    for index, drawn in enumerate(search.drawn):
        if nodes[index].is_output and not nodes[drawn].is_output:
            nodes[drawn] = replace(nodes[drawn], is_output=True)
    for run in runs:
        first, last = (
            [each for unit in units[start : start + run.period] for each in unit]
            for start in (run.first, run.first + run.period * (run.count - 1))
        )
        groups.append(_group(scene, first, last, level, run.count))
        for each in first:
            nodes[each] = replace(nodes[each], group=len(groups) - 1)
    parts = []
    for index, box in enumerate(nodes):
        if search.drawn[index] == index:
            origin = None if box.origin is None else search.drawn[box.origin]
            moved_box = box if origin == box.origin else replace(box, origin=origin)
            parts.append((moved_box, [index]))
    return contracted(replace(scene, edges=search.edges(), groups=tuple(groups)), parts)


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
    if not any(words) and len(first) == 1 and scene.nodes[first[0]].subject is None:
        words = [scene.nodes[block[0]].label for block in (first, last)]  # collapsed scopes
    role = scene.nodes[first[0]].role
    label = " … ".join(dict.fromkeys(word for word in words if word))
    label = f"{label} {role}" if label and role not in ("forward", *label.split()) else label
    return SceneGroup(
        f"{label}  × {count}".strip(),
        "repeat",
        f"{count} equal blocks, one after another; the first is drawn",
        scene.nodes[first[0]].group,
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
        drawn, at = self.drawn, self._at
        edges = (e.between(drawn[e.source], drawn[e.target]) for e in self._scene.edges)
        return tuple(edge for edge in edges if edge.lag or at[edge.source] <= at[edge.target])

    def _numbered_contents(self, level: int) -> list[int]:
        numbers: dict[Hashable, int] = {}
        found = []
        derived = self._derived()
        for members in self._units:
            boxes = [self._scene.nodes[each] for each in members]
            content = tuple(
                (content_of(box), len(self._arriving[each]), tuple(derived.get(each, ())))
                for each, box in zip(members, boxes, strict=True)
            )
            first = boxes[0]
            parts = first.scope.split("/")
            key = (content, first.group, tuple(parts[:level]), len(parts) > level)
            found.append(numbers.setdefault(key, len(numbers)))
        return found

    def _derived(self) -> dict[int, list[Hashable]]:
        """By box of a forward pass: what its derivative computes.

        The backward pass stands beside the forward pass, so blocks of both are equal together.
        """
        found: dict[int, list[Hashable]] = {}
        if has_mirror(self._scene):
            for node in self._scene.nodes:
                if node.origin is not None:
                    found.setdefault(node.origin, []).append(content_of(node))
        return found

    def runs(self) -> list[_Run]:
        """The runs worth a frame; what is drawn in place of what is noted on the way."""
        equal = self._lengths()
        hopeful = np.flatnonzero((equal >= (FEWEST_REPEATS - 1) * PERIODS)[:, 1:].any(axis=1))
        found: list[_Run] = []
        end = 0
        for start in hopeful.tolist():
            run = self._best(start, equal) if start >= end else None
            if run is None:
                continue
            found.append(run)
            for block in range(1, run.count):
                for unit in range(run.period):
                    first = self._units[run.first + unit]
                    other = self._units[run.first + block * run.period + unit]
                    for each, member in zip(first, other, strict=True):
                        self.drawn[member] = each
            end = run.first + run.period * run.count
        return found

    def _lengths(self) -> NDArray[np.int64]:
        """By unit and period: how many units in a row equal those one period later."""
        contents = np.array(self._contents, np.int64)
        table = np.zeros((len(contents) + 1, LONGEST_PERIOD + 1), np.int64)
        for period in range(1, min(LONGEST_PERIOD, len(contents) - 1) + 1):
            differs = np.flatnonzero(contents[:-period] != contents[period:])
            places = np.arange(len(contents) - period)
            ends = np.append(differs, len(places))[np.searchsorted(differs, places)]
            table[: len(places), period] = ends - places
        return table

    def _best(self, start: int, equal: NDArray[np.int64]) -> _Run | None:
        """The run from a unit on that hides the most boxes; of equal ones, the shortest blocks."""
        best, most = None, 0
        for period in np.flatnonzero(equal[start] >= (FEWEST_REPEATS - 1) * PERIODS)[1:].tolist():
            count = int(equal[start, period]) // period + 1
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
                is_last = block == count - 1
                if not all(self._reads_alike(a, b, start, period, is_last) for a, b in pairs):
                    return block
        return count

    def _reads_alike(self, before: int, after: int, start: int, period: int, is_last: bool) -> bool:
        """Whether a box reads what its counterpart in the block before reads, one block later.

        The first block reads what comes before all of them; what the backward pass of the last one
        reads, the first block of the forward pass, was saved before all of them too.
        """
        first_block = self._at[before][0] < start + period
        for old, new in zip(self._arriving[before], self._arriving[after], strict=True):
            unit, place = self._at[new.source]
            old_unit, old_place = self._at[old.source]
            later = (unit - old_unit, place) == (period, old_place) and old_unit >= start
            entering = first_block and old_unit < start <= unit < start + period
            same = self.drawn[old.source] == self.drawn[new.source]
            saved = is_last and new.kind == "saved" and max(unit, old_unit) < start
            if old.kind != new.kind or not (later or same or entering or saved):
                return False
        return True
