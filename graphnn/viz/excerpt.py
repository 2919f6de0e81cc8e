"""Parts of two scenes that show what one pass changed: the same surroundings before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from graphnn.viz.alike_changes import Change
from graphnn.viz.history import Stage
from graphnn.viz.scene import Scene, SceneGroup

__all__ = ["Excerpt", "excerpts", "left_out"]


@dataclass(frozen=True)
class Excerpt:
    """Part of a stage's scene.

    Attributes
    ----------
    scene : Scene
    tones : dict of int to str
        The boxes of it that a pass added, merged or removes.
    """

    scene: Scene
    tones: dict[int, str]


def left_out(changes: Sequence[Change]) -> int:
    """How many changes are left out of excerpts, as they are like others."""
    return sum(each.times - 1 for each in changes)


def excerpts(before: Stage, after: Stage, changes: Sequence[Change]) -> tuple[Excerpt, Excerpt]:
    """What changes removed and what they added, each with what is next to either."""
    added = {number for each in changes for number in each.added}
    removed = {number for each in changes for number in each.removed}
    now = {was: number for number, was in enumerate(after.same) if was is not None}
    near_removed = _with_neighbours(before.scene, removed)
    near_added = _with_neighbours(after.scene, added)
    lost, gained = _rewired(before.scene, after.scene, now)
    # What was rewired in places that are left out is left out too.
    elsewhere = _with_neighbours(before.scene, set(after.removed) - removed)
    others = {number for number, change in enumerate(after.changes) if change} - added
    elsewhere_now = _with_neighbours(after.scene, others)
    elsewhere_now |= {now[each] for each in elsewhere if each in now}
    elsewhere |= {each for n in elsewhere_now if (each := after.same[n]) is not None}
    near_removed |= lost - elsewhere
    near_added |= gained - elsewhere_now
    left = near_removed | {each for n in near_added if (each := after.same[n]) is not None}
    right = near_added | {now[each] for each in near_removed if each in now}
    return (
        _part(before.scene, left, dict.fromkeys(removed, "leaves")),
        _part(after.scene, right, {n: after.changes[n] for n in added}),
    )


def _with_neighbours(scene: Scene, chosen: Set[int]) -> set[int]:
    found = set(chosen)
    for edge in scene.edges:
        if edge.source in chosen or edge.target in chosen:
            found |= {edge.source, edge.target}
    return found


def _rewired(before: Scene, after: Scene, now: Mapping[int, int]) -> tuple[set[int], set[int]]:
    """Both ends of edges that are gone, and that are new, between boxes that stay."""
    earlier = {
        (now[edge.source], now[edge.target]): edge
        for edge in before.edges
        if edge.source in now and edge.target in now
    }
    later = {(edge.source, edge.target) for edge in after.edges}
    stay = set(now.values())
    lost = {
        n for pair, edge in earlier.items() if pair not in later for n in (edge.source, edge.target)
    }
    gained = {n for pair in later if pair not in earlier and stay.issuperset(pair) for n in pair}
    return lost, gained


def _part(scene: Scene, chosen: Set[int], tones: dict[int, str]) -> Excerpt:
    """The boxes chosen, the edges between them, and the frames around them."""
    order = sorted(chosen)
    number = {old: new for new, old in enumerate(order)}
    groups, frame = _frames(scene, (scene.nodes[old].group for old in order))
    nodes = []
    for old in order:
        node = scene.nodes[old]
        nodes.append(
            replace(
                node,
                scope="",
                group=frame[node.group] if node.group is not None else None,
                origin=number.get(node.origin) if node.origin is not None else None,
            )
        )
    edges = [
        replace(edge, source=number[edge.source], target=number[edge.target])
        for edge in scene.edges
        if edge.source in number and edge.target in number
    ]
    part = Scene(scene.title, tuple(nodes), tuple(edges), tuple(groups))
    return Excerpt(part, {number[old]: tone for old, tone in tones.items()})


def _frames(
    scene: Scene, used: Iterable[int | None]
) -> tuple[Sequence[SceneGroup], dict[int, int]]:
    """The frames that are used, with those around them, and their new numbers."""
    needed: set[int] = set()
    for each in used:
        group = each
        while group is not None and group not in needed:
            needed.add(group)
            group = scene.groups[group].parent
    number = {old: new for new, old in enumerate(sorted(needed))}
    groups = []
    for old in number:
        frame = scene.groups[old]
        parent = number[frame.parent] if frame.parent is not None else None
        groups.append(replace(frame, parent=parent))
    return groups, number
