"""Lowerings of scatters: values at computed places."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.native.moves.indexing import counted_axis, range_check
from graphnn.compiler.native.moves.piece import (
    STATUS,
    Piece,
    Sketch,
    copied,
    filled,
    is_dense,
)
from graphnn.compiler.native.scattering import Scatter
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = ["lower_place", "lower_scatter"]

Views = tuple[View, ...]

_OPS = {
    "scatter_add": ("sum", "add"),
    "scatter_multiply": ("prod", "multiply"),
    "scatter_max": ("max", "maximum"),
    "scatter_min": ("min", "minimum"),
    "scatter_set": ("set", ""),
}


def lower_scatter(node: Node, inputs: Views, outputs: Views) -> list[Piece] | None:
    """The array, and then updates on it; or one kernel, where every line gets one update."""
    (x, updates, *indices), (out,) = inputs, outputs
    checks = [
        piece
        for axis, index in enumerate(indices)
        for piece in range_check(index, -x.shape[axis], x.shape[axis])
    ]
    if 0 in out.shape or 0 in indices[0].shape:
        return [*checks, *copied(x, out)]
    counted = [_counts(each, x.shape[axis]) for axis, each in enumerate(node.inputs[2:])]
    if _is_one_a_line(counted, x.shape, indices[0].shape):
        return _one_a_line(_OPS[node.op.name][1], x, updates, indices, counted, out)
    if not is_dense(out):
        return None
    return [*copied(x, out), _scatter(_OPS[node.op.name][0], updates, indices, counted, out)]


def _counts(index: Node, size: int) -> int | None:
    """The axis along which an index counts, if that stays within the array's axis."""
    axis = counted_axis(index)
    return axis if axis is not None and int(index.shape[axis]) <= size else None


def _scatter(
    op: str, updates: View, indices: Sequence[View], counted: Sequence[int | None], out: View
) -> Piece:
    n_index, shape = len(indices), indices[0].shape
    pairs = list(zip(indices, counted, strict=True))
    kernel = Scatter(
        op,
        out.dtype.name,
        out.shape[:n_index],
        shape,
        out.shape[n_index:],
        updates.strides,
        tuple((each.dtype.name, each.strides) if axis is None else axis for each, axis in pairs),
    )
    in_memory = [each for each, axis in pairs if axis is None]
    return Piece(kernel, (updates, *in_memory, out, STATUS))


def _is_one_a_line(
    counted: Sequence[int | None], into: Sequence[int], shape: Sequence[int]
) -> bool:
    """Whether indices count along all of their axes, each along an axis of its own of the array.

    Then only one update can come to a place: the gradient of taking one element of each row.
    """
    known = [(axis, along) for axis, along in enumerate(counted) if along is not None]
    alongs = [along for _, along in known]
    return (
        len(set(alongs)) == len(alongs)
        and all(size == 1 or axis in alongs for axis, size in enumerate(shape))
        and all(into[axis] == shape[along] for axis, along in known)
    )


def _one_a_line(
    op: str,
    x: View,
    updates: View,
    indices: Sequence[View],
    counted: Sequence[int | None],
    out: View,
) -> list[Piece]:
    """Every element asks whether it is the one in its line that is named."""
    pieces: list[Piece] = []
    sketch, dtype = Sketch(out.shape), out.dtype.name
    n_index, n_shape = len(indices), len(indices[0].shape)

    def moves(view: View, behind: Sequence[int]) -> tuple[int, ...]:
        steps = (0 if along is None else view.strides[along] for along in counted)
        return (*steps, *behind)

    conditions = []
    for axis, (index, along) in enumerate(zip(indices, counted, strict=True)):
        if along is not None:
            continue
        size = out.shape[axis]
        pieces += range_check(index, -size, size)
        place = sketch.load(index, moves(index, (0,) * (len(out.shape) - n_index)))
        place = sketch.cast(place, index.dtype.name, "int64")
        from_end = sketch.apply("add", "int64", place, sketch.integer(size))
        negative = sketch.apply("less", "bool", place, sketch.integer(0))
        place = sketch.apply("where", "int64", negative, from_end, place)
        conditions.append(sketch.apply("equal", "bool", sketch.index(axis), place))
    there = sketch.load(x)
    result = sketch.load(updates, moves(updates, updates.strides[n_shape:]))
    if op:
        result = sketch.apply(op, dtype, there, result)
    if conditions:
        result = sketch.apply("where", dtype, sketch.both(*conditions), result, there)
    sketch.store(out, result)
    return [*pieces, sketch.piece()]


def lower_place(node: Node, inputs: Views, outputs: Views) -> list[Piece] | None:
    """Zeros, and values at indices along an axis."""
    (values, order), (out,), axis = inputs, outputs, node.attrs["axis"]
    if 0 in values.shape or not is_dense(out):
        return filled(out, 0) if 0 in values.shape else None
    indices = [order] * len(out.shape)
    counted = [None if each == axis else each for each in range(len(out.shape))]
    return [*filled(out, 0), _scatter("set", values, indices, counted, out)]
