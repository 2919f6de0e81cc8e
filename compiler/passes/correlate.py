"""correlate: convolutions read their kernels forward.

Before: ``conv(x, kernel, low=1, flip=True)`` for a window of 5.
After: ``conv(x, flip(kernel), low=3, flip=False)``.

The kernel in reverse order is only a view of it, so that code generators know one direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.graph import with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by
from graphnn.ops.conv_primitive import CONV, conv_of
from graphnn.ops.movement import FLIP

__all__ = ["correlate"]


def correlate(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is CONV and node.attrs["flip"]:
            with made_by("correlate", node):
                return _forward(inputs[0], inputs[1], node.attrs)
        return with_inputs(node, inputs)

    return driver.with_graph(unit, unit.graph.map(replace))


def _forward(x: Node, kernel: Node, attrs: Mapping[str, Any]) -> Node:
    """A convolution by the reversed kernel, with that reversed beforehand."""
    axes = tuple(range(3, kernel.ndim))
    reach = [
        (int(size) - 1) * gap for size, gap in zip(kernel.shape[3:], attrs["dilation"], strict=True)
    ]
    low = tuple(far - before for far, before in zip(reach, attrs["low"], strict=True))
    turned = make_node(FLIP, (kernel,), {"axes": axes})
    return conv_of(x, turned, **{**attrs, "low": low, "flip": False})
