"""Scenes with several boxes drawn as one, such that sources still come before targets."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from graphnn.core.dims import Size
from graphnn.core.spec import TupleSpec
from graphnn.core.text import size_text
from graphnn.viz.scene import Frame, Scene, SceneEdge, SceneNode

__all__ = ["contracted", "parts_in_order"]

Values = tuple[float | None, ...]


def parts_in_order(scene: Scene, keys: Sequence[Hashable]) -> list[list[int]]:
    """Boxes of equal key together, as far as no cycle arises; parts before those that read them.

    A layer that is called twice, with something between its calls, is two parts: one box for both
    would read what it gives.

    Parameters
    ----------
    scene : Scene
    keys : sequence of hashable
        By node.
    """
    edges = [(edge.source, edge.target) for edge in scene.edges if not edge.lag]
    part = _numbered(keys)
    knot = _components(max(part, default=-1) + 1, [(part[s], part[t]) for s, t in edges])
    tangled = _tangled(part, knot)
    # Inside a knot of parts, every change from one part to another begins a new generation.
    generation = [0] * len(keys)
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        if tangled[part[target]] and knot[part[source]] == knot[part[target]]:
            begins = part[source] != part[target]
            generation[target] = max(generation[target], generation[source] + begins)
    part = _numbered(list(zip(part, generation, strict=True)))
    members: list[list[int]] = [[] for _ in range(max(part, default=-1) + 1)]
    for node, number in enumerate(part):
        members[number].append(node)
    order = _topological(len(members), {(part[s], part[t]) for s, t in edges if part[s] != part[t]})
    return [members[number] for number in order]


def _numbered(keys: Sequence[Hashable]) -> list[int]:
    """Equal keys as equal numbers, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _tangled(part: Sequence[int], knot: Sequence[int]) -> list[bool]:
    """By part: whether there are others in its knot."""
    size = [0] * (max(knot, default=-1) + 1)
    for number in range(max(part, default=-1) + 1):
        size[knot[number]] += 1
    return [size[knot[number]] > 1 for number in range(max(part, default=-1) + 1)]


def _components(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The strongly connected component of every vertex (Tarjan's algorithm, without recursion)."""
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        if source != target:
            after[source].append(target)
    found, low = [-1] * count, [0] * count
    component, stack, clock, components = [-1] * count, [], 0, 0
    for root in range(count):
        if found[root] >= 0:
            continue
        way = [(root, iter(after[root]))]
        found[root] = low[root] = clock
        clock += 1
        stack.append(root)
        while way:
            vertex, remaining = way[-1]
            for target in remaining:
                if found[target] < 0:
                    found[target] = low[target] = clock
                    clock += 1
                    stack.append(target)
                    way.append((target, iter(after[target])))
                    break
                if component[target] < 0:
                    low[vertex] = min(low[vertex], found[target])
            else:
                way.pop()
                if way:
                    low[way[-1][0]] = min(low[way[-1][0]], low[vertex])
                if low[vertex] == found[vertex]:
                    while component[vertex] < 0:
                        component[stack.pop()] = components
                    components += 1
    return component


def _topological(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Vertices before those that they lead to, otherwise in the order of their numbers."""
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in edges:
        after[source].append(target)
        missing[target] += 1
    ready = [vertex for vertex in range(count) if not missing[vertex]]
    heapify(ready)
    order = []
    while ready:
        vertex = heappop(ready)
        order.append(vertex)
        for target in after[vertex]:
            missing[target] -= 1
            if not missing[target]:
                heappush(ready, target)
    return order


def contracted(
    scene: Scene,
    parts: Sequence[tuple[SceneNode, Sequence[int]]],
    *,
    with_totals: bool = False,
) -> Scene:
    """The scene with one box for each part; what is in no part is not drawn.

    Of edges between the same two boxes one is left, the first. A curve or an overlay has the
    largest value of a part.

    Parameters
    ----------
    scene : Scene
    parts : sequence of (SceneNode, sequence of int)
        The new boxes in order, and which of the scene's boxes each stands for.
    with_totals : bool, default False
        Whether an edge says the bytes of all that is saved between two boxes, or what the edges
        that it stands for have in common.
    """
    number = [-1] * len(scene.nodes)
    for index, (_, members) in enumerate(parts):
        for member in members:
            number[member] = index
    nodes = []
    for index, (box, _) in enumerate(parts):
        origin = None if box.origin is None else number[box.origin]
        origin = None if origin in (-1, index) else origin
        nodes.append(box if origin == box.origin else box.about(origin, box.subject))
    edges: dict[tuple[int, int, int], SceneEdge] = {}
    labelled: dict[tuple[int, int, int], list[SceneEdge]] = {}
    for edge in scene.edges:
        source, target = number[edge.source], number[edge.target]
        if source < 0 or target < 0 or (source == target and not edge.lag):
            continue
        key = (source, target, edge.lag)
        if key not in edges:
            edges[key] = edge.between(source, target)
        if edge.label:
            labelled.setdefault(key, []).append(edge)
    for key, found in labelled.items():
        common = {edge.label for edge in found} | {edges[key].label}
        if len(common) > 1 or (with_totals and len(found) > 1):
            edges[key] = replace(edges[key], label=_total(scene, found) if with_totals else "")
    members_of = [members for _, members in parts]
    strip = scene.strip and replace(scene.strip, values=_largest(scene.strip.values, members_of))
    overlays = tuple(
        replace(overlay, frames=tuple(_frame(frame, members_of) for frame in overlay.frames))
        for overlay in scene.overlays
    )
    return replace(
        scene, nodes=tuple(nodes), edges=tuple(edges.values()), strip=strip, overlays=overlays
    )


def _total(scene: Scene, edges: Sequence[SceneEdge]) -> str:
    """What values that are saved take together; nothing where that is not known."""
    total: Size = 0
    for edge in edges:
        subject = scene.nodes[edge.source].subject
        if edge.kind != "saved" or subject is None or isinstance(subject.node.spec, TupleSpec):
            return ""
        total = total + subject.node.spec.size * subject.node.dtype.itemsize
    return size_text(total)


def _frame(frame: Frame, parts: Sequence[Sequence[int]]) -> Frame:
    return Frame(frame.label, _largest(frame.values, parts))


def _largest(values: Values, parts: Sequence[Sequence[int]]) -> Values:
    """The largest value of every part; NaN if there is one, for it must not be missed."""
    found: list[float | None] = []
    for members in parts:
        known = [value for value in (values[each] for each in members) if value is not None]
        broken = [value for value in known if value != value]
        found.append(broken[0] if broken else max(known, default=None))
    return tuple(found)
