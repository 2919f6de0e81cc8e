"""Running sums, running products and the recurrence that both are, along one axis.

``linear_recurrence`` is closed under differentiation: its tangent and its cotangent are linear
recurrences again. The derivatives of products rest on it, and so are right with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dtypes import FLOAT32, INT64, is_half, is_inexact
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes
from graphnn.ops.arithmetic import multiply
from graphnn.ops.axes import normalize_axis, whole_number
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.constants import fill_value
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.joining import pad_with, slice_axis
from graphnn.ops.linear_tier import LinearOp, sum_tangents
from graphnn.ops.movement import ravel
from graphnn.ops.operands import as_node, cast_to, operands

__all__ = ["cumprod", "cumsum", "linear_recurrence", "shift"]


class ShiftOp(Op):
    """Elements moved along an axis; those that leave are lost, ``fill`` takes their places."""

    name = "shift"
    autocast = "follow"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, by: int, axis: int, fill: complex) -> TensorSpec:
        return x

    def expand(self, x: Node, *, by: int, axis: int, fill: complex) -> Node:
        size = x.shape[axis]
        gap = min(abs(by), size) if isinstance(size, int) else abs(by)
        kept = slice_axis(x, axis, gap if by < 0 else 0, size - gap)
        at_axis = [gap if each == axis else 0 for each in range(x.ndim)]
        elsewhere = [0] * x.ndim
        low, high = (at_axis, elsewhere) if by > 0 else (elsewhere, at_axis)
        return pad_with(kept, low, high, value=fill)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        by, axis = node.attrs["by"], node.attrs["axis"]
        return None if tangent is None else shifted(tangent, by, axis)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        return [shifted(cotangent, -node.attrs["by"], node.attrs["axis"])]


class CumsumOp(LinearOp):
    """Running sum; half floats accumulate in float32."""

    name = "cumsum"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, axis: int, reverse: bool) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, axis: int, reverse: bool) -> Array:
        return _accumulate(np.add, x, axis, reverse)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        attrs = {"axis": node.attrs["axis"], "reverse": not node.attrs["reverse"]}
        return make_node(self, (cotangent,), attrs)

    def flops(self, node: Node) -> int:
        return int(node.size)


class CumprodOp(Op):
    """Running product: ``y[t] = x[t] * y[t-1]``, so its tangent is a linear recurrence."""

    name = "cumprod"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, axis: int, reverse: bool) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, axis: int, reverse: bool) -> Array:
        return _accumulate(np.multiply, x, axis, reverse)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (x,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return None
        arriving = multiply(tangent, _previous(node, fill=1))
        return make_node(LINEAR_RECURRENCE, (x, arriving), node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        (x,) = node.inputs
        return [multiply(_adjoint(node, x, cotangent), _previous(node, fill=1))]

    def flops(self, node: Node) -> int:
        return int(node.size)


class LinearRecurrenceOp(Op):
    """``s[t] = a[t] * s[t-1] + b[t]``, from ``s = 0``; half floats are computed in float32."""

    name = "linear_recurrence"
    axis_attrs = ("axis",)

    def infer(self, a: TensorSpec, b: TensorSpec, *, axis: int, reverse: bool) -> TensorSpec:
        if a != b:
            raise ShapeError(f"linear_recurrence: {a} and {b} differ")
        return a

    def evaluate(self, a: Array, b: Array, *, axis: int, reverse: bool) -> Array:
        out = np.empty(a.shape, a.dtype)
        self.evaluate_into(out, a, b, axis=axis, reverse=reverse)
        return out

    def evaluate_into(self, out: Array, a: Array, b: Array, *, axis: int, reverse: bool) -> None:
        if is_half(out.dtype):
            out[...] = self.evaluate(
                a.astype(FLOAT32), b.astype(FLOAT32), axis=axis, reverse=reverse
            )
            return
        s, factor, term = (np.moveaxis(each, axis, 0) for each in (out, a, b))
        if reverse:
            s, factor, term = s[::-1], factor[::-1], term[::-1]
        s[:1] = term[:1]
        for t in range(1, len(s)):
            np.multiply(factor[t, ...], s[t - 1, ...], out=s[t, ...])
            s[t, ...] += term[t, ...]

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (a, _), (tangent_a, tangent_b) = node.inputs, tangents
        by_a = None if tangent_a is None else multiply(tangent_a, _previous(node))
        arriving = sum_tangents([by_a, tangent_b])
        return None if arriving is None else make_node(self, (a, arriving), node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        adjoint = _adjoint(node, node.inputs[0], cotangent)
        return [multiply(adjoint, _previous(node)), adjoint]

    def flops(self, node: Node) -> int:
        return 2 * int(node.size)


SHIFT, CUMSUM, CUMPROD = ShiftOp(), CumsumOp(), CumprodOp()
LINEAR_RECURRENCE = LinearRecurrenceOp()
for _op in (SHIFT, CUMSUM, CUMPROD, LINEAR_RECURRENCE):
    register(_op)


def _accumulate(function: np.ufunc, x: Array, axis: int, reverse: bool) -> Array:
    wide = FLOAT32 if is_half(x.dtype) else x.dtype
    ordered = np.flip(x, axis) if reverse else x
    running = function.accumulate(ordered, axis=axis, dtype=wide).astype(x.dtype, copy=False)
    return np.flip(running, axis) if reverse else running


def shifted(x: Node, by: int, axis: int, fill: complex = 0) -> Node:
    """:func:`shift` without checks; the node itself if nothing moves."""
    return make_node(SHIFT, (x,), {"by": by, "axis": axis, "fill": fill}) if by else x


def _previous(node: Node, fill: complex = 0) -> Node:
    """For every element of a running result, the one computed before it."""
    return shifted(node, -1 if node.attrs["reverse"] else 1, node.attrs["axis"], fill)


def _adjoint(node: Node, factor: Node, cotangent: Node) -> Node:
    """The cotangents summed back through the steps: the same recurrence, run the other way."""
    axis, reverse = node.attrs["axis"], node.attrs["reverse"]
    following = shifted(factor, 1 if reverse else -1, axis)
    attrs = {"axis": axis, "reverse": not reverse}
    return make_node(LINEAR_RECURRENCE, (following, cotangent), attrs)


def _shift(x: Any, by: int, axis: int = 0, fill: complex = 0) -> Array:
    result: Array = np.roll(x, by, axis)
    steps = np.moveaxis(result, axis, 0)
    if by > 0:
        steps[:by] = fill
    elif by < 0:
        steps[by:] = fill
    return result


@operation(
    reference=_shift,
    samples=[
        Sample(Arg((4,)), 1),
        Sample(Arg((3, 4)), -2, axis=-1, fill=1.0),
        Sample(Arg((2, 3)), 5),
        Sample(Arg((2, 3)), 0, axis=1),
        Sample(Arg((0, 3)), 1),
    ],
    rejects=[
        Reject(ShapeError, "axis 1 is out of range", Arg((3,)), 1, axis=1),
        Reject(ShapeError, "places must be an integer", Arg((3,)), 0.5),
        Reject(DTypeError, "1.5 is no int64", Arg((3,), kind="int"), 1, fill=1.5),
    ],
    dtypes="bifc",
)
def shift(x: Any, by: int, axis: int = 0, fill: complex = 0) -> Node:
    """Elements moved along an axis, for instance to see the time step before.

    Parameters
    ----------
    x : array_like or Node
    by : int
        Element ``t`` comes to ``t + by``; what leaves the array is lost.
    axis : int, default 0
    fill : number, default 0
        Takes the places that become free.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("time", 8))
    >>> change = x - gn.shift(x, 1)
    """
    x = as_node(x)
    fill_value("shift", fill, x.dtype)  # refuse now what pad_with would round
    places = whole_number("shift", "the number of places", by)
    return shifted(x, places, normalize_axis("shift", axis, x.ndim), fill)


def _running(op: Op, x: Any, axis: int | None, reverse: bool) -> Node:
    """A running sum or product; integers are accumulated in int64."""
    x = as_node(x)
    if not is_inexact(x.dtype):
        x = cast_to(x, INT64)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis(op.name, axis, x.ndim)
    return make_node(op, (x,), {"axis": axis, "reverse": bool(reverse)})


def _along(function: Any) -> Any:
    """NumPy's running function with ``reverse``."""

    def reference(x: Any, axis: int | None = None, reverse: bool = False) -> Any:
        x = np.asarray(x)
        if not np.issubdtype(x.dtype, np.inexact):
            x = x.astype(np.int64)
        if axis is None:
            x, axis = x.ravel(), 0
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    return reference


_RUNNING_SAMPLES = [
    Sample(Arg((4,))),
    Sample(Arg((3, 4)), axis=0),
    Sample(Arg((2, 3, 2)), axis=-2, reverse=True),
    Sample(Arg((2, 3))),
    Sample(Arg()),
    Sample(Arg((0, 3)), axis=0),
    Sample(Arg((2, 0)), axis=0, reverse=True),
]


@operation(
    reference=_along(np.cumsum),
    samples=_RUNNING_SAMPLES,
    rejects=[Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), axis=2)],
    dtypes="bifc",
)
def cumsum(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """Running sum along an axis.

    Parameters
    ----------
    x : array_like or Node
        Booleans and integers are summed in int64; half floats in float32.
    axis : int, optional
        Default: over all elements in row-major order, and the result is 1-D.
    reverse : bool, default False
        Sum from the end: element ``t`` is the sum of ``x[t:]``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.cumsum(gn.input("x", shape=(3, 4)), axis=1)
    <Node cumsum (3, 4) float32>
    """
    return _running(CUMSUM, x, axis, reverse)


@operation(
    reference=_along(np.cumprod),
    samples=[
        *_RUNNING_SAMPLES,
        Sample(Arg((5,), values=(2.0, 0.0, -1.5, 0.5, 3.0))),
        Sample(Arg((5,), values=(2.0, 0.0, -1.5, 0.0, 3.0)), reverse=True),
    ],
    rejects=[Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), axis=2)],
    dtypes="bifc",
    corner="the derivative is right also where elements are 0, to any order",
)
def cumprod(x: Any, axis: int | None = None, reverse: bool = False) -> Node:
    """Running product along an axis.

    Parameters
    ----------
    x : array_like or Node
        Booleans and integers are multiplied in int64; half floats in float32.
    axis : int, optional
        Default: over all elements in row-major order, and the result is 1-D.
    reverse : bool, default False
        Multiply from the end: element ``t`` is the product of ``x[t:]``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.cumprod(gn.input("x", shape=(3, 4)), axis=1)
    <Node cumprod (3, 4) float32>
    """
    return _running(CUMPROD, x, axis, reverse)


def _recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Array:
    a, b = np.broadcast_arrays(a, b)
    steps = range(a.shape[axis])
    state = np.zeros_like(np.take(b, [], axis).sum(axis))
    states = []
    for t in reversed(steps) if reverse else steps:
        state = np.take(a, t, axis) * state + np.take(b, t, axis)
        states.append(state)
    if not states:
        return np.array(b)
    return np.stack(states[::-1] if reverse else states, axis)


@operation(
    reference=_recurrence,
    samples=[
        Sample(Arg((5,)), Arg((5,))),
        Sample(Arg((2, 4)), Arg((2, 4)), axis=-1, reverse=True),
        Sample(Arg((4, 1)), Arg((4, 3))),
        Sample(Arg(), Arg((4, 2))),
        Sample(Arg((1, 3)), Arg((1, 3))),
        Sample(Arg((0, 3)), Arg((0, 3))),
    ],
    rejects=[
        Reject(ShapeError, "do not broadcast", Arg((3,)), Arg((4,))),
        Reject(ShapeError, "axis 1 is out of range", Arg((3,)), Arg((3,)), axis=1),
    ],
    dtypes="ifc",
    corner="the first factor meets no state and is not used, whatever its value",
)
def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Node:
    """States ``s[t] = a[t] * s[t-1] + b[t]`` along an axis, starting from ``s = 0``.

    Running sums (``a = 1``), discounted returns, exponential moving averages and leaky
    integrators are all of this kind.

    Parameters
    ----------
    a, b : array_like or Node
        Broadcast to each other.
    axis : int, default 0
        The axis of time, of the broadcast shape.
    reverse : bool, default False
        Run from the end: ``s[t] = a[t] * s[t+1] + b[t]``.

    Returns
    -------
    Node
        All states. To start from a state ``s0``, add ``a[0] * s0`` to ``b[0]``.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast or the axis is out of range.

    Examples
    --------
    Exponential moving average with decay 0.9:

    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("time", 8))
    >>> average = gn.linear_recurrence(0.9, 0.1 * x)
    """
    a, b = operands("linear_recurrence", (a, b), "ifc")
    shape = broadcast_shapes("linear_recurrence", a.shape, b.shape)
    axis = normalize_axis("linear_recurrence", axis, len(shape))
    attrs = {"axis": axis, "reverse": bool(reverse)}
    return make_node(LINEAR_RECURRENCE, (broadcast_to(a, shape), broadcast_to(b, shape)), attrs)
