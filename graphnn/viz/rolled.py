"""Recurrences rolled up: one cell, and what goes from step to step as edges with a lag."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from graphnn.viz.abreast import abreast
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["rolled"]

NUMBER = re.compile(r"\[(\d+)\]")


def rolled(scene: Scene, axes: Sequence[Sequence[int]]) -> Scene:
    """The scene with all time steps of an axis in the place of one.

    The one is a typical step, from the middle; what other steps have beyond it is not drawn.

    Parameters
    ----------
    scene : Scene
    axes : sequence of sequence of int
        The time steps that lie along each other, in the order of time.
    """
    typical = {step: axis[(len(axis) - 1) // 2] for axis in axes for step in axis}
    cell = _cells(scene, typical)
    drawn = [
        place is not None or node.step is None
        for place, node in zip(cell, scene.nodes, strict=True)
    ]
    edges = []
    for edge in scene.edges:
        if not (drawn[edge.source] and drawn[edge.target]):
            continue
        before, after = scene.nodes[edge.source].step, scene.nodes[edge.target].step
        if before is not None and after is not None and typical.get(before) == typical.get(after):
            edge = replace(edge, lag=after - before)
        edges.append(edge)
    lagged = replace(scene, edges=tuple(edges))
    keys: list[Hashable] = [number if place is None else place for number, place in enumerate(cell)]
    told = dict(scene.step_labels)
    parts = []
    for members in parts_in_order(lagged, keys):
        first = members[0]
        place = cell[first]
        if place is not None:
            others = (scene.nodes[each] for each in members)
            parts.append((_of_any_step(scene.nodes[place], others, told), members))
        elif drawn[first]:
            parts.append((scene.nodes[first], members))
    labels = tuple((step, "t") for step in dict.fromkeys(typical.values()))
    made = replace(_told_once(contracted(lagged, parts)), step_labels=labels)
    return abreast(made, [[step] for step in dict.fromkeys(typical.values())])


def _told_once(scene: Scene) -> Scene:
    """The scene with the bytes of what is saved at one line of each box, with a lag if there is."""
    told: dict[int, str] = {}
    at: dict[int, int] = {}
    for number, edge in enumerate(scene.edges):
        if edge.kind == "saved":
            told[edge.source] = told.get(edge.source) or edge.label
            first = at.setdefault(edge.source, number)
            if edge.lag and not scene.edges[first].lag:
                at[edge.source] = number
    edges = tuple(
        replace(edge, label=told[edge.source] if at[edge.source] == number else "")
        if edge.kind == "saved"
        else edge
        for number, edge in enumerate(scene.edges)
    )
    return replace(scene, edges=edges)


def _cells(scene: Scene, typical: dict[int, int]) -> list[int | None]:
    """By node, the node of the typical step that does the same; None for what has none."""
    exact, rough = _keys(scene)
    places: dict[tuple[int, Hashable], int] = {}
    for number, node in enumerate(scene.nodes):
        if node.step is not None and typical.get(node.step) == node.step:
            places[node.step, exact[number]] = number
            places.setdefault((node.step, rough[number]), number)
    found: list[int | None] = []
    for number, node in enumerate(scene.nodes):
        step = typical.get(node.step) if node.step is not None else None
        if step is None:
            found.append(None)
        else:
            found.append(places.get((step, exact[number]), places.get((step, rough[number]))))
    return found


def _keys(scene: Scene) -> tuple[list[Hashable], list[Hashable]]:
    """What tells the nodes of one step from each other, and is equal for all steps.

    Exactly: by what they read within their step; roughly: without that. Derivatives of what is
    roughly equal are roughly equal: the first step reads zeros where others read a carry.
    """
    read: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        if scene.nodes[edge.source].step == scene.nodes[edge.target].step:
            read[edge.target].append(edge.source)
    numbers: dict[Hashable, int] = {}
    counted: dict[Hashable, int] = {}

    def one_of(step: int | None, key: Hashable) -> Hashable:
        number = numbers.setdefault(key, len(numbers))
        counted[step, number] = counted.get((step, number), -1) + 1
        return number, counted[step, number]

    exact: list[Hashable] = []
    rough: list[Hashable] = []
    for number, node in enumerate(scene.nodes):
        is_known = node.origin is not None and node.origin < number
        origin = node.origin if is_known else None
        base = (node.role, node.lane, node.kind, node.signature)
        like = rough[origin] if origin is not None else None
        rough.append(("rough", one_of(node.step, (base, like))))
        same = exact[origin] if origin is not None else None
        sources = tuple(exact[each] for each in read[number] if each < number)
        exact.append(("exact", one_of(node.step, (base, same, sources))))
    return exact, rough


def _of_any_step(
    node: SceneNode, others: Iterable[SceneNode], told: Mapping[int, str]
) -> SceneNode:
    """A box of a cell: numbers of steps in its name become ``t``, ``t−1`` and so on.

    They are those that differ between steps as the steps do; of a single step, its own.
    """
    here = _number(node, told)
    there = [(number, each.label) for each in others if (number := _number(each, told)) != here]

    def shifted(distance: int) -> str:
        return NUMBER.sub(lambda found: f"[{int(found[1]) + distance}]", node.label)

    label = node.label
    if not there:
        label = label.replace(f"[{here}]", "[t]")
    elif any(text == shifted(number - here) for number, text in there):
        label = NUMBER.sub(lambda found: f"[{_relative(int(found[1]) - here)}]", label)
    return replace(node, label=label)


def _number(node: SceneNode, told: Mapping[int, str]) -> int:
    """The number of its step, as names have it; that of its column where it is none."""
    assert node.step is not None, "a box of a cell"
    number = told.get(node.step, "").removeprefix("t = ")
    return int(number) if number.isdecimal() else node.step


def _relative(distance: int) -> str:
    return f"t{'−' if distance < 0 else '+'}{abs(distance)}" if distance else "t"
