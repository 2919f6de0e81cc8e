"""Reductions over axes: products, extremes and where they lie, logic.

Sums are in :mod:`graphnn.ops.broadcasting`, means in :mod:`graphnn.ops.statistics`, norms and
the softmax family in :mod:`graphnn.ops.softmaxes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import (
    FLOAT32,
    INT64,
    is_bool,
    is_half,
    is_inexact,
)
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import divide, multiply
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import keep_axes, reduced_by, spread, sum, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.cumulative import cumprod, shifted
from graphnn.ops.logic import equal, not_equal
from graphnn.ops.movement import inverse_permutation, permute, ravel
from graphnn.ops.operands import as_node, cast_to, operands, widened
from graphnn.ops.weighted import WeightedReduction, gated

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "max",
    "min",
    "prod",
]


# ------------------------------------------------------------------------------------- the ops


class ReduceOp(Op):
    """A ufunc over axes, which disappear; half floats are computed in float32."""

    axis_attrs = ("axes",)

    def __init__(self, name: str, ufunc: np.ufunc, *, has_identity: bool = True) -> None:
        self.name = name
        self.ufunc = ufunc
        self.has_identity = has_identity

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        for axis in axes:
            if x.shape[axis] == 0 and not self.has_identity:
                raise _of_empty(self.name, x, axis)
        kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
        return TensorSpec(kept, x.dtype)

    def evaluate(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        wide = x.astype(FLOAT32) if is_half(x.dtype) else x
        reduced = self.ufunc.reduce(wide, axis=axes)
        return np.asarray(reduced).astype(x.dtype, copy=False)

    def evaluate_into(self, out: Array, x: Array, *, axes: tuple[int, ...]) -> None:
        if is_half(x.dtype):
            out[...] = self.evaluate(x, axes=axes)
            return
        self.ufunc.reduce(x, axis=axes, out=out)

    def flops(self, node: Node) -> int:
        return int(node.inputs[0].size)


def _of_empty(name: str, x: TensorSpec, axis: int) -> ShapeError:
    return ShapeError(
        f"{name} of empty: axis {axis} of {shape_text(x.shape)} has size 0, "
        f"and {name} has no identity",
        hint="concatenate a value that it should be then",
    )


class ExtremumOp(WeightedReduction, ReduceOp):
    """The largest or smallest element; elements that tie share the derivative equally."""

    autocast = "follow"

    def weights(self, node: Node) -> Node:
        """1 at the extremum, divided among ties, else 0; NaN wherever the extremum is NaN."""
        (x,), axes = node.inputs, node.attrs["axes"]
        wins = cast_to(equal(x, spread(node, axes, x.shape)), widened(x).dtype)
        return divide(wins, sum(wins, axes, keepdims=True))

    def weigh(self, weights: Node, value: Node) -> Node:
        """0 where the weight is, also where the value is inf or NaN."""
        return gated(weights, value)


class ProdOp(WeightedReduction, ReduceOp):
    """The product; its derivative uses no division, so that elements may be 0."""

    def weights(self, node: Node) -> Node:
        """For every element of the input, the product of all others."""
        (x,), axes = node.inputs, node.attrs["axes"]
        x = widened(x)
        order = [axis for axis in range(x.ndim) if axis not in axes] + list(axes)
        moved = permute(x, order)
        lane = x.ndim - len(axes)
        flat = to_shape(moved, (*moved.shape[:lane], product(moved.shape[lane:])))
        before = shifted(cumprod(flat, lane), 1, lane, fill=1)
        after = shifted(cumprod(flat, lane, reverse=True), -1, lane, fill=1)
        others = to_shape(multiply(before, after), moved.shape)
        return permute(others, inverse_permutation(order))


class ArgExtremumOp(Op):
    """Where along an axis the extremum lies: the first of equals, or the first NaN."""

    axis_attrs = ("axis",)

    def __init__(self, name: str, function: Any) -> None:
        self.name = name
        self.function = function

    def infer(self, x: TensorSpec, *, axis: int) -> TensorSpec:
        if x.shape[axis] == 0:
            raise _of_empty(self.name, x, axis)
        return TensorSpec((*x.shape[:axis], *x.shape[axis + 1 :]), INT64)

    def evaluate(self, x: Array, *, axis: int) -> Array:
        wide = x.astype(FLOAT32) if is_half(x.dtype) else x
        return np.asarray(self.function(wide, axis)).astype(INT64, copy=False)

    def flops(self, node: Node) -> int:
        return int(node.inputs[0].size)


MAX = ExtremumOp("max", np.maximum, has_identity=False)
MIN = ExtremumOp("min", np.minimum, has_identity=False)
PROD = ProdOp("prod", np.multiply)
ANY, ALL = ReduceOp("any", np.logical_or), ReduceOp("all", np.logical_and)
ARGMAX, ARGMIN = ArgExtremumOp("argmax", np.argmax), ArgExtremumOp("argmin", np.argmin)
for _op in (MAX, MIN, PROD, ANY, ALL, ARGMAX, ARGMIN):
    register(_op)


# ------------------------------------------------------------------------------- what users call


def _ordered(what: str, x: Any) -> Node:
    """The node, if its elements have an order: complex numbers have none."""
    (node,) = operands(what, (x,), "bif")
    return node


def reduction_samples(*, distinct: bool = False, empty: bool = True) -> list[Sample]:
    """What every reduction is tested with; ``empty``: whether it can reduce no elements."""
    samples = [
        Sample(Arg((3, 4), distinct=distinct)),
        Sample(Arg((3, 4), distinct=distinct), 1),
        Sample(Arg((2, 3, 4), distinct=distinct), (0, -1), keepdims=True),
        Sample(Arg((2, 3, 2), distinct=distinct), -2),
        Sample(Arg()),
        Sample(Arg((2, 0)), 0),
    ]
    return [*samples, Sample(Arg((0, 3)), 0)] if empty else samples


REDUCTION_REJECTS = (
    Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 2),
    Reject(ShapeError, "twice", Arg((3, 4)), (1, -1)),
)


@operation(
    reference=np.prod,
    samples=[
        *reduction_samples(),
        Sample(Arg((4,), values=(2.0, 0.0, -1.5, 3.0))),
        Sample(Arg((2, 3), values=(2.0, 0.0, -1.5, 0.0, 3.0, 0.5)), 0),
        Sample(Arg((4,), values=(2.0, 0.0, 0.0, 3.0))),
    ],
    rejects=REDUCTION_REJECTS,
    dtypes="bifc",
    corner="the derivative is right also where elements are 0, to any order",
)
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Product over axes; the empty product is 1.

    Parameters
    ----------
    x : array_like or Node
        Booleans and integers are multiplied in int64, half floats in float32.
    axis : int or tuple of int, optional
        Default: all.
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.prod(gn.input("x", shape=(3, 4)), axis=1)
    <Node prod (3,) float32>
    """
    x = as_node(x)
    return reduced_by(PROD, x if is_inexact(x.dtype) else cast_to(x, INT64), axis, keepdims)


_EXTREMUM_CORNER = "elements that tie share the derivative equally; NaN wins"


@operation(
    reference=np.max,
    samples=reduction_samples(distinct=True, empty=False),
    rejects=[*REDUCTION_REJECTS, Reject(ShapeError, "max of empty", Arg((0, 3)), 0)],
    dtypes="bif",
    corner=_EXTREMUM_CORNER,
)
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The largest element over axes; NaN if there is one.

    Parameters
    ----------
    x : array_like or Node
    axis : int or tuple of int, optional
        Default: all.
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If a reduced axis has size 0: there is no largest of no elements.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.max(gn.input("x", shape=(3, 4)), axis=1)
    <Node max (3,) float32>
    """
    return reduced_by(MAX, _ordered("max", x), axis, keepdims)


@operation(
    reference=np.min,
    samples=reduction_samples(distinct=True, empty=False),
    rejects=[*REDUCTION_REJECTS, Reject(ShapeError, "min of empty", Arg((0, 3)), 0)],
    dtypes="bif",
    corner=_EXTREMUM_CORNER,
)
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The smallest element over axes, like :func:`max`."""
    return reduced_by(MIN, _ordered("min", x), axis, keepdims)


def _where_extreme(op: Op, x: Any, axis: Any, keepdims: bool) -> Node:
    x = _ordered(op.name, x)
    flat, along = (ravel(x), 0) if axis is None else (x, normalize_axis(op.name, axis, x.ndim))
    position = make_node(op, (flat,), {"axis": along})
    if not keepdims:
        return position
    return to_shape(position, keep_axes(x.shape, range(x.ndim) if axis is None else (along,)))


_ARG_SAMPLES = [
    Sample(Arg((3, 4), distinct=True)),
    Sample(Arg((3, 4), distinct=True), 1),
    Sample(Arg((2, 3, 4), distinct=True), -2, keepdims=True),
    Sample(Arg((2, 3), distinct=True), keepdims=True),
    Sample(Arg((4,), values=(1.0, 3.0, 3.0, 2.0))),
    Sample(Arg()),
    Sample(Arg((2, 0)), 0),
]


@operation(
    reference=np.argmax,
    samples=[*_ARG_SAMPLES, Sample(Arg((4,), values=(1.0, np.nan, 3.0, np.nan)))],
    rejects=[
        Reject(ShapeError, "argmax of empty", Arg((0, 3)), 0),
        Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 2),
    ],
    dtypes="bif",
    differentiable=False,
    corner="the first of equals; the first NaN if there is one",
)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Position of the largest element along an axis.

    Parameters
    ----------
    x : array_like or Node
    axis : int, optional
        Default: of all elements in row-major order.
    keepdims : bool, default False
        Keep the reduced axis with size one.

    Returns
    -------
    Node
        Of dtype int64.

    Raises
    ------
    ShapeError
        If there are no elements along the axis.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.argmax(gn.input("logits", shape=("batch", 10)), axis=-1)
    <Node argmax (batch,) int64>
    """
    return _where_extreme(ARGMAX, x, axis, keepdims)


@operation(
    reference=np.argmin,
    samples=_ARG_SAMPLES,
    rejects=[Reject(ShapeError, "argmin of empty", Arg((0, 3)), 0)],
    dtypes="bif",
    differentiable=False,
    corner="the first of equals; the first NaN if there is one",
)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Position of the smallest element along an axis, like :func:`argmax`."""
    return _where_extreme(ARGMIN, x, axis, keepdims)


def _truth(x: Any) -> Node:
    x = as_node(x)
    return x if is_bool(x.dtype) else not_equal(x, 0)


_TRUTH_SAMPLES = [
    Sample(Arg((3, 4), kind="bool")),
    Sample(Arg((3, 4), kind="bool"), 1),
    Sample(Arg((2, 3, 4), kind="bool"), (0, -1), keepdims=True),
    Sample(Arg((3,), values=(0.0, np.nan, 0.0))),
    Sample(Arg()),
    Sample(Arg((0, 3)), 0),
]


@operation(
    reference=np.any,
    samples=_TRUTH_SAMPLES,
    rejects=REDUCTION_REJECTS,
    dtypes="bifc",
    differentiable=False,
)
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Whether an element over axes is true, that is, not 0; False for none."""
    return reduced_by(ANY, _truth(x), axis, keepdims)


@operation(
    reference=np.all,
    samples=_TRUTH_SAMPLES,
    rejects=REDUCTION_REJECTS,
    dtypes="bifc",
    differentiable=False,
)
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Whether all elements over axes are true, that is, not 0; True for none."""
    return reduced_by(ALL, _truth(x), axis, keepdims)


@operation(
    reference=np.count_nonzero,
    samples=[*_TRUTH_SAMPLES[:2], Sample(Arg((4,), values=(0.0, 2.0, np.nan, -0.0)))],
    rejects=REDUCTION_REJECTS,
    dtypes="bifc",
    differentiable=False,
)
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """How many elements over axes are not 0, in int64."""
    return sum(_truth(x), axis, keepdims)
