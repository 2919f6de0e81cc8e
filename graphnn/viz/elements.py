"""One box for an element of a sequence, in place of the operators that take it out."""

from __future__ import annotations

from dataclasses import replace

from graphnn.viz.quotient import contracted
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["with_elements"]


def with_elements(scene: Scene) -> Scene:
    """The scene with a box ``x[3]`` for a slice of ``x`` and its reshape at time step 3.

    Elements of what is fed are what is fed at their step: where nothing else reads a sequence, its
    own box goes.
    """
    readers: list[list[int]] = [[] for _ in scene.nodes]
    sources: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        readers[edge.source].append(edge.target)
        sources[edge.target].append(edge.source)
    taken: dict[int, int] = {}  # from reshapes to slices
    for number, node in enumerate(scene.nodes):
        if _op(node) == "slice" and node.step is not None and len(readers[number]) == 1:
            (reader,) = readers[number]
            is_view = _op(scene.nodes[reader]) == "reshape" and not node.is_output
            if is_view and scene.nodes[reader].step == node.step and len(sources[number]) == 1:
                taken[reader] = number
    if not taken:
        return scene
    slices = set(taken.values())
    gone = {
        number
        for number, node in enumerate(scene.nodes)
        if node.kind == "input" and not slices.isdisjoint(readers[number])
        if all(_op(scene.nodes[each]) == "slice" for each in readers[number])
    }
    parts: list[tuple[SceneNode, tuple[int, ...]]] = []
    for number, node in enumerate(scene.nodes):
        if number in taken:
            whole = scene.nodes[sources[taken[number]][0]]
            parts.append((_element(node, whole), (taken[number], number)))
        elif number not in slices and number not in gone:
            parts.append((node, (number,)))
    return contracted(scene, parts)


def _op(node: SceneNode) -> str:
    return node.subject.node.op.name if node.subject is not None else ""


def _element(node: SceneNode, whole: SceneNode) -> SceneNode:
    """The box of an element."""
    spec = node.detail.split("  ")[-1]
    is_named = node.label != "reshape"
    label = node.label if is_named else f"{whole.label}[{node.step}]"
    is_fed = whole.kind == "input" and node.role == "forward"
    kind = "input" if is_fed else node.kind
    return replace(node, label=label, detail=spec, kind=kind, signature=("element", whole.label))
