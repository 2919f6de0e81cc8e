"""Changes of a pass that are alike, such as those of the updates of all parameters: once each.

Boxes that a pass removed and added are one change if they read each other, or are read by the same
box. Two changes are alike if they remove and add the same operations, with the same attributes and
reading each other in the same way, whatever the sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphnn.viz.history import Stage
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["Change", "changes_of"]

MOST_READ = 3
"""Changed boxes that a box reads if they are one change for its sake: a sum of all is none."""
MOST_ROUNDS = 10
"""How far boxes are from what tells them apart."""
AXES = ("axis", "axes", "contract", "batch")
"""Attributes that are numbers, and no sizes."""


@dataclass
class Change:
    """What a pass did in one place, and how often it did the same.

    Attributes
    ----------
    removed, added : list of int
        Boxes of the stage before, and of the one after.
    times : int
    """

    removed: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    times: int = 1


Place = tuple[bool, int]
"""Whether a box is one of the stage after, and its number."""


def changes_of(before: Stage, after: Stage) -> list[Change]:
    """The first of all changes that are alike, in the order of the boxes."""
    removed = [(False, number) for number in after.removed]
    added = [(True, number) for number, change in enumerate(after.changes) if change]
    whole = {place: place for place in (*removed, *added)}
    for one, other in _next_to_each_other(before.scene, after, whole):
        whole[_root(whole, one)] = _root(whole, other)
    found: dict[Place, Change] = {}
    for place in whole:
        change = found.setdefault(_root(whole, place), Change())
        (change.added if place[0] else change.removed).append(place[1])
    first: dict[Hashable, Change] = {}
    was, now = _Likeness(before.scene), _Likeness(after.scene)
    for change in found.values():
        known = first.setdefault((was.of(change.removed), now.of(change.added)), change)
        known.times += known is not change
    return list(first.values())


def _next_to_each_other(
    before: Scene, after: Stage, changed: Mapping[Place, Place]
) -> Iterator[tuple[Place, Place]]:
    """Pairs of changed boxes of which one reads the other, or that the same box reads."""
    now = {was: number for number, was in enumerate(after.same) if was is not None}
    reads: dict[int, list[Place]] = {}
    for is_after, scene in ((False, before), (True, after.scene)):
        for edge in scene.edges:
            source, target = (is_after, edge.source), (is_after, edge.target)
            if source in changed and target in changed:
                yield source, target
            elif source in changed:
                reader = edge.target if is_after else now.get(edge.target)
                if reader is not None:
                    reads.setdefault(reader, []).append(source)
    for sources in reads.values():
        each_side = Counter(is_after for is_after, _ in sources)
        if max(each_side.values()) <= MOST_READ:
            for other in sources[1:]:
                yield sources[0], other


def _root(whole: dict[Place, Place], place: Place) -> Place:
    while whole[place] != place:
        whole[place] = whole[whole[place]]
        place = whole[place]
    return place


class _Likeness:
    """What changes do to the boxes of one stage, in numbers that are equal if that is alike."""

    def __init__(self, scene: Scene) -> None:
        self._nodes = scene.nodes
        self._reads: list[list[int]] = [[] for _ in scene.nodes]
        for edge in scene.edges:
            self._reads[edge.target].append(edge.source)
        self._kinds: dict[Hashable, int] = {}  # of boxes, by what they are and what is around them

    def of(self, numbers: Sequence[int]) -> Hashable:
        """What these boxes do, and how they read each other; without sizes and names.

        Boxes are told apart by those that they read and that read them, again and again (B.
        Weisfeiler and A. Leman, The reduction of a graph to canonical form, 1968).
        """
        inside = set(numbers)
        reads = {each: [of for of in self._reads[each] if of in inside] for each in numbers}
        readers: dict[int, list[int]] = {each: [] for each in numbers}
        for each, sources in reads.items():
            for source in sources:
                readers[source].append(each)
        kinds = {
            each: self._kind((_what(self._nodes[each]), len(self._reads[each]) - len(reads[each])))
            for each in numbers
        }
        for _ in range(min(len(numbers), MOST_ROUNDS)):
            n_before = len(set(kinds.values()))
            kinds = {
                each: self._kind(
                    (
                        kinds[each],
                        tuple(sorted(kinds[of] for of in reads[each])),
                        tuple(sorted(kinds[by] for by in readers[each])),
                    )
                )
                for each in numbers
            }
            if len(set(kinds.values())) == n_before:
                break
        return tuple(sorted(kinds.values()))

    def _kind(self, described: Hashable) -> int:
        return self._kinds.setdefault(described, len(self._kinds))


def _what(node: SceneNode) -> Hashable:
    """The operation of a box, in which way it is done, and for what; whatever it is called."""
    if node.subject is None:
        return node.label, node.role, node.kind
    value = node.subject.node
    ways = tuple((name, each) for name, each in value.attrs.items() if _is_way(name, each))
    return value.op.name, ways, node.role, node.kind


def _is_way(name: str, value: object) -> bool:
    """Whether an attribute is no size and no place: a word, a switch, or axes."""
    return isinstance(value, str | bool | np.dtype) or name in AXES
