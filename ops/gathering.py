"""Gathering by integer arrays, and the op that is its transpose, adding at indices.

The ops ``gather`` and ``scatter_add`` index the leading axes; other axes are brought to the front
as views. Negative indices count from the end; what is out of range is an error, while the graph is
built where the index is known, else when the program runs. What users write at indices with is in
:mod:`graphnn.ops.scattering`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arrays import to_numpy
from graphnn.core.dims import Size
from graphnn.core.dtypes import (
    FLOAT32,
    INT32,
    INT64,
    DTypeLike,
    is_bool,
    is_half,
    is_integer,
    real_dtype,
)
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes, shape_text
from graphnn.ops.arithmetic import cast
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.constants import CONSTANT, constant, zeros_like
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import iota
from graphnn.ops.indices import (
    behind_axes,
    check_indices,
    flattened,
    mapped_indices,
    wrapped,
)
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.logic import equal
from graphnn.ops.movement import expand_dims, moved_to_front
from graphnn.ops.operands import as_node, cast_to

__all__ = ["gather", "one_hot", "take_along_axis"]


class GatherOp(LinearOp):
    """``x[indices]`` on the leading axes: every index picks a piece of ``x``."""

    name = "gather"
    autocast = "follow"
    may_raise = True
    linear_in = (0,)

    def infer(self, x: TensorSpec, *indices: TensorSpec) -> TensorSpec:
        shape = check_indices(self.name, x, indices)
        return TensorSpec((*shape, *x.shape[len(indices) :]), x.dtype)

    def evaluate(self, x: Array, *indices: Array) -> Array:
        return np.array(x[wrapped(self.name, x.shape, indices)], copy=not indices[0].ndim or None)

    def evaluate_into(self, out: Array, x: Array, *indices: Array) -> None:
        if len(indices) == 1:
            (index,) = wrapped(self.name, x.shape, indices)
            # They are in range: with "clip", NumPy writes straight into the result.
            np.take(x, index, axis=0, out=out, mode="clip")
        else:
            out[...] = self.evaluate(x, *indices)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        x, *indices = node.inputs
        return make_node(SCATTER_ADD, (zeros_like(x), cotangent, *indices))

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        x, *indices = inputs
        if not any(mapped[1:]):
            n_axes, n_index = len(indices), indices[0].ndim
            picked = make_node(self, (behind_axes(x, n_axes), *indices))
            return moved_to_front(picked, n_index)
        indices = mapped_indices(indices, mapped[1:], with_number=mapped[0])
        return make_node(self, (x, *indices))


class ScatterOp(Op):
    """``x`` with updates at indices of the leading axes brought in, in order, by a ufunc.

    Half floats are computed in float32.
    """

    may_raise = True
    ufunc: np.ufunc

    def infer(self, x: TensorSpec, updates: TensorSpec, *indices: TensorSpec) -> TensorSpec:
        shape = (*check_indices(self.name, x, indices), *x.shape[len(indices) :])
        if updates.shape != shape:
            raise ShapeError(
                f"{self.name}: updates have shape {shape_text(updates.shape)}, "
                f"the indices need {shape_text(shape)}"
            )
        if updates.dtype != x.dtype:
            raise DTypeError(f"{self.name}: {updates.dtype.name} into {x.dtype.name}")
        return x

    def evaluate(self, x: Array, updates: Array, *indices: Array) -> Array:
        total = np.array(x, FLOAT32 if is_half(x.dtype) else x.dtype, order="C")
        self._write_all(total, updates, indices)
        return total.astype(x.dtype, copy=False)

    def evaluate_into(self, out: Array, x: Array, updates: Array, *indices: Array) -> None:
        if is_half(x.dtype) or not out.flags.c_contiguous:
            out[...] = self.evaluate(x, updates, *indices)
        else:
            out[...] = x
            self._write_all(out, updates, indices)

    def _write_all(self, out: Array, updates: Array, indices: Sequence[Array]) -> None:
        """Hand contiguous ``out`` and the updates on as rows, one for every place and index."""
        sizes, others = out.shape[: len(indices)], out.shape[len(indices) :]
        place = flattened(sizes, wrapped(self.name, sizes, indices))
        width = math.prod(others)
        arriving = np.ascontiguousarray(updates, out.dtype).reshape(place.size, width)
        self.write(out.reshape(math.prod(sizes), width), place, arriving)

    def write(self, rows: Array, place: Array, updates: Array) -> None:
        """Bring rows of updates to their places among contiguous rows, one after the other."""
        width = rows.shape[1]
        # NumPy has a fast loop for a single 1-D index alone.
        element = place if width == 1 else (place[:, None] * width + np.arange(width)).ravel()
        self.ufunc.at(rows.reshape(-1), element, updates.reshape(-1))

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        size = next(x.shape[0] for x, is_mapped in zip(inputs, mapped, strict=True) if is_mapped)
        into, updates = (
            each if is_mapped else broadcast_to(each, (size, *each.shape))
            for each, is_mapped in zip(inputs[:2], mapped[:2], strict=True)
        )
        indices = inputs[2:]
        if any(mapped[2:]):
            indices = mapped_indices(indices, mapped[2:], with_number=True)
            return make_node(self, (into, updates, *indices))
        n_axes, n_index = len(indices), indices[0].ndim
        moved = make_node(
            self, (behind_axes(into, n_axes), behind_axes(updates, n_index), *indices)
        )
        return moved_to_front(moved, n_axes)


_SMALL = 2**14
"""Below this many elements, setting a sparse product up takes longer than adding one by one."""


class ScatterAddOp(ScatterOp, LinearOp):
    """``x`` with updates added at indices of the leading axes; repeated indices add up in order."""

    name = "scatter_add"
    ufunc = np.add
    linear_in = (0, 1)

    def write(self, rows: Array, place: Array, updates: Array) -> None:
        """As a product with a sparse matrix of ones, where that gives the same bits faster."""
        is_worth_it = rows.shape[1] > 1 and max(_SMALL, rows.size) <= 4 * updates.size
        real = real_dtype(rows.dtype)
        # The product begins at 0 and adds in order: it is right only where rows do so as well.
        if is_worth_it and not rows.view(real).view(f"u{real.itemsize}").any():
            from scipy.sparse import csc_array

            count = len(place)
            ones = (np.ones(count, real), place, np.arange(count + 1))
            # Of complex numbers the parts are added: 1 + 0j times inf would be NaN.
            rows.view(real)[...] = csc_array(ones, shape=(len(rows), count)) @ updates.view(real)
        else:
            super().write(rows, place, updates)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return cotangent if index == 0 else make_node(GATHER, (cotangent, *node.inputs[2:]))


GATHER, SCATTER_ADD = GatherOp(), ScatterAddOp()
register(GATHER)
register(SCATTER_ADD)


def index_node(what: str, index: Any, size: Size | None) -> Node:
    """An int32 or int64 node from what a user indexes an axis of ``size`` elements with.

    Raises
    ------
    DTypeError
        If it is not integer.
    ShapeError
        If the index is known and out of range.
    """
    node = index if isinstance(index, Node) else constant(_index_array(index))
    if is_bool(node.dtype):
        raise DTypeError(
            f"{what}: a bool mask gives a result of unknown size",
            hint="use gn.where(mask, x, 0), or index with integers",
        )
    if not is_integer(node.dtype):
        raise DTypeError(
            f"{what}: indices must be integers, not {node.dtype.name}",
            hint='cast them with gn.cast(index, "int64")',
        )
    if node.op is CONSTANT and isinstance(size, int):
        values = node.attrs["value"].array
        outside = values[(values < -size) | (values >= size)]
        if outside.size:
            raise ShapeError(
                f"{what}: index {outside[0]} is out of range for {size} elements",
                hint=f"indices run from {-size} to {size - 1}" if size else "there are none",
            )
    return node if node.dtype == INT32 else cast_to(node, INT64)


def _index_array(index: Any) -> Array:
    array = to_numpy(index)
    return array.astype(INT64) if array.size == 0 and not hasattr(index, "dtype") else array


@operation(
    reference=lambda x, *indices: x[indices],
    samples=[
        Sample(Arg((5, 3)), Arg((4,), low=-5, high=4, kind="int")),
        Sample(Arg((3, 4, 2)), Arg((2, 1), low=0, high=2, kind="int"), Arg((3,), 0, 3, kind="int")),
        Sample(Arg((3,)), Arg((), low=0, high=2, kind="int")),
        Sample(Arg((3, 2)), Arg((0,), low=0, high=2, kind="int")),
    ],
    rejects=[
        Reject(ShapeError, "no indices", Arg((3,))),
        Reject(ShapeError, "2 indices for 1 axes", Arg((3,)), [0], [0]),
        Reject(ShapeError, "index 3 is out of range for 3 elements", Arg((3,)), [3]),
        Reject(DTypeError, "indices must be integers", Arg((3,)), [0.5]),
    ],
    dtypes="bifc",
    corner="negative indices count from the end; out of range is an error",
)
def gather(x: Any, *indices: Any) -> Node:
    """``x[indices]``: elements of the leading axes, picked by integer arrays.

    Parameters
    ----------
    x : array_like or Node
    *indices : array_like or Node
        One integer array for each leading axis that is indexed; they broadcast together.

    Returns
    -------
    Node
        Of the indices' common shape, followed by the axes of ``x`` that are not indexed.

    Raises
    ------
    ShapeError
        If there are no indices or more than axes, or a known one is out of range.
    DTypeError
        If an index is not integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(5, 3))
    >>> gn.evaluate(gn.gather(x, [4, 0], [2, 2]), {x: [[i, i, 10 * i] for i in range(5)]})
    array([40.,  0.], dtype=float32)
    """
    node = as_node(x)
    if not indices:
        raise ShapeError("gather: no indices are given", hint="gn.gather(x, [0, 2])")
    if len(indices) > node.ndim:
        raise ShapeError(f"gather: {len(indices)} indices for {node.ndim} axes")
    chosen = [
        index_node("gather", index, size) for index, size in zip(indices, node.shape, strict=False)
    ]
    return make_node(GATHER, (node, *broadcast_indices("gather", chosen)))


def broadcast_indices(what: str, indices: Sequence[Node]) -> list[Node]:
    """Indices of one shape and dtype."""
    shape = broadcast_shapes(what, *(index.shape for index in indices))
    dtype = INT32 if all(index.dtype == INT32 for index in indices) else INT64
    return [broadcast_to(cast_to(index, dtype), shape) for index in indices]


@operation(
    reference=lambda x, indices, axis=-1: np.take_along_axis(x, indices, axis),
    samples=[
        Sample(Arg((3, 4)), Arg((3, 2), -4, 3, kind="int"), 1),
        Sample(Arg((3, 4)), Arg((5, 4), 0, 2, kind="int"), 0),
        Sample(Arg((2, 3, 4)), Arg((2, 1, 1), 0, 3, kind="int")),
        Sample(Arg((3, 1)), Arg((2, 4), 0, 2, kind="int"), 0),
        Sample(Arg((3, 4)), Arg((3, 0), 0, 3, kind="int")),
    ],
    rejects=[
        Reject(ShapeError, "2 axes, the indices 1", Arg((3, 4)), [0, 1]),
        Reject(ShapeError, "index 4 is out of range", Arg((2, 4)), [[0], [4]]),
        Reject(DTypeError, "must be integers", Arg((2, 4)), [[0.0], [1.0]]),
        Reject(ShapeError, "do not broadcast", Arg((3, 4)), [[0], [1]]),
    ],
    dtypes="bifc",
    corner="derivatives at an index that is given twice add up",
)
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Node:
    """Elements at an index of their own for every row: ``x[i, indices[i, j]]`` for two axes.

    Parameters
    ----------
    x : array_like or Node
    indices : array_like or Node
        Integers, with as many axes as ``x``; the axes other than ``axis`` broadcast.
    axis : int, default -1

    Returns
    -------
    Node

    Examples
    --------
    The score that every row gives to its label:

    >>> import graphnn as gn
    >>> scores = gn.input("scores", shape=("batch", 10))
    >>> labels = gn.input("labels", shape=("batch",), dtype="int64")
    >>> gn.take_along_axis(scores, labels[:, None], axis=-1).shape
    (Dim(batch), 1)
    """
    x = as_node(x)
    return gather(x, *along_axis("take_along_axis", x, indices, axis))


def along_axis(what: str, x: Node, indices: Any, axis: int) -> tuple[Node, ...]:
    """Indices of all axes from those of one axis, of its own for every row."""
    axis = normalize_axis(what, axis, x.ndim)
    chosen = index_node(what, indices, x.shape[axis])
    if chosen.ndim != x.ndim:
        raise ShapeError(f"{what}: the array has {x.ndim} axes, the indices {chosen.ndim}")
    every: list[Node] = []
    for each, size in enumerate(x.shape):
        shape = [1] * each + [size] + [1] * (x.ndim - each - 1)
        every.append(chosen if each == axis else iota(shape, each, chosen.dtype))
    return tuple(every)


def _one_hot(indices: Any, depth: int, dtype: Any = "float32", axis: int = -1) -> Any:
    hot = np.asarray(indices)[..., None] == np.arange(depth)
    return np.moveaxis(hot, -1, axis).astype(dtype)


@operation(
    reference=_one_hot,
    samples=[
        Sample(Arg((5,), 0, 3, kind="int"), 4),
        Sample(Arg((2, 3), -1, 4, kind="int"), 4, "float64", 0),
        Sample(Arg((), 0, 3, kind="int"), 4),
        Sample(Arg((0,), 0, 3, kind="int"), 4, "bool"),
    ],
    rejects=[
        Reject(DTypeError, "must be integers", [0.5], 3),
        Reject(ShapeError, "size -1 is negative", [0], -1),
    ],
    differentiable=False,
    corner="an index out of range, also a negative one, gives a row of zeros",
)
def one_hot(indices: Any, depth: Any, dtype: DTypeLike = FLOAT32, axis: int = -1) -> Node:
    """Rows with 1 at an index and 0 elsewhere.

    Parameters
    ----------
    indices : array_like or Node
        Integers, usually class labels.
    depth : size
        Number of classes: the size of the new axis.
    dtype : optional
        Default float32.
    axis : int, default -1
        Where the new axis stands in the result.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.one_hot(gn.input("labels", shape=("batch",), dtype="int64"), 10).shape
    (Dim(batch), 10)
    """
    labels = index_node("one_hot", indices, None)
    new = normalize_axis("one_hot", axis, labels.ndim + 1)
    shape = [depth if each == new else 1 for each in range(labels.ndim + 1)]
    return cast(equal(expand_dims(labels, new), iota(shape, new, labels.dtype)), dtype)
