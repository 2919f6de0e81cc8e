"""Read-outs: what a step makes of its state and hands to no other step.

An output layer, attention to another sequence, the loss of a step: they have a lane of their own
below that of the recurrence. Beside it they would make every step longer.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

from graphnn.viz.scene import Scene, SceneEdge, SceneNode

__all__ = ["with_readouts"]

FEWEST = 3
"""Operations of a step that get a lane; fewer stand beside their recurrence."""
MOST_NAMES = 3
"""Modules that the name of a lane tells."""
UNNAMED = "output"
"""What belongs to no module."""


def with_readouts(
    scene: Scene, names: Sequence[str], typical: Sequence[SceneEdge]
) -> tuple[list[str], dict[str, str]]:
    """The lane of every node with read-outs apart, and by such a lane that which it reads.

    Parameters
    ----------
    scene : Scene
    names : sequence of str
        By node its lane, without them.
    typical : sequence of SceneEdge
        Of its edges, those that tell what is handed on: few where the steps are many.
    """
    keys = [(name, node.signature) for name, node in zip(names, scene.nodes, strict=True)]
    is_leaf = [True] * len(keys)
    for edge in scene.edges:
        is_leaf[edge.target] = False
    made, read = [*names], {}
    for lane, found in _members(scene, keys, is_leaf, typical).items():
        if len(found) >= FEWEST:
            name = _name([scene.nodes[each[0]].scope for each in found.values()])
            inside = {each for members in found.values() for each in members}
            if lane and (name in read or not _reads_several(scene, names, inside)):
                name = f"{lane}: {name}"
            read[name] = lane
            for index in inside:
                made[index] = name
    _with_leaves(scene, made, is_leaf, read)
    for index, node in enumerate(scene.nodes):
        if node.role != "forward" and node.step is not None and node.origin is not None:
            made[index] = made[node.origin] if made[node.origin] in read else made[index]
    _with_elements(scene, made, read)
    return made, read


def _members(
    scene: Scene,
    keys: Sequence[tuple[str, Hashable]],
    is_leaf: Sequence[bool],
    typical: Sequence[SceneEdge],
) -> dict[str, dict[Hashable, list[int]]]:
    """By lane of a recurrence the read-outs, by what they do."""
    handed = _handed_on(scene, keys, typical)
    of_cells = {keys[index] for index in handed}
    lanes = {lane for lane, _ in of_cells}
    found: dict[str, dict[Hashable, list[int]]] = {}
    for index, node in enumerate(scene.nodes):
        if _is_there(node) and not is_leaf[index] and keys[index] not in of_cells:
            lane, what = keys[index]
            if lane in lanes:
                found.setdefault(lane, {}).setdefault(what, []).append(index)
    return found


def _with_leaves(
    scene: Scene, names: list[str], is_leaf: Sequence[bool], read: Mapping[str, str]
) -> None:
    """Set the lanes of what is given at a step, such as labels, where read-outs alone read it."""
    readers: list[set[str]] = [set() for _ in names]
    for edge in scene.edges:
        if is_leaf[edge.source] and _is_there(scene.nodes[edge.target]):
            readers[edge.source].add(names[edge.target])
    for index, node in enumerate(scene.nodes):
        if _is_there(node) and len(readers[index]) == 1 and readers[index] <= read.keys():
            (names[index],) = readers[index]


def _reads_several(scene: Scene, names: Sequence[str], inside: Collection[int]) -> bool:
    """Whether read-outs belong to no one lane, such as what puts both directions together."""
    return (
        len(
            {
                names[edge.source]
                for edge in scene.edges
                if edge.target in inside and edge.source not in inside
                if scene.nodes[edge.source].step == scene.nodes[edge.target].step
                if not edge.lag and scene.nodes[edge.source].role == "forward"
            }
        )
        > 1
    )


def _name(scopes: Iterable[str]) -> str:
    """The name of a lane of read-outs: of the modules in it."""
    paths = [scope.split("/") for scope in scopes]
    inner = dict.fromkeys(path[-1] for path in paths if path != paths[0][: len(path)])
    words = dict.fromkeys([paths[0][-1], *inner])
    inside = ", ".join([word for word in words if word and not word.isdigit()][:MOST_NAMES])
    return inside or UNNAMED


def _with_elements(scene: Scene, names: list[str], read: Mapping[str, str]) -> None:
    """Set the lanes of derivatives that belong to no operation: those of what reads them."""
    readers: list[list[int]] = [[] for _ in names]
    for edge in scene.edges:
        if scene.nodes[edge.source].step == scene.nodes[edge.target].step and not edge.lag:
            readers[edge.source].append(edge.target)
    for index in reversed(range(len(names))):
        node = scene.nodes[index]
        if node.role != "forward" and node.step is not None and node.origin is None:
            found = {names[each] for each in readers[index]}
            if len(found) == 1 and found <= read.keys():
                (names[index],) = found


def _is_there(node: SceneNode) -> bool:
    """Whether it is an operation, or an input, of one step in the forward pass."""
    return node.step is not None and node.role == "forward" and node.kind != "elision"


def _handed_on(scene: Scene, keys: Sequence[Hashable], typical: Sequence[SceneEdge]) -> set[int]:
    """Nodes of the forward pass from which something gets to another step.

    Running totals, such as those of a loss of every step, are not looked at: they get nowhere.
    """
    read: dict[int, list[int]] = {}
    within: dict[int, list[int]] = {}
    for edge in typical:
        read.setdefault(edge.target, []).append(edge.source)
        before, after = scene.nodes[edge.source].step, scene.nodes[edge.target].step
        if before is not None and before == after and not edge.lag:
            within.setdefault(edge.target, []).append(edge.source)
    given = _given(scene, read)
    handed = [edge for edge in typical if edge.source in given and _is_handed(scene, edge)]
    totals = {
        keys[edge.source]
        for edge in handed
        if keys[edge.source] == keys[edge.target] and scene.nodes[edge.source].label == "add"
    }
    found = {edge.source for edge in handed if keys[edge.target] not in totals}
    for index in sorted(within, reverse=True):
        if index in found:
            found.update(within[index])
    return found


def _given(scene: Scene, read: Mapping[int, Sequence[int]]) -> set[int]:
    """Nodes that depend on inputs or weights: numbers are the same in every step."""
    found = {
        each
        for sources in read.values()
        for each in sources
        if scene.nodes[each].kind in ("input", "parameter")
    }
    for index in sorted(read):
        if not found.isdisjoint(read[index]):
            found.add(index)
    return found


def _is_handed(scene: Scene, edge: SceneEdge) -> bool:
    """Whether an edge leads from one step that is drawn to another, in the forward pass."""
    ends = scene.nodes[edge.source], scene.nodes[edge.target]
    if any(node.kind == "elision" or node.role != "forward" for node in ends):
        return False
    before, after = (node.step for node in ends)
    return edge.lag != 0 or (None not in (before, after) and before != after)
