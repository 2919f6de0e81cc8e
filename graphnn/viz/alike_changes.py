"""Changes of a pass that are alike, such as those of the updates of all parameters: once each.

Boxes that a pass removed and added are one change if they read each other, or are read by the same
box. Two changes are alike if they remove and add the same operations in the same way, whatever the
sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from graphnn.viz.history import Stage
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["Change", "changes_of"]

MOST_READ = 3
"""Changed boxes that a box reads if they are one change for its sake: a sum of all is none."""


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
    for change in found.values():
        known = first.setdefault(_likeness(change, before.scene, after.scene), change)
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


def _likeness(change: Change, before: Scene, after: Scene) -> Hashable:
    """What a change removes and adds, and how that hangs together; without sizes and names."""
    return _shape(change.removed, before), _shape(change.added, after)


def _shape(numbers: list[int], scene: Scene) -> Hashable:
    return tuple(sorted(_what(scene.nodes[number]) for number in numbers))


def _what(node: SceneNode) -> str:
    """The operation of a box, whatever it is called."""
    operator = node.subject.node.op.name if node.subject is not None else node.label
    return f"{operator} {node.role} {node.kind}"
