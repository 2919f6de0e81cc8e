"""Scopes drawn as one box each: a scene of many operations becomes one of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from graphnn.core.text import counted
from graphnn.viz.graph_scene import label_of
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import shorten

__all__ = ["collapsed", "content_of"]

MOST_DETAIL = 60
"""Characters of what a box says of the layer that it stands for."""


def collapsed(scene: Scene, depth: int) -> Scene:
    """The scene in which every scope inside of `depth` others is one box.

    With depth 0 every outermost scope is one box, with depth 1 every scope within those, and so
    on. Forward and backward pass and time steps have boxes of their own, and so has a scope that
    is entered again with what was made of its result.
    """
    keys: list[Hashable] = []
    reading = {edge.target for edge in scene.edges}
    for index, node in enumerate(scene.nodes):
        parts = node.scope.split("/") if node.scope else []
        inside = len(parts) > depth and node.kind not in ("input", "elision")
        # What a recurrence starts with is in no other step.
        inside = inside and (node.step is None or index in reading)
        place = (tuple(parts[: depth + 1]), node.role, node.step, node.lane, node.group)
        keys.append(place if inside else index)
    together = parts_in_order(scene, _with_shared_apart(scene, keys))
    said = dict(scene.scopes)
    leaving = _leaving(scene, together)
    lanes: dict[str, set[str]] = {}
    for node in scene.nodes:
        if node.lane:
            path = "/".join(node.scope.split("/")[: depth + 1])
            lanes.setdefault(path, set()).add(node.lane)
    boxes: list[tuple[SceneNode, Sequence[int]]] = []
    for members, wiring in zip(together, _wiring(scene, together), strict=True):
        box = scene.nodes[members[0]]
        if len(members) > 1:
            scope = "/".join(box.scope.split("/")[: depth + 1])
            inner = [scene.nodes[each] for each in members]
            given = [scene.nodes[each] for each in members if each in leaving]
            has_lanes = len(lanes.get(scope, ())) > 1 and inner[0].lane != ""
            words = said.get(scope, "") or _results(given)
            box = _box(inner, wiring, scope, words, has_lanes=has_lanes)
        boxes.append((box, members))
    return contracted(scene, boxes, with_totals=True)


def _leaving(scene: Scene, parts: Sequence[Sequence[int]]) -> set[int]:
    """The boxes that are read by the forward pass outside of their part."""
    part = {each: number for number, members in enumerate(parts) for each in members}
    return {
        edge.source
        for edge in scene.edges
        if edge.kind != "saved" and (edge.lag or part[edge.source] != part[edge.target])
    }


def _results(nodes: Sequence[SceneNode]) -> str:
    """What a step hands on, by name: ``→ c, h  f32[32, 64]``."""
    found = [node for node in nodes if node.step is not None and "  " in node.detail]
    names = dict.fromkeys(node.label.partition("[")[0] for node in found)
    specs = {node.detail.rpartition("  ")[2] for node in found}
    return f"→ {', '.join(names)}  {specs.pop()}" if len(specs) == 1 else ""


def _wiring(scene: Scene, parts: Sequence[Sequence[int]]) -> list[Hashable]:
    """By part: the edges inside of it, by the places of their ends in it."""
    place = {
        each: (part, at) for part, members in enumerate(parts) for at, each in enumerate(members)
    }
    inside: list[list[tuple[int, int]]] = [[] for _ in parts]
    for edge in scene.edges:
        (part, at), (other, to) = place[edge.source], place[edge.target]
        if part == other:
            inside[part].append((at, to))
    return [tuple(sorted(pairs)) for pairs in inside]


def _with_shared_apart(scene: Scene, keys: Sequence[Hashable]) -> list[Hashable]:
    """Weights whose readers lie in several parts stand beside them: both calls read them."""
    order = parts_in_order(scene, keys)
    part = [0] * len(keys)
    for number, members in enumerate(order):
        for member in members:
            part[member] = number
    apart = list(keys)
    read_in: dict[int, set[int]] = {}
    for edge in scene.edges:
        if scene.nodes[edge.source].kind == "parameter" and keys[edge.target] == keys[edge.source]:
            read_in.setdefault(edge.source, set()).add(part[edge.target])
    for source, found in read_in.items():
        if len(found) > 1:
            apart[source] = source
    return apart


def _box(
    nodes: Sequence[SceneNode], wiring: Hashable, scope: str, said: str, *, has_lanes: bool
) -> SceneNode:
    """The box that stands for a scope, or for one call of it."""
    first = next((node for node in nodes if node.kind == "operation"), nodes[0])
    around, _, name = scope.rpartition("/")
    words = Counter(node.label for node in nodes if node.kind not in ("parameter", "constant"))
    count = sum(words.values())
    if has_lanes:
        name = f"{name}.{first.lane}"
    signature: Hashable = (tuple(map(content_of, nodes)), wiring)
    if first.step is not None:
        signature = (scope, first.role)  # the first and the last step do a little less
    if first.role == "forward":
        label, detail = name, said
    elif all(node.label.startswith("∂") for node in nodes):
        label, detail = f"∂{name}", counted(len(nodes), "gradient")
    else:
        label, detail = f"{name} {first.role}", counted(count, "operation")
    listed = ", ".join(f"{word} × {n}" if n > 1 else word for word, n in words.items())
    lines = [scope, said, f"{counted(count, 'operation')}: {listed}"]
    return replace(
        first,
        label=shorten(label),
        detail=shorten(detail or counted(count, "operation"), MOST_DETAIL),
        kind="operation",
        scope=around,
        is_output=any(node.is_output for node in nodes),
        origin=next((node.origin for node in nodes if node.origin is not None), None),
        tooltip="\n".join(shorten(line, 200) for line in lines if line),
        signature=signature,
        badges=(),
        subject=None,
    )


def content_of(node: SceneNode) -> Hashable:
    """What a box computes, whatever it is called and whoever reads it."""
    if node.subject is None:
        label = node.label if node.signature is None else ""
        return (node.kind, node.role, label, node.signature)
    value = node.subject.node
    if node.kind == "parameter":
        return (node.kind, node.role, value.spec)
    attrs = tuple(sorted(value.attrs.items()))
    word = label_of(value.op.name, value)  # with the scalars that it reads
    return (node.kind, node.role, word, value.spec, attrs)
