"""Lowerings of what only moves or makes data: padding, joining, counting, diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.native.moves.piece import Piece, Sketch, box, copied, filled, frame
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = [
    "lower_concatenate",
    "lower_diagonal_matrix",
    "lower_iota",
    "lower_pad",
    "lower_size_of",
]

CACHED_BYTES = 256 << 10
"""A result no larger is filled as a whole before the inside is written: that is one kernel."""

Views = tuple[View, ...]


def lower_pad(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The value around, then the array inside."""
    (x, value), (out,) = inputs, outputs
    low, steps = node.attrs["low"], [gap + 1 for gap in node.attrs["interior"]]
    inside = box(out, low, x.shape, steps)
    if inside == out:
        return copied(x, out)
    if 0 in x.shape:
        return filled(out, value)
    if max(steps) > 1 or out.nbytes <= CACHED_BYTES:
        around = filled(out, value)
    else:
        around = _filled_around(out, low, x.shape, value)
    return [*around, *copied(x, inside)]


def _filled_around(
    out: View, start: Sequence[int], sizes: Sequence[int], value: float | View
) -> list[Piece]:
    stop = [first + size for first, size in zip(start, sizes, strict=True)]
    boxes = frame(out.shape, start, stop)
    return [piece for each in boxes for piece in filled(box(out, *each), value)]


def lower_concatenate(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """Every input into its part of the result."""
    (out,), axis = outputs, node.attrs["axis"]
    pieces, start = [], [0] * len(out.shape)
    for each in inputs:
        pieces += copied(each, box(out, start, each.shape))
        start[axis] += each.shape[axis]
    return pieces


def lower_iota(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The index along an axis."""
    (out,) = outputs
    if 0 in out.shape:
        return []
    sketch = Sketch(out.shape)
    index = sketch.index(node.attrs["axis"])
    sketch.store(out, sketch.cast(index, "int64", out.dtype.name))
    return [sketch.piece()]


def lower_size_of(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """A number."""
    return filled(outputs[0], node.attrs["size"])


def lower_diagonal_matrix(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """Zeros, then the diagonal."""
    (x,), (out,), offset = inputs, outputs, node.attrs["offset"]
    *lead, by_row, by_column = out.strides
    start = max(-offset, 0) * by_row + max(offset, 0) * by_column
    diagonal = replace(
        out, offset=out.offset + start, shape=x.shape, strides=(*lead, by_row + by_column)
    )
    return [*filled(out, 0), *copied(x, diagonal)]
