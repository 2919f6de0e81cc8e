"""Lanes: which layer, and which direction, a step's boxes belong to.

A recurrence is a layer: its name scope is that of the values that it hands from step to step. What
lies in no such scope goes along with what it reads, or, if that is nothing of a step, as with an
element of a sequence, with its first reader; derivatives go along with what they belong to. What
reads both directions flows the way time does, with the layer that goes forward.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from graphnn.viz.elements import is_element
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["with_lanes"]

Path = tuple[str, ...]
"""The names of a scope, the outermost first."""


def with_lanes(scene: Scene, sequences: Iterable[Iterable[int]] = ()) -> Scene:
    """The scene with a lane for each of several recurrences; as it is if there is but one.

    Parameters
    ----------
    scene : Scene
    sequences : iterable of iterable of int
        The time steps of each, if it is known: what one hands to the other is no recurrence.
    """
    sequence = {step: number for number, steps in enumerate(sequences) for step in steps}
    handed = list(_handed(scene, sequence))
    layers = _outermost(path for path, _ in handed)
    if len(layers) < 2:
        return scene
    goes_back = {_within(path, layers) for path, is_back in handed if is_back}
    layers = _in_order(scene, layers, goes_back)
    names = dict(zip(layers, _short(layers), strict=True))
    order = {layer: number for number, layer in enumerate(layers)}

    def rank(layer: Path) -> tuple[bool, int]:
        return layer not in goes_back, order[layer]

    found: list[Path | None] = [
        None if is_element(node) else _within(_path(node), layers) for node in scene.nodes
    ]
    steps = [node.step is not None for node in scene.nodes]
    incoming: list[list[int]] = [[] for _ in scene.nodes]
    readers: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        incoming[edge.target].append(edge.source)
        readers[edge.source].append(edge.target)
    for number, node in enumerate(scene.nodes):
        if found[number] is None and node.origin is not None and node.origin < number:
            found[number] = found[node.origin]
        if found[number] is None and steps[number]:
            read = [found[each] for each in incoming[number] if steps[each]]
            known = [layer for layer in read if layer is not None]
            found[number] = max(known, key=rank, default=None)
    for number in reversed(range(len(scene.nodes))):
        if found[number] is None and steps[number]:
            known = [layer for each in readers[number] if (layer := found[each]) is not None]
            found[number] = min(known, key=lambda layer: order[layer], default=None)
    nodes = tuple(
        replace(node, lane=names[layer]) if layer is not None and node.step is not None else node
        for node, layer in zip(scene.nodes, found, strict=True)
    )
    return replace(scene, nodes=nodes)


def _path(node: SceneNode) -> Path:
    return tuple(node.scope.split("/")) if node.scope else ()


def _handed(scene: Scene, sequence: Mapping[int, int]) -> Iterator[tuple[Path, bool]]:
    """The scopes of what is handed from step to step on the way there, and if to earlier ones."""
    scan_of = {number: number for number, node in enumerate(scene.nodes) if node.op == "scan"}
    for edge in scene.edges:
        if edge.source in scan_of and scene.nodes[edge.target].op == "project":
            scan_of[edge.target] = edge.source
    through: dict[int, list[tuple[Path, bool]]] = {}  # by scans over steps that are not drawn
    for edge in scene.edges:
        source, target = scene.nodes[edge.source], scene.nodes[edge.target]
        before, after = source.step or 0, target.step or 0
        if edge.kind != "recurrent" or sequence.get(before) != sequence.get(after):
            continue
        is_back = after < before
        if edge.target in scan_of:
            through.setdefault(scan_of[edge.target], []).append((_path(source), is_back))
        elif edge.source in scan_of:
            through.setdefault(scan_of[edge.source], []).append((_path(target), is_back))
        else:
            yield _shared(_path(source), _path(target)), is_back
    for ends in through.values():
        yield reduce(_shared, (path for path, _ in ends)), ends[0][1]


def _shared(one: Path, other: Path) -> Path:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return one[:count]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths, each once, that are not within another one."""
    found = dict.fromkeys(paths)
    return [path for path in found if not any(path[:count] in found for count in range(len(path)))]


def _within(path: Path, layers: Sequence[Path]) -> Path | None:
    """The layer that a scope lies in; that which lies in it alone, of one around a layer."""
    known = set(layers)
    for count in range(len(path) + 1):
        if path[:count] in known:
            return path[:count]
    inside = [layer for layer in layers if layer[: len(path)] == path] if path else []
    return inside[0] if len(inside) == 1 else None


def _in_order(
    scene: Scene, layers: Sequence[Path], goes_back: Collection[Path | None]
) -> list[Path]:
    """Layers in the order in which they were built; of one net's directions, forward first."""
    built: dict[Path, int] = {}
    for node in scene.nodes:
        layer = _within(_path(node), layers)
        if layer is not None and node.subject is not None:
            loops = [scan for scan, _ in node.subject.steps]
            serial = (loops or [node.subject.node])[0].serial
            built[layer] = min(built.get(layer, serial), serial)
    first: dict[Path, int] = {}
    for layer in layers:
        around, serial = layer[:-1], built.get(layer, 0)
        first[around] = min(first.get(around, serial), serial)
    return sorted(
        layers,
        key=lambda layer: (first[layer[:-1]], layer in goes_back, built.get(layer, 0)),
    )


def _short(layers: Sequence[Path]) -> list[str]:
    """The names of layers without what all of them have in common at both ends."""
    begin = 0
    while all(len(layer) > begin + 1 for layer in layers) and _same(layers, begin):
        begin += 1
    end = 0
    while all(len(layer) > begin + end + 1 for layer in layers) and _same(layers, -1 - end):
        end += 1
    return ["/".join(layer[begin : len(layer) - end]) for layer in layers]


def _same(layers: Sequence[Path], place: int) -> bool:
    return len({layer[place] for layer in layers}) == 1
