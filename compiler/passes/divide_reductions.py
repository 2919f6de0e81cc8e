"""divide_reductions: a reduction of very much to very little is made in two stages.

Before: ``sum(x, axes=(0, 1))`` for ``x`` of shape ``(512, 1024)``.
After: ``sum(sum(x, axes=(1,)), axes=(0,))``.

The rows of the first stage are independent, so that all threads have work, and fuse with what is
reduced; the second stage is small. Sums are associated differently. A GPU wants hundreds of blocks
at work, and stages are divided again until there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphnn.compiler.domain import is_native, reduces, sizes_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.fusion_cost import FEW_ROWS, LONG_ROW
from graphnn.compiler.unit import Unit
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.graph import with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by
from graphnn.ops.broadcasting import RESHAPE
from graphnn.ops.joining import CONCATENATE, slice_axis
from graphnn.ops.operands import cast_to

__all__ = ["divide_reductions"]

ROWS = 64
"""About as many rows as the first stage should have: several for every thread."""

PER_BLOCK = 1 << 16
"""Elements that one block sums up in the time of two launches."""

LEAST_PER_BLOCK = 1 << 12
"""Elements for which a block is worth its start."""

COLUMNS = 8
"""Sums of a block, where they lie side by side."""

MOST_CUTS = 4
"""A row may have so many times more or fewer parts than are wanted, if they are equal then."""

EVEN = 8
"""Elements that parts are multiples of, if they can be: halves that are read at once."""


def divide_reductions(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    divided = _on_device if unit.options.backend == "cupy" else _divided

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = with_inputs(node, inputs)
        if not (reduces(node) and is_native(node)):
            return node
        with made_by("divide_reductions", node):
            made = divided(node)
        if made is node or not driver.spend("divide_reductions", node, made):
            return node
        return made

    return driver.with_graph(unit, unit.graph.map(replace))


def _is_serial(node: Node) -> bool:
    """Whether a reduction has much to do, and few rows; half floats are rounded once."""
    if is_half(node.dtype):
        return False
    rows, size = math.prod(sizes_of(node)), math.prod(sizes_of(node.inputs[0]))
    return rows < FEW_ROWS and size > rows * LONG_ROW


def _divided(node: Node) -> Node:
    """The two stages; the node itself if its sizes suggest none."""
    if not _is_serial(node):
        return node
    axes, shape = _axes(node), sizes_of(node.inputs[0])
    if len(axes) == 1:
        # One axis only: cut it into equal rows, if it can be.
        length = shape[axes[0]]
        rows = next((n for n in range(ROWS, FEW_ROWS - 1, -1) if length % n == 0), 1)
    else:
        rows = _leading(node, ROWS)
    return _in_stages(node, rows) if rows >= FEW_ROWS else node


def _on_device(node: Node) -> Node:
    """The stages for a GPU; the node itself if all its processors are at work."""
    from graphnn.compiler.cuda.layout import ENOUGH_BLOCKS  # nobody else needs GPUs' code

    rows, size = math.prod(sizes_of(node)), math.prod(sizes_of(node.inputs[0]))
    axes, shape = _axes(node), sizes_of(node.inputs[0])
    is_along = bool(axes) and math.prod(shape[axes[-1] + 1 :]) == 1
    blocks = rows if is_along else -(-rows // COLUMNS)
    if blocks >= ENOUGH_BLOCKS or size < blocks * PER_BLOCK:
        return node
    wanted = min(-(-4 * ENOUGH_BLOCKS // blocks), size // (blocks * LEAST_PER_BLOCK))
    parts = _leading(node, wanted) if len(axes) > 1 else _cut(shape[axes[0]], wanted, is_along)
    if is_half(node.dtype):  # rounded once
        wide = make_node(node.op, (cast_to(node.inputs[0], FLOAT32),), dict(node.attrs))
        return cast_to(_in_stages(wide, parts, _on_device), node.dtype)
    return _in_stages(node, parts, _on_device)


def _cut(length: int, wanted: int, is_along: bool) -> int:
    """Into how many parts to cut an axis: equal ones, if its length has a factor near to that."""
    fitting = [
        parts
        for parts in range(max(2, wanted // MOST_CUTS), wanted * MOST_CUTS + 1)
        if length % parts == 0
    ]

    def rank(parts: int) -> tuple[bool, int]:
        return is_along and length // parts % EVEN != 0, abs(parts - wanted)

    return min(fitting, key=rank, default=wanted)


def _axes(node: Node) -> list[int]:
    """The axes that are reduced, and have several elements."""
    shape = sizes_of(node.inputs[0])
    return [axis for axis in sorted(node.attrs["axes"]) if shape[axis] > 1]


def _leading(node: Node, wanted: int) -> int:
    """The rows that the first of some axes make, but not the last: as many as are wanted."""
    shape, rows = sizes_of(node.inputs[0]), 1
    for axis in _axes(node)[:-1]:
        rows *= shape[axis]
        if rows >= wanted:
            break
    return rows


def _in_stages(node: Node, rows: int, again: Callable[[Node], Node] = lambda node: node) -> Node:
    """A reduction of so many rows, and one of what they are reduced to; both perhaps divided."""
    (x,), axes = node.inputs, _axes(node)
    shape, left = sizes_of(x), list[Node]()
    if len(axes) == 1:
        (last,) = axes
        x, *left = _parts(x, last, rows)
        first, second = [last + 1], [last]
    else:
        kept = 1
        while math.prod(shape[axis] for axis in axes[:kept]) < rows:
            kept += 1
        first, second = axes[kept:], axes[:kept]
    partial = again(make_node(node.op, (x,), {"axes": tuple(first)}))
    if left:
        partial = make_node(CONCATENATE, (partial, *left), {"axis": second[0]})
    whole = again(make_node(node.op, (partial,), {"axes": tuple(second)}))
    return (
        whole if whole.shape == node.shape else make_node(RESHAPE, (whole,), {"shape": node.shape})
    )


def _parts(x: Node, axis: int, count: int) -> list[Node]:
    """An array with equal parts of an axis as two axes, and what is left of it, if there is."""
    shape = sizes_of(x)
    part = shape[axis] // count
    left = shape[axis] % count
    if left:
        part -= part % (EVEN if math.prod(shape[axis + 1 :]) == 1 else 1)
        left = shape[axis] - part * count
        rest = slice_axis(x, axis, part * count, left)
        x = slice_axis(x, axis, 0, part * count)
    cut = (*shape[:axis], count, part, *shape[axis + 1 :])
    parts = make_node(RESHAPE, (x,), {"shape": cut})
    return [parts, rest] if left else [parts]
