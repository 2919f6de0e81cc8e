"""Which values are images, and their size as people know it: ``20@24×24``."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TypeAlias

from graphnn.core.dims import Dim, Size
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.ops.geometry import Window

__all__ = ["Shapes", "image_shapes", "image_text"]

Shapes: TypeAlias = Set[tuple[Size, ...]]


def image_shapes(nodes: Iterable[Node | None]) -> Shapes:
    """The shapes (batch, channels, height, width) that convolutions and pooling read and make.

    What is between them (activations, norms, their gradients) has one of these shapes; what merely
    has four axes, such as the heads of attention, is no image.
    """
    shapes: set[tuple[Size, ...]] = set()
    for node in nodes:
        if node is None or provenance(node).role != "forward":
            continue
        if node.op.name == "conv":
            for each in (node, node.inputs[0]):
                batch, groups, channels, *sizes = each.shape
                shapes.add((batch, groups * channels, *sizes))
        elif isinstance(node.attrs.get("window"), Window):
            shapes.update(each.shape for each in (node, *node.inputs))
    return {each for each in shapes if len(each) == 4}


def image_text(node: Node, shapes: Shapes) -> str:
    """Channels@height×width of an image, without the batch; of anything else nothing."""
    spec = node.spec
    if not isinstance(spec, TensorSpec) or spec.shape not in shapes:
        return ""
    is_weight = isinstance(node, Parameter) or provenance(node).gradient_of
    channels, height, width = spec.shape[1:]
    if is_weight or any(isinstance(each, Dim) for each in (channels, height, width)):
        return ""
    return f"{channels}@{height}×{width}"
