"""The time steps that are drawn of a scene: all of them, or some at both ends.

Whatever is drawn of a step stands where it stands in the whole picture: the others become one
column, which holds for every lane what happens there.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.scene import Scene, SceneEdge, SceneNode

__all__ = ["Gap", "windowed", "without"]


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
    keys: list[Hashable] = []
    for number, node in enumerate(scene.nodes):
        gap = gap_of.get(node.step) if node.step is not None else None
        keys.append(number if gap is None else (gap.steps[0], node.lane, node.role))
    readers = _readers(scene)
    for number, key in _read_in_gaps(scene, keys, readers).items():
        keys[number] = key
    idle = _idle(scene, keys, readers)
    parts = []
    for members in parts_in_order(scene, keys):
        if members[0] in idle:
            continue
        stepped = [scene.nodes[each] for each in members if scene.nodes[each].step is not None]
        first = (stepped or [scene.nodes[members[0]]])[0]
        gap = gap_of.get(first.step) if first.step is not None else None
        parts.append((first if gap is None else _elision(first, gap), members))
    made = contracted(scene, parts)
    labels = (*scene.step_labels, *((gap.steps[0], f"… × {gap.count} …") for gap in gaps))
    edges = tuple(
        replace(edge, label="") if _is_elided(made, edge) else edge for edge in made.edges
    )
    return replace(made, edges=edges, step_labels=labels)


def _readers(scene: Scene) -> list[list[int]]:
    readers: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        readers[edge.source].append(edge.target)
    return readers


def _idle(scene: Scene, keys: Sequence[Hashable], readers: Sequence[Sequence[int]]) -> set[int]:
    """Constants that are read in gaps alone, such as zeros that sums begin with."""
    leaves = set(range(len(scene.nodes))).difference(edge.target for edge in scene.edges)
    return {
        number
        for number in leaves
        if scene.nodes[number].kind in ("operation", "constant") and readers[number]
        if not isinstance(keys[number], tuple)
        if all(isinstance(keys[each], tuple) for each in readers[number])
    }


def _read_in_gaps(
    scene: Scene, keys: Sequence[Hashable], readers: Sequence[Sequence[int]]
) -> dict[int, Hashable]:
    """Nodes of no step that are read in one gap alone, such as gradients on the way there."""
    found: dict[int, Hashable] = {}
    for number in reversed(range(len(scene.nodes))):
        node = scene.nodes[number]
        if node.step is None and node.kind == "operation" and not node.is_output:
            read = {found.get(each, keys[each]) for each in readers[number]}
            key = next(iter(read), None)
            if len(read) == 1 and isinstance(key, tuple) and key[2] == node.role:
                found[number] = key
    return found


def _is_elided(scene: Scene, edge: SceneEdge) -> bool:
    return "elision" in (scene.nodes[edge.source].kind, scene.nodes[edge.target].kind)


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
        is_recomputed=node.is_recomputed,
    )
