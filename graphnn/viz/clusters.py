"""Frames in frames: the name scopes and groups of a scene as one tree, for all that draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import shorten

__all__ = ["Cluster", "cluster_tree"]

MOST_IN_TITLE = 80


@dataclass(eq=False)
class Cluster:
    """A frame with what is in it.

    Attributes
    ----------
    title : str
    tone : str
        ``"scope"``, or the kind of the group.
    members : list of int
        Boxes that are in no frame within.
    inside : list of Cluster
    """

    title: str = ""
    tone: str = "scope"
    members: list[int] = field(default_factory=list)
    inside: list[Cluster] = field(default_factory=list)


Step = tuple[str, str, int]
"""One step into a frame: the path of scopes to it, the role, and the group's number or -1."""


def cluster_tree(scene: Scene) -> Cluster:
    """Scopes as frames, and groups around what they have in common; the passes are kept apart.

    A group that holds the whole of a scope takes the place of its frame, and a scope of one box
    has none.
    """
    around = _groups_around(scene)
    population = _population(scene)
    depth = _depths(scene, around, population)
    said = dict(scene.scopes)
    root = Cluster()
    known: dict[tuple[Step, ...], Cluster] = {(): root}
    for index, box in enumerate(scene.nodes):
        way: tuple[Step, ...] = ()
        for step in _way(box, around, depth, population):
            outer, way = known[way], (*way, step)
            if way not in known:
                known[way] = _opened(scene, step, said)
                outer.inside.append(known[way])
        known[way].members.append(index)
    return root


def _opened(scene: Scene, step: Step, said: dict[str, str]) -> Cluster:
    scope, role, group = step
    if group >= 0:
        return Cluster(shorten(scene.groups[group].label, MOST_IN_TITLE), scene.groups[group].kind)
    name = scope.rpartition("/")[2]
    words = [name, "" if role == "forward" else role] if "/" not in scope else [name]
    words.append(said.get(scope, "") if role == "forward" else "")
    return Cluster(shorten("  ".join(word for word in words if word), MOST_IN_TITLE))


def _groups_around(scene: Scene) -> list[tuple[int, ...]]:
    """By group: those around it and itself, the outermost first."""
    found: list[tuple[int, ...]] = []
    for number, group in enumerate(scene.groups):
        found.append((*(found[group.parent] if group.parent is not None else ()), number))
    return found


def _population(scene: Scene) -> dict[tuple[str, str], int]:
    """By role and scope: how many boxes are in it."""
    population: dict[tuple[str, str], int] = {}
    for node in scene.nodes:
        parts = node.scope.split("/") if node.scope else []
        for count in range(1, len(parts) + 1):
            place = (node.role, "/".join(parts[:count]))
            population[place] = population.get(place, 0) + 1
    return population


def _depths(
    scene: Scene, around: Sequence[tuple[int, ...]], population: Mapping[tuple[str, str], int]
) -> list[tuple[int, bool]]:
    """By group: after how many scopes it begins, and whether it takes the place of the next."""
    shared: list[list[str] | None] = [None] * len(scene.groups)
    size = [0] * len(scene.groups)
    for node in scene.nodes:
        parts = node.scope.split("/") if node.scope else []
        for group in around[node.group] if node.group is not None else ():
            size[group] += 1
            known = shared[group]
            pairs = zip(known if known is not None else parts, parts, strict=False)
            shared[group] = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    found = []
    roles = {node.group: node.role for node in scene.nodes if node.group is not None}
    for number in range(len(scene.groups)):
        scopes = shared[number] or []
        place = (roles.get(number, ""), "/".join(scopes))
        is_whole = population.get(place) == size[number]
        found.append((len(scopes) - is_whole, is_whole))
    return found


def _way(
    node: SceneNode,
    around: Sequence[tuple[int, ...]],
    depth: Sequence[tuple[int, bool]],
    population: Mapping[tuple[str, str], int],
) -> list[Step]:
    """The frames around a box, the outermost first."""
    parts = node.scope.split("/") if node.scope else []
    groups = list(around[node.group]) if node.group is not None else []
    way: list[Step] = []
    replaced = {depth[group][0] for group in groups if depth[group][1]}
    for count in range(len(parts) + 1):
        way += [("/".join(parts[:count]), node.role, g) for g in groups if depth[g][0] == count]
        scope = "/".join(parts[: count + 1])
        if count < len(parts) and count not in replaced and population[node.role, scope] > 1:
            way.append((scope, node.role, -1))
    return way
