"""Name scopes in pictures: what belongs to one, and what its frame says."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphnn.core.node import Node
from graphnn.core.spec import TupleSpec, shape_text
from graphnn.core.state import Parameter
from graphnn.core.text import counted
from graphnn.ops.streams import RNG_COUNTER, RNG_SEED
from graphnn.viz.images import Shapes, image_shapes, image_text
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["parameter_count", "scoped", "value_of"]


def scoped(scene: Scene, layers: Mapping[str, str]) -> Scene:
    """The scene with weights in the scopes that read them, and sizes in the frames of scopes.

    Parameters
    ----------
    scene : Scene
    layers : mapping of str to str
        By path, such as ``"layers.0"``, what it is, such as ``"Dense(64, 32)"``.
    """
    if scene.steps:
        return scene  # which has lanes, not frames
    readers: list[list[str]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        if scene.nodes[edge.target].role == "forward":
            readers[edge.source].append(scene.nodes[edge.target].scope)
    nodes = tuple(
        _named_inside(replace(node, scope=_shared(readers[index])))
        if node.kind in ("parameter", "constant") and not node.scope and readers[index]
        else node
        for index, node in enumerate(scene.nodes)
    )
    return replace(scene, nodes=nodes, scopes=_described(replace(scene, nodes=nodes), layers))


def _named_inside(node: SceneNode) -> SceneNode:
    """A weight whose name begins with its scope, without that: the frame says it."""
    return replace(node, label=node.label.removeprefix(f"{node.scope.replace('/', '.')}."))


def _shared(scopes: Sequence[str]) -> str:
    """The innermost scope around all of these."""
    first, *others = (scope.split("/") if scope else [] for scope in scopes)
    for other in others:
        same = 0
        while same < min(len(first), len(other)) and first[same] == other[same]:
            same += 1
        first = first[:same]
    return "/".join(first)


def _described(scene: Scene, layers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """By scope: what it is, how many parameters it has, and the shape of what leaves it."""
    around = _Around()
    members: dict[str, list[int]] = {}
    for index, node in enumerate(scene.nodes):
        if node.role == "forward":
            for scope in around[node.scope]:
                members.setdefault(scope, []).append(index)
    leaving: dict[str, dict[int, None]] = {}
    for edge in scene.edges:
        source, target = scene.nodes[edge.source], scene.nodes[edge.target]
        if target.role == "forward" and source.scope != target.scope:
            outwards = around[source.scope]
            for scope in outwards[_in_common(outwards, around[target.scope]) :]:
                leaving.setdefault(scope, {})[edge.source] = None
    for index, node in enumerate(scene.nodes):
        if node.is_output and node.role == "forward":
            for scope in around[node.scope]:
                leaving.setdefault(scope, {})[index] = None
    shapes = image_shapes(map(value_of, scene.nodes))
    described = []
    for scope, inside_it in members.items():
        left = [scene.nodes[index] for index in leaving.get(scope, ())]
        words = [
            layers.get(scope.replace("/", "."), ""),
            parameters_text(scene, inside_it),
            _leaving_text(left, shapes),
        ]
        described.append((scope, "  ".join(word for word in words if word)))
    return tuple(described)


class _Around(dict[str, tuple[str, ...]]):
    """By scope: those around it and itself, the outermost first; every text is made once."""

    def __missing__(self, scope: str) -> tuple[str, ...]:
        missing = []
        while scope and scope not in self:
            missing.append(scope)
            scope = scope.rpartition("/")[0]
        found = self[scope] if scope else ()
        self[""] = ()
        for inner in reversed(missing):
            found = self[inner] = (*found, inner)
        return found


def _in_common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many scopes are around both; those that are stand first."""
    return bisect_left(range(min(len(one), len(other))), True, key=lambda at: one[at] != other[at])


def parameters_text(scene: Scene, members: Sequence[int]) -> str:
    """How many numbers the parameters among boxes hold; nothing if there is none."""
    count = parameter_count(value_of(scene.nodes[each]) for each in members)
    return counted(count, "parameter") if count else ""


def parameter_count(nodes: Iterable[Node | None]) -> int:
    """Numbers in the parameters among nodes; those of the random stream are no layer's."""
    found = {node for node in nodes if isinstance(node, Parameter)}
    return sum(each.array.size for each in found - {RNG_SEED, RNG_COUNTER})


def value_of(node: SceneNode) -> Node | None:
    """Whose value a box shows; None for one that stands for many."""
    return node.subject.node if node.subject is not None else None


def size_text(node: Node, shapes: Shapes) -> str:
    """The shape of a value; of images as channels@height×width, without the batch."""
    spec = node.spec
    if isinstance(spec, TupleSpec):
        return ", ".join(shape_text(each.shape) for each in spec.elements)
    return image_text(node, shapes) or (shape_text(spec.shape) if spec.shape else "scalar")


def _leaving_text(nodes: Sequence[SceneNode], shapes: Shapes) -> str:
    values = [value_of(node) for node in nodes]
    value = values[0] if len(values) == 1 else None
    return "" if value is None or isinstance(value, Parameter) else f"→ {size_text(value, shapes)}"
