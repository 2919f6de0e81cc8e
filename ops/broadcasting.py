"""Broadcasting and its transpose, summation; and reshaping, which both need.

These come first: the derivatives of every elementwise op are built from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, Size, as_size, exact_quotient, is_known, product
from graphnn.core.dtypes import INT64, is_half, is_inexact
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes, shape_text
from graphnn.ops.axes import as_shape, listed, normalize_axes
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.operands import as_node, cast_to

__all__ = ["broadcast_to", "reshape", "sum", "unbroadcast"]


class BroadcastOp(LinearOp):
    """Repeat along new axes and axes of size one, as NumPy does."""

    name = "broadcast_to"
    autocast = "follow"
    is_view = True

    def infer(self, x: TensorSpec, *, shape: Shape) -> TensorSpec:
        if broadcast_shapes(self.name, x.shape, shape) != shape:
            raise ShapeError(
                f"broadcast_to: {shape_text(x.shape)} does not broadcast to {shape_text(shape)}"
            )
        return TensorSpec(shape, x.dtype)

    def evaluate(self, x: Array, *, shape: Shape) -> Array:
        assert is_known(shape)
        return np.broadcast_to(x, shape)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return unbroadcast(cotangent, node.inputs[0].shape)

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        (x,) = inputs
        return broadcast_to(behind_examples(x, node.ndim), (x.shape[0], *node.shape))


class ReshapeOp(LinearOp):
    """The same elements in row-major order under another shape."""

    name = "reshape"
    autocast = "follow"
    is_view = True

    def infer(self, x: TensorSpec, *, shape: Shape) -> TensorSpec:
        if product(shape) != x.size:
            raise ShapeError(
                f"reshape: {shape_text(x.shape)} has {x.size} elements, "
                f"{shape_text(shape)} has {product(shape)}"
            )
        return TensorSpec(shape, x.dtype)

    def evaluate(self, x: Array, *, shape: Shape) -> Array:
        return np.reshape(x, shape)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return make_node(self, (cotangent,), {"shape": node.inputs[0].shape})

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        (x,) = inputs
        return to_shape(x, (x.shape[0], *node.shape))


class SumOp(LinearOp):
    """Sum over axes, which disappear. Half floats accumulate in float32."""

    name = "sum"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
        return TensorSpec(kept, x.dtype)

    def evaluate(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        wide = np.float32 if is_half(x.dtype) else x.dtype
        return np.asarray(np.sum(x, axis=axes, dtype=wide)).astype(x.dtype, copy=False)

    def evaluate_into(self, out: Array, x: Array, *, axes: tuple[int, ...]) -> None:
        if is_half(x.dtype):
            out[...] = self.evaluate(x, axes=axes)
        else:
            np.sum(x, axis=axes, dtype=x.dtype, out=out)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return spread(cotangent, node.attrs["axes"], node.inputs[0].shape)

    def flops(self, node: Node) -> int:
        return int(node.inputs[0].size)


BROADCAST_TO, RESHAPE, SUM = BroadcastOp(), ReshapeOp(), SumOp()
for _op in (BROADCAST_TO, RESHAPE, SUM):
    register(_op)


def keep_axes(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape with the given axes reduced to size one."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def spread(reduced: Node, axes: Sequence[int], shape: Shape) -> Node:
    """A reduced value repeated over the axes that were reduced."""
    kept = to_shape(reduced, keep_axes(shape, axes))
    return kept if kept.shape == shape else make_node(BROADCAST_TO, (kept,), {"shape": shape})


def with_kept_axes(result: Node, shape: Shape, axes: Sequence[int], keepdims: bool) -> Node:
    """What a reduction of a shape gives, with axes of size one where it reduced if ``keepdims``."""
    return to_shape(result, keep_axes(shape, axes)) if keepdims else result


def reduced_by(op: Op, x: Node, axis: Any, keepdims: bool) -> Node:
    """A node by an operator that reduces the attribute ``axes``; itself over no axes."""
    axes = normalize_axes(op.name, axis, x.ndim)
    if not axes:
        return x
    return with_kept_axes(make_node(op, (x,), {"axes": axes}), x.shape, axes, keepdims)


def to_shape(x: Node, shape: Shape) -> Node:
    """Reshape without checking what the caller knows; the node itself if nothing changes."""
    return x if x.shape == shape else make_node(RESHAPE, (x,), {"shape": shape})


def behind_examples(x: Node, ndim: int) -> Node:
    """For every example ``ndim`` axes: axes of size one behind the leading axis of examples."""
    missing = ndim - (x.ndim - 1)
    return to_shape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))


def unbroadcast(x: Node, shape: Shape) -> Node:
    """Sum a broadcast value back to the shape it was broadcast from."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        axis + extra for axis, size in enumerate(shape) if size == 1 and x.shape[axis + extra] != 1
    )
    return to_shape(make_node(SUM, (x,), {"axes": axes}), shape)


@operation(
    reference=np.broadcast_to,
    samples=[
        Sample(Arg((3, 1)), (2, 3, 4)),
        Sample(Arg(), (2, 3)),
        Sample(Arg((1, 0)), (5, 0)),
        Sample(Arg((4,)), (4,)),
    ],
    rejects=[
        Reject(ShapeError, "broadcast", Arg((3, 2)), (3, 4)),
        Reject(ShapeError, "size -1 is negative", Arg((3,)), (-1, 3)),
    ],
    dtypes="bifc",
)
def broadcast_to(x: Any, shape: Any) -> Node:
    """Repeat an array along new leading axes and axes of size one.

    Parameters
    ----------
    x : array_like or Node
    shape : tuple of sizes

    Returns
    -------
    Node
        Of the given shape and the dtype of ``x``.

    Raises
    ------
    ShapeError
        If ``x`` does not broadcast to ``shape``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.broadcast_to(gn.input("x", shape=(3, 1)), (2, 3, 4)).shape
    (2, 3, 4)
    """
    x = as_node(x)
    sizes = as_shape("broadcast_to", shape)
    return x if x.shape == sizes else make_node(BROADCAST_TO, (x,), {"shape": sizes})


@operation(
    reference=np.reshape,
    samples=[
        Sample(Arg((2, 6)), (3, 4)),
        Sample(Arg((2, 6)), (-1, 2)),
        Sample(Arg((2, 6)), -1),
        Sample(Arg(), (1, 1)),
        Sample(Arg((0, 3)), (3, 0)),
    ],
    rejects=[
        Reject(ShapeError, "12 elements", Arg((3, 4)), (5, 2)),
        Reject(ShapeError, "more than one -1", Arg((3, 4)), (-1, -1)),
        Reject(ShapeError, "12 elements", Arg((3, 4)), (5, -1)),
    ],
    dtypes="bifc",
)
def reshape(x: Any, shape: Any) -> Node:
    """The same elements in row-major order under another shape.

    Parameters
    ----------
    x : array_like or Node
    shape : size or tuple of sizes
        One size may be -1: it is what remains, also of named dimensions.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If the number of elements differs.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 8, 8))
    >>> gn.reshape(x, (-1, 64)).shape
    (Dim(batch), 64)
    """
    x = as_node(x)
    sizes = [as_size(size) for size in listed(shape)]
    if sizes.count(-1) > 1:
        raise ShapeError(f"reshape: more than one -1 in {shape_text(tuple(sizes))}")
    if -1 in sizes:
        sizes[sizes.index(-1)] = _remaining(x, sizes)
    negative = [size for size in sizes if isinstance(size, int) and size < 0]
    if negative:
        raise ShapeError(f"reshape: size {negative[0]} is negative")
    return to_shape(x, tuple(sizes))


def _remaining(x: Node, sizes: list[Size]) -> Size:
    """What -1 stands for: equal sizes cancel, then the rest must divide evenly."""
    above, below = list(x.shape), []
    for size in sizes:
        if size == -1:
            continue
        if size in above:
            above.remove(size)
        else:
            below.append(size)
    wanted = product(below)
    rest = exact_quotient(product(above), wanted) if wanted != 0 else None
    if rest is None:
        rest_text = shape_text(tuple(sizes))
        raise ShapeError(
            f"reshape: {shape_text(x.shape)} has {x.size} elements, "
            f"which do not divide into {rest_text}"
        )
    return rest


@operation(
    reference=np.sum,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), 1),
        Sample(Arg((2, 3, 4)), (0, -1), keepdims=True),
        Sample(Arg()),
        Sample(Arg((0, 3)), 0),
        Sample(Arg((2, 0)), 0),
    ],
    rejects=[
        Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 2),
        Reject(ShapeError, "twice", Arg((3, 4)), (1, -1)),
    ],
    dtypes="bifc",
)
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Sum over axes; the empty sum is 0.

    Parameters
    ----------
    x : array_like or Node
        Booleans are counted in int64; float16 and bfloat16 accumulate in float32.
    axis : int or tuple of int, optional
        Default: all.
    keepdims : bool, default False
        Keep the summed axes with size one.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.sum(gn.input("x", shape=(3, 4)), axis=1)
    <Node sum (3,) float32>
    """
    terms = as_node(x)
    if not is_inexact(terms.dtype):
        terms = cast_to(terms, INT64)
    return reduced_by(SUM, terms, axis, keepdims)
