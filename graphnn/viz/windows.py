"""The time steps that are drawn of a scene: all of them, or some at both ends.

Whatever is drawn of a step stands where it stands in the whole picture: the others become one
column, which holds for every lane what happens there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from graphnn.viz.scene import Scene, SceneEdge, SceneNode

__all__ = ["Gap", "in_order", "windowed", "without"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Time steps that become one column.

    Attributes
    ----------
    steps : tuple of int
        As the scene has them.
    count : str
        How many they are, ``"96"`` or ``"T − 4"``.
    told : str
        Which they are, ``"t = 2 to 97"``.
    """

    steps: tuple[int, ...]
    count: str
    told: str


def windowed(scene: Scene, count: int) -> Scene:
    """The first and the last ``count`` time steps, and one column for all others.

    A scene in which less than two steps would be left out stays as it is.
    """
    middle = scene.steps[count : len(scene.steps) - count]
    if len(middle) < 2:
        return scene
    told = f"t = {middle[0]} to {middle[-1]}"
    return without(scene, [Gap(middle, str(len(middle)), told)])


def without(scene: Scene, gaps: Sequence[Gap]) -> Scene:
    """A scene with one box for each lane and role in the place of the steps of a gap."""
    gap_of = {step: gap for gap in gaps for step in gap.steps}
    boxes: dict[tuple[int, str, str], int] = {}
    nodes: list[SceneNode] = []
    place: list[int] = []
    for node in scene.nodes:
        gap = gap_of.get(node.step) if node.step is not None else None
        if gap is None:
            place.append(len(nodes))
            nodes.append(node)
            continue
        key = (gap.steps[0], node.lane, node.role)
        if key not in boxes:
            boxes[key] = len(nodes)
            nodes.append(_elision(node, gap))
        place.append(boxes[key])
    nodes = [
        replace(node, origin=place[node.origin]) if node.origin is not None else node
        for node in nodes
    ]
    found: dict[tuple[int, int, str], SceneEdge] = {}
    for edge in scene.edges:
        source, target = place[edge.source], place[edge.target]
        if source != target:
            is_within = nodes[source].kind == "elision" or nodes[target].kind == "elision"
            label = "" if is_within else edge.label
            made = replace(edge, source=source, target=target, label=label)
            found.setdefault((source, target, edge.kind), made)
    labels = (*scene.step_labels, *((gap.steps[0], f"… × {gap.count} …") for gap in gaps))
    made = replace(scene, nodes=tuple(nodes), edges=tuple(found.values()), step_labels=labels)
    return in_order(made)


def _elision(node: SceneNode, gap: Gap) -> SceneNode:
    """The box that stands for a lane in a gap."""
    return SceneNode(
        f"… × {gap.count} …",
        gap.told,
        "elision",
        node.role,
        step=gap.steps[0],
        tooltip=f"{gap.count} time steps that are not drawn: {gap.told}\n{node.role}",
        signature=("elision", node.lane),
        lane=node.lane,
    )


def in_order(scene: Scene) -> Scene:
    """The scene with sources before targets, otherwise in the order that it has."""
    readers: list[list[int]] = [[] for _ in scene.nodes]
    waiting = [0] * len(scene.nodes)
    for edge in scene.edges:
        if not edge.lag:
            readers[edge.source].append(edge.target)
            waiting[edge.target] += 1
    ready = [number for number, count in enumerate(waiting) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        number = heappop(ready)
        order.append(number)
        for each in readers[number]:
            waiting[each] -= 1
            if not waiting[each]:
                heappush(ready, each)
    place = {number: position for position, number in enumerate(order)}
    return _renumbered(scene, order, place)


def _renumbered(scene: Scene, order: Sequence[int], place: Mapping[int, int]) -> Scene:
    nodes = []
    for number in order:
        node = scene.nodes[number]
        origin = place.get(node.origin) if node.origin is not None else None
        nodes.append(replace(node, origin=origin))
    edges = [
        replace(edge, source=place[edge.source], target=place[edge.target]) for edge in scene.edges
    ]
    return replace(scene, nodes=tuple(nodes), edges=tuple(edges))
