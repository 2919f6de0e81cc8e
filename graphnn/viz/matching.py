"""Which boxes of a scene were there in the scene before a pass.

Boxes of one node are the same. So are those that compute the same thing from boxes that are the
same, or for boxes that are: a pass that changes one node makes new ones of all that read it, which
is no change to be seen. Linear in the size of the scenes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

from graphnn.core.provenance import provenance
from graphnn.core.text import attrs_text
from graphnn.ops.elementwise import ElementwiseOp
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["matched"]

ROUNDS = 3
"""How often both directions are gone; what is not found by then has really changed."""


def matched(before: Scene, after: Scene) -> tuple[int | None, ...]:
    """For every box of ``after`` the number of the same one in ``before``, or None."""
    return _Matching(before, after).found()


class _Matching:
    def __init__(self, before: Scene, after: Scene) -> None:
        self._scenes = (before, after)
        self._same: list[dict[int, int]] = [{}, {}]  # from number to number, in both directions
        self._reads = [_neighbours(scene, is_reading=True) for scene in self._scenes]
        self._readers = [_neighbours(scene, is_reading=False) for scene in self._scenes]

    def found(self) -> tuple[int | None, ...]:
        """The result."""
        before, after = self._scenes
        if before is after:
            return tuple(range(len(after.nodes)))
        self._pair(self._outside)
        for _ in range(ROUNDS):
            size = len(self._same[1])
            self._along(self._reads, backwards=False)
            self._along(self._readers, backwards=True)
            if len(self._same[1]) == size:
                break
        self._pair(self._identity)
        self._pair(lambda side, index: _likeness(self._scenes[side].nodes[index]), is_strict=True)
        return tuple(self._same[1].get(index) for index in range(len(after.nodes)))

    def _outside(self, side: int, index: int) -> Hashable:
        """A node that is in no body: bodies of different loops may share nodes and arguments."""
        scene = self._scenes[side]
        group = scene.nodes[index].group
        while group is not None and scene.groups[group].kind == "fusion":
            group = scene.groups[group].parent
        return self._identity(side, index) if group is None else None

    def _identity(self, side: int, index: int) -> Hashable:
        subject = self._scenes[side].nodes[index].subject
        return id(subject.node) if subject is not None else None

    def _pair(self, key: Callable[[int, int], Hashable], *, is_strict: bool = False) -> None:
        """Pair boxes of equal keys in their order; strictly, if there are as many on both sides."""
        groups: list[dict[Hashable, list[int]]] = []
        for side in (0, 1):
            by_key: dict[Hashable, list[int]] = defaultdict(list)
            for index in range(len(self._scenes[side].nodes)):
                if index not in self._same[side]:
                    by_key[key(side, index)].append(index)
            groups.append(by_key)
        for each, later in groups[1].items():
            earlier = groups[0].get(each, [])
            if each is not None and (not is_strict or len(earlier) == len(later)):
                for one, other in zip(earlier, later, strict=False):
                    self._note(one, other)

    def _note(self, before: int, after: int) -> None:
        self._same[0][before] = after
        self._same[1][after] = before

    def _along(self, neighbours: list[list[list[int]]], *, backwards: bool) -> None:
        """Pair boxes of equal kind whose neighbours, on one side, are the same."""
        known: dict[Hashable, list[int]] = defaultdict(list)
        for index, node in enumerate(self._scenes[0].nodes):
            if index not in self._same[0] and neighbours[0][index]:
                known[_kind(node), tuple(neighbours[0][index])].append(index)
        for each in known.values():
            each.reverse()
        order = range(len(self._scenes[1].nodes))
        for index in reversed(order) if backwards else order:
            if index in self._same[1] or not neighbours[1][index]:
                continue
            near = neighbours[1][index]
            mapped = sorted(self._same[1][each] for each in near if each in self._same[1])
            key = (_kind(self._scenes[1].nodes[index]), tuple(mapped))
            if len(mapped) == len(near) and known.get(key):
                self._note(known[key].pop(), index)


def _neighbours(scene: Scene, *, is_reading: bool) -> list[list[int]]:
    """What every box reads, or what reads it, as numbers in order; without lags."""
    found: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        if not edge.lag:
            here, there = (edge.target, edge.source) if is_reading else (edge.source, edge.target)
            found[here].append(there)
    for each in found:
        each.sort()
    return found


def _kind(node: SceneNode) -> Hashable:
    """What a box computes, whatever it computes it from."""
    if node.subject is None:
        return node.label
    made = node.subject.node
    label: Hashable = node.label
    if isinstance(made.op, ElementwiseOp) and made.op.is_commutative:
        label = frozenset(node.label.split())  # ``2 × •`` is ``• × 2``
    return made.op.name, attrs_text(made), str(made.spec), label


def _likeness(node: SceneNode) -> Hashable:
    if node.subject is None:
        return None
    known = provenance(node.subject.node)
    return _kind(node), known.names, known.scope, known.role, known.step, known.sources
