"""One box for an element of a sequence, or for a whole one, in place of the operators between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from graphnn.viz.quotient import contracted
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["is_element", "with_elements", "with_numbers_apart"]

ELEMENT = "element"


def with_elements(scene: Scene) -> Scene:
    """The scene with a box ``x[3]`` for a slice of ``x`` and its reshape at time step 3.

    Elements of what is fed are what is fed at their step: where nothing else reads a sequence, its
    own box goes. Steps that are put together again, each reshaped and all concatenated, are one
    box too.
    """
    readers: list[list[int]] = [[] for _ in scene.nodes]
    sources: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        readers[edge.source].append(edge.target)
        sources[edge.target].append(edge.source)
    taken: dict[int, int] = {}  # from reshapes to slices
    for number, node in enumerate(scene.nodes):
        if node.op == "slice" and node.step is not None and len(readers[number]) == 1:
            (reader,) = readers[number]
            is_view = scene.nodes[reader].op == "reshape" and not node.is_output
            if is_view and scene.nodes[reader].step == node.step and len(sources[number]) == 1:
                taken[reader] = number
    stacks: dict[int, tuple[int, ...]] = {}
    for number, node in enumerate(scene.nodes):
        if node.op == "concatenate":
            found = _stacked(scene, sources[number], readers, stacks)
            if found:
                stacks[number] = found
    if not taken and not stacks:
        return scene
    slices = set(taken.values())
    stacked = {each for rows in stacks.values() for each in rows}
    gone = {
        number
        for number, node in enumerate(scene.nodes)
        if node.kind == "input" and not slices.isdisjoint(readers[number])
        if all(scene.nodes[each].op == "slice" for each in readers[number])
    }
    told = dict(scene.step_labels)
    parts: list[tuple[SceneNode, tuple[int, ...]]] = []
    for number, node in enumerate(scene.nodes):
        if number in taken:
            whole = scene.nodes[sources[taken[number]][0]]
            parts.append((_element(node, whole, told), (taken[number], number)))
        elif number in stacks and number not in stacked:
            inside = set(stacks[number])
            read = [each for row in stacks[number] for each in sources[row]]
            rows = [scene.nodes[each] for each in read if each not in inside]
            parts.append((_stack(node, rows), (*stacks[number], number)))
        elif number not in slices and number not in gone and number not in stacked:
            parts.append((node, (number,)))
    return contracted(scene, parts)


def _stacked(
    scene: Scene,
    sources: Sequence[int],
    readers: Sequence[Sequence[int]],
    known: Mapping[int, Sequence[int]],
) -> tuple[int, ...]:
    """The reshapes that make rows of what is put together; none if it is anything else.

    Steps that are not drawn are rows already, and those on both sides are stacks themselves.
    """
    found: list[int] = []
    between = 0
    for each in sources:
        node = scene.nodes[each]
        is_inside = len(readers[each]) == 1 and not node.is_output
        if each in known and is_inside:
            found += (*known[each], each)
        elif node.op == "reshape" and is_inside and node.label == "reshape" and _is_row(node):
            found.append(each)
        elif node.op in ("project", "scan") and not between:
            between += 1
        else:
            return ()
    return tuple(found)


def _is_row(node: SceneNode) -> bool:
    """Whether a reshape adds an axis of one before all others."""
    assert node.subject is not None, "a node with an operator"
    row = node.subject.node
    return row.shape == (1, *row.inputs[0].shape)


def _stack(node: SceneNode, rows: Sequence[SceneNode]) -> SceneNode:
    """The box of steps that are put together: ``all h`` of ``h[0]``, ``h[1]`` and so on."""
    label, detail = (text.replace("concatenate", "stack") for text in (node.label, node.detail))
    names = {row.label.partition("[")[0] if "[" in row.label else "" for row in rows}
    if label == "stack" and len(names) == 1 and names != {""}:
        label, detail = f"all {names.pop()}", f"stack  {detail}"
    return replace(node, label=label, detail=detail)


def with_numbers_apart(scene: Scene) -> Scene:
    """The scene with what depends on nothing given out of the time steps if several read it.

    The indices of a lookup, say, are computed once: they are of no step.
    """
    is_given = [node.kind in ("input", "parameter") for node in scene.nodes]
    readers: list[set[int | None]] = [set() for _ in scene.nodes]
    in_order = sorted(scene.edges, key=attrgetter("target"))
    for edge in in_order:
        is_given[edge.target] |= is_given[edge.source]
    nodes = [*scene.nodes]
    for edge in reversed(in_order):
        node, reader = nodes[edge.source], nodes[edge.target]
        if is_given[edge.source] or node.step is None or reader.role != "forward":
            continue
        readers[edge.source].add(reader.step)
        if node.role == "forward" and (len(readers[edge.source]) > 1 or reader.step is None):
            nodes[edge.source] = replace(node, step=None)
    return replace(scene, nodes=tuple(nodes))


def is_element(node: SceneNode) -> bool:
    """Whether a box is an element of a sequence that something of no step computes."""
    return isinstance(node.signature, tuple) and node.signature[:1] == (ELEMENT,)


def _element(node: SceneNode, whole: SceneNode, told: Mapping[int, str]) -> SceneNode:
    """The box of an element."""
    assert node.step is not None, "an element is of a step"
    number = told.get(node.step, str(node.step)).removeprefix("t = ")
    spec = node.detail.split("  ")[-1]
    is_named = node.label != "reshape"
    label = node.label if is_named else f"{whole.label}[{number}]"
    is_fed = whole.kind == "input" and node.role == "forward"
    kind = "input" if is_fed else node.kind
    return replace(node, label=label, detail=spec, kind=kind, signature=(ELEMENT, whole.label))
