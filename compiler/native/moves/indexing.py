"""Lowerings of gathers: elements at computed places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphnn.compiler.native.moves.piece import STATUS, Piece, Sketch, copied
from graphnn.compiler.native.range_check import RangeCheck
from graphnn.compiler.unit import View
from graphnn.core.node import Node
from graphnn.ops.broadcasting import BROADCAST_TO
from graphnn.ops.constants import CONSTANT
from graphnn.ops.creation import IOTA

__all__ = ["counted_axis", "lower_gather", "lower_pick", "lower_require_range", "range_check"]

Views = tuple[View, ...]


def range_check(x: View, low: int, high: int) -> list[Piece]:
    """A check that integers lie in ``low <= x < high``."""
    if 0 in x.shape:
        return []
    return [Piece(RangeCheck(x.dtype.name, x.shape, x.strides, low, high), (x, STATUS))]


def lower_require_range(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """A check, and the values as they are."""
    (x,), (out,) = inputs, outputs
    return [*range_check(x, node.attrs["low"], node.attrs["high"]), *copied(x, out)]


def lower_gather(node: Node, inputs: Views, outputs: Views) -> list[Piece] | None:
    """A check of each index, then every element from its computed address.

    The address is brought into the array in any case, so that a bad index reads nothing else.
    """
    (x, *indices), (out,) = inputs, outputs
    if 0 in out.shape:
        return _checks(x, indices)
    if 0 in x.shape:
        return None
    sketch, n_index = Sketch(out.shape), indices[0].shape
    along = [0] * len(n_index)
    terms, pieces = [], []
    for axis, (index, source) in enumerate(zip(indices, node.inputs[1:], strict=True)):
        counted = counted_axis(source)
        if counted is not None and index.shape[counted] <= x.shape[axis]:
            along[counted] += x.strides[axis]
            continue
        pieces += range_check(index, -x.shape[axis], x.shape[axis])
        terms.append((_place(sketch, index, x.shape[axis]), x.strides[axis]))
    strides = (*along, *x.strides[len(indices) :])
    found = sketch.pick(x, strides, terms) if terms else sketch.load(x, strides)
    sketch.store(out, found)
    return [*pieces, sketch.piece()]


def _checks(x: View, indices: Sequence[View]) -> list[Piece]:
    return [
        piece
        for axis, index in enumerate(indices)
        for piece in range_check(index, -x.shape[axis], x.shape[axis])
    ]


def _place(sketch: Sketch, index: View, size: int) -> int:
    """An index counted from the start, inside of the axis."""
    given = sketch.cast(sketch.load(index), index.dtype.name, "int64")
    from_end = sketch.apply("add", "int64", given, sketch.integer(size))
    negative = sketch.apply("less", "bool", given, sketch.integer(0))
    return sketch.clamped(sketch.apply("where", "int64", negative, from_end, given), 0, size - 1)


def lower_pick(node: Node, inputs: Views, outputs: Views) -> list[Piece] | None:
    """A gather along one axis; the indices come from an order and need no check."""
    (x, order), (out,), axis = inputs, outputs, node.attrs["axis"]
    if 0 in out.shape:
        return []
    sketch, size = Sketch(out.shape), x.shape[axis]
    place = sketch.clamped(sketch.load(order), 0, size - 1)
    strides = (*x.strides[:axis], 0, *x.strides[axis + 1 :])
    sketch.store(out, sketch.pick(x, strides, [(place, x.strides[axis])]))
    return [sketch.piece()]


def counted_axis(node: Node) -> int | None:
    """The axis along which a node counts 0, 1, ...; None if it holds anything else.

    An index of its own for every row comes with such numbers for the other axes: they are known,
    and need neither memory nor checks.
    """
    added = 0
    while node.op is BROADCAST_TO:
        (source,) = node.inputs
        added += node.ndim - source.ndim
        node = source
    if node.op is IOTA:
        axis: int = node.attrs["axis"]
        return added + axis if int(node.shape[axis]) > 1 else None
    if node.op is not CONSTANT:
        return None
    numbers = np.asarray(node.attrs["value"].array)
    size = max(numbers.shape, default=0)
    if size < 2 or numbers.size != size or not np.array_equal(numbers.ravel(), range(size)):
        return None
    return added + numbers.shape.index(size)
