"""divide_reductions: a reduction of very much to very little is made in two stages.

Before: ``sum(x, axes=(0, 1))`` for ``x`` of shape ``(512, 1024)``.
After: ``sum(sum(x, axes=(1,)), axes=(0,))``.

The rows of the first stage are independent, so that all threads have work, and fuse with what is
reduced; the second stage is small. Sums are associated differently.
"""

from __future__ import annotations

import math

from graphnn.compiler.domain import is_native, reduces, sizes_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.fusion_cost import FEW_ROWS, LONG_ROW
from graphnn.compiler.unit import Unit
from graphnn.core.dtypes import is_half
from graphnn.core.graph import with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by
from graphnn.ops.broadcasting import RESHAPE

__all__ = ["divide_reductions"]

ROWS = 64
"""About as many rows as the first stage should have: several for every thread."""


def divide_reductions(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = with_inputs(node, inputs)
        if not _is_serial(node):
            return node
        with made_by("divide_reductions", node):
            divided = _divided(node)
        if divided is node or not driver.spend("divide_reductions", node, divided):
            return node
        return divided

    return driver.with_graph(unit, unit.graph.map(replace))


def _is_serial(node: Node) -> bool:
    """Whether a reduction has much to do, and few rows; half floats are rounded once."""
    if not (reduces(node) and is_native(node)) or is_half(node.dtype):
        return False
    rows, size = math.prod(sizes_of(node)), math.prod(sizes_of(node.inputs[0]))
    return rows < FEW_ROWS and size > rows * LONG_ROW


def _divided(node: Node) -> Node:
    """The two stages; the node itself if its sizes suggest none."""
    (x,), axes = node.inputs, sorted(node.attrs["axes"])
    shape = sizes_of(x)
    axes = [axis for axis in axes if shape[axis] > 1]
    last = axes[-1]
    if len(axes) == 1:
        # One axis only: cut it into equal rows, if it can be.
        rows = next((n for n in range(ROWS, FEW_ROWS - 1, -1) if shape[last] % n == 0), 1)
        cut = (*shape[:last], rows, shape[last] // rows, *shape[last + 1 :])
        x, first, second = make_node(RESHAPE, (x,), {"shape": cut}), (last + 1,), (last,)
    else:
        kept = 1
        while kept < len(axes) - 1 and math.prod(shape[axis] for axis in axes[:kept]) < ROWS:
            kept += 1
        rows = math.prod(shape[axis] for axis in axes[:kept])
        first = tuple(axes[kept:])
        second = tuple(axis for axis in axes[:kept])
    if rows < FEW_ROWS:
        return node
    partial = make_node(node.op, (x,), {"axes": first})
    whole = make_node(node.op, (partial,), {"axes": second})
    return (
        whole if whole.shape == node.shape else make_node(RESHAPE, (whole,), {"shape": node.shape})
    )
