"""Convolutions as people know them: one box ``conv2d 5×5`` that says ``20@24×24``.

The primitive works on arrays with an axis of groups, between reshapes that add and remove it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from graphnn.core.provenance import provenance
from graphnn.ops.geometry import Window
from graphnn.viz.graph_scene import is_scalar_constant
from graphnn.viz.images import Shapes, image_shapes, image_text
from graphnn.viz.quotient import contracted
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.scopes import value_of
from graphnn.viz.style import shorten

__all__ = ["with_whole_convolutions"]


def with_whole_convolutions(scene: Scene) -> Scene:
    """The scene with the reshapes around convolutions in their boxes, and sizes of pictures.

    Before ``x -> reshape -> conv2d -> reshape``, after ``x -> conv2d 5×5  20@24×24``. The bias,
    reshaped to be added to pictures, goes into the addition.
    """
    nodes = [_with_window(node) for node in scene.nodes]
    owner = list(range(len(nodes)))
    _absorb_means(scene, nodes, owner)
    if any(_is_convolution(node) for node in nodes):
        _absorb_reshapes(scene, nodes, owner)
    shapes = image_shapes(map(value_of, scene.nodes))
    nodes = [_with_size(node, shapes) for node in nodes]
    members: dict[int, list[int]] = {}
    for index, drawn in enumerate(owner):
        members.setdefault(drawn, []).append(index)
    if len(members) == len(nodes):
        return replace(scene, nodes=tuple(nodes))
    return contracted(scene, [(nodes[index], members[index]) for index in sorted(members)])


def _absorb_reshapes(scene: Scene, nodes: list[SceneNode], owner: list[int]) -> None:
    """Say in `owner` which reshapes a convolution's box, or a bias's addition, stands for."""
    sources: list[list[int]] = [[] for _ in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for edge in scene.edges:
        sources[edge.target].append(edge.source)
        readers[edge.source].append(edge.target)
    for index, node in enumerate(nodes):
        if not _is_convolution(node):
            continue
        for each in sources[index]:
            if _is_mere_reshape(nodes[each]) and readers[each] == [index]:
                owner[each] = index
        behind = readers[index]
        if len(behind) == 1 and _is_mere_reshape(nodes[behind[0]]):
            # What people know as its result is the array without the axis of groups.
            owner[behind[0]] = index
            nodes[index] = replace(
                nodes[behind[0]], label=node.label, tooltip=node.tooltip, signature=node.signature
            )
            _absorb_bias(readers[behind[0]], nodes, sources, readers, owner)


def _absorb_means(scene: Scene, nodes: list[SceneNode], owner: list[int]) -> None:
    """Say in `owner` which sums of windows are but the first half of a mean: ``avg_pool 2×2``."""
    readers = Counter(edge.source for edge in scene.edges)
    for edge in scene.edges:
        total, mean = nodes[edge.source], nodes[edge.target]
        if readers[edge.source] == 1 and not total.is_output and _is_mean(total, mean):
            owner[edge.source] = edge.target
            word = total.label.replace("window_sum", "avg_pool")
            is_named = "÷" not in mean.label
            detail = mean.detail.rpartition("  ")[2]
            nodes[edge.target] = replace(
                mean,
                label=mean.label if is_named else word,
                detail=f"{word}  {detail}" if is_named else detail,
            )


def _is_mean(total: SceneNode, mean: SceneNode) -> bool:
    """Whether one box divides the sums of windows in the other one by the size of a window."""
    summed, divided = value_of(total), value_of(mean)
    if (
        summed is None
        or divided is None
        or total.role != "forward"
        or summed.op.name != "window_sum"
    ):
        return False
    if divided.op.name != "divide" or divided.inputs[0] is not summed:
        return False
    count = divided.inputs[1]
    return is_scalar_constant(count) and count.attrs["value"].array.item() == prod(
        summed.attrs["window"].size
    )


def _absorb_bias(
    additions: Sequence[int],
    nodes: Sequence[SceneNode],
    sources: Sequence[Sequence[int]],
    readers: Sequence[Sequence[int]],
    owner: list[int],
) -> None:
    for addition in additions:
        for each in sources[addition]:
            is_bias = [nodes[source].kind for source in sources[each]] == ["parameter"]
            if is_bias and _is_mere_reshape(nodes[each]) and readers[each] == [addition]:
                owner[each] = addition


def _is_convolution(node: SceneNode) -> bool:
    value = value_of(node)
    return value is not None and value.op.name == "conv" and node.role == "forward"


def _is_mere_reshape(node: SceneNode) -> bool:
    value = value_of(node)
    is_plain = node.role == "forward" and not node.is_output
    if value is None or value.op.name != "reshape" or not is_plain:
        return False
    return provenance(value).name is None


def _with_window(node: SceneNode) -> SceneNode:
    """The size of the window beside the name of what slides one: ``max_pool 2×2``."""
    value = value_of(node)
    if value is None or node.role != "forward":
        return node
    if value.op.name == "conv":
        size, stride = value.inputs[1].tensor.shape[3:], value.attrs["stride"]
    elif isinstance(window := value.attrs.get("window"), Window):
        size, stride = window.size, window.stride
    else:
        return node
    word = "×".join(map(str, size))
    usual = (1,) * len(size) if value.op.name == "conv" else tuple(size)
    if tuple(stride) != usual:
        word += f", stride {'×'.join(map(str, dict.fromkeys(stride)))}"
    return replace(node, label=shorten(f"{node.label} {word}"))


def _with_size(node: SceneNode, shapes: Shapes) -> SceneNode:
    """``20@24×24`` in place of ``f32[batch, 20, 24, 24]``."""
    value = value_of(node)
    size = "" if value is None else image_text(value, shapes)
    word, _, _ = node.detail.rpartition("  ")
    return replace(node, detail=shorten(f"{word}  {size}".strip())) if size else node
