"""The softmax family, which is safe from overflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import add, divide, multiply, subtract, where
from graphnn.ops.axes import normalize_axes
from graphnn.ops.broadcasting import SUM, reduced_by, spread, sum
from graphnn.ops.constants import zeros_like
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import stop_gradient
from graphnn.ops.exponential import exp, log
from graphnn.ops.logic import isinf
from graphnn.ops.operands import as_node, cast_to, require_floating, widened
from graphnn.ops.reduction import REDUCTION_REJECTS, max
from graphnn.ops.weighted import WeightedReduction

__all__ = ["log_softmax", "logsumexp", "softmax"]

# Half floats are widened first and rounded once at the end, here and in every rule.


class SoftmaxOp(Op):
    """``exp(x) / sum(exp(x))`` over axes."""

    name = "softmax"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        return x

    def expand(self, x: Node, *, axes: tuple[int, ...]) -> Node:
        if x.size == 0:
            return x
        powers = exp(_below_maximum(x, axes))
        return cast_to(divide(powers, sum(powers, axes, keepdims=True)), x.dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else self._product(node, tangent)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        return [self._product(node, cotangent)]

    def _product(self, node: Node, direction: Node) -> Node:
        """The Jacobian ``diag(y) - y y'``, which is symmetric, times a direction."""
        result, wide = widened(node), widened(direction)
        along = sum(multiply(result, wide), node.attrs["axes"], keepdims=True)
        return cast_to(multiply(result, subtract(wide, along)), node.dtype)


class LogSoftmaxOp(Op):
    """``log(softmax(x))`` over axes, which does not underflow."""

    name = "log_softmax"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        return x

    def expand(self, x: Node, *, axes: tuple[int, ...]) -> Node:
        if x.size == 0:
            return x
        below = _below_maximum(x, axes)
        total = sum(exp(below), axes, keepdims=True)
        return cast_to(subtract(below, log(total)), x.dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,), axes = tangents, node.attrs["axes"]
        if tangent is None:
            return None
        wide = widened(tangent)
        along = sum(multiply(exp(widened(node)), wide), axes, keepdims=True)
        return cast_to(subtract(wide, along), node.dtype)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        wide = widened(cotangent)
        total = sum(wide, node.attrs["axes"], keepdims=True)
        return [cast_to(subtract(wide, multiply(exp(widened(node)), total)), node.dtype)]


class LogSumExpOp(WeightedReduction):
    """``log(sum(exp(x)))`` over axes, which disappear."""

    name = "logsumexp"

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        return SUM.infer(x, axes=axes)

    def expand(self, x: Node, *, axes: tuple[int, ...]) -> Node:
        powers, top = _scaled_powers(x, axes)
        return cast_to(add(log(sum(powers, axes)), top), x.dtype)

    def weights(self, node: Node) -> Node:
        """The softmax of the input, from what the expansion computes anyway."""
        (x,), axes = node.inputs, node.attrs["axes"]
        powers, _ = _scaled_powers(x, axes)
        return divide(powers, spread(sum(powers, axes), axes, x.shape))


SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = SoftmaxOp(), LogSoftmaxOp(), LogSumExpOp()
for _op in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP):
    register(_op)


def _below_maximum(x: Node, axes: tuple[int, ...]) -> Node:
    """``x`` less its maximum, unless that is infinite: then 0 stays 0 beside the NaN of inf."""
    wide = widened(x)
    top = max(wide, axes, keepdims=True)
    return subtract(wide, where(isinf(top), 0.0, top))


def _scaled_powers(x: Node, axes: tuple[int, ...]) -> tuple[Node, Node]:
    """``exp(x - top)`` and ``top``, the maximum where it is finite and 0 elsewhere.

    An infinite maximum is not subtracted, for inf - inf is NaN; the sum is right without.
    """
    wide = widened(x)
    if x.size == 0:
        return exp(wide), zeros_like(sum(wide, axes))
    maximum = max(wide, axes)
    # What is added at the end is what was subtracted, so the derivative is that of a constant.
    top = stop_gradient(where(isinf(maximum), 0.0, maximum))
    return exp(subtract(wide, spread(top, axes, x.shape))), top


# ------------------------------------------------------------------------------- what users call


def _softmax(x: Any, axis: Any = -1) -> Any:
    x = np.asarray(x, np.float64)
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    from scipy import special

    return special.logsumexp(np.asarray(x, np.float64), axis=axis, keepdims=keepdims)


_SOFTMAX_SAMPLES = [
    Sample(Arg((4,))),
    Sample(Arg((3, 4))),
    Sample(Arg((2, 3, 2)), axis=1),
    Sample(Arg((2, 3, 2)), axis=(0, -1)),
    Sample(Arg((3, 4), values=tuple(float(each) for each in range(-300, 300, 50)))),
    Sample(Arg((3,), values=(-np.inf, 0.0, 1.0))),
    Sample(Arg((2, 0))),
    Sample(Arg((0, 2))),
]
_SOFTMAX_REJECTS = [
    Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), axis=2),
    Reject(ShapeError, "axis -1 is out of range", Arg()),
]


@operation(
    reference=_softmax,
    samples=_SOFTMAX_SAMPLES,
    rejects=_SOFTMAX_REJECTS,
    dtypes="bif",
    corner="NaN for a row of -inf alone, and where inf is; -inf beside finite numbers is 0",
)
def softmax(x: Any, axis: Any = -1) -> Node:
    """Positive weights with sum 1, ``exp(x) / sum(exp(x))``; the maximum is subtracted first.

    Parameters
    ----------
    x : array_like or Node
        Logits; -inf masks a class out. Integers become float32.
    axis : int or tuple of int, default -1
        Along which the weights sum to 1.

    Returns
    -------
    Node
        Of the shape of ``x``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.softmax(gn.input("logits", shape=("batch", 10)))
    <Node softmax (batch, 10) float32>
    """
    x = require_floating("softmax", as_node(x))
    return make_node(SOFTMAX, (x,), {"axes": normalize_axes("softmax", axis, x.ndim)})


@operation(
    reference=lambda x, axis=-1: x - _logsumexp(x, axis, keepdims=True),
    samples=_SOFTMAX_SAMPLES[:-2],
    rejects=_SOFTMAX_REJECTS,
    dtypes="bif",
    corner="NaN for a row of -inf alone, and where inf is",
)
def log_softmax(x: Any, axis: Any = -1) -> Node:
    """``log(softmax(x))``, also where the softmax itself would be 0.

    Parameters
    ----------
    x : array_like or Node
        Logits. Integers become float32.
    axis : int or tuple of int, default -1

    Returns
    -------
    Node
        Of the shape of ``x``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.log_softmax(gn.input("logits", shape=("batch", 10)))
    <Node log_softmax (batch, 10) float32>
    """
    x = require_floating("log_softmax", as_node(x))
    return make_node(LOG_SOFTMAX, (x,), {"axes": normalize_axes("log_softmax", axis, x.ndim)})


@operation(
    reference=_logsumexp,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), 1),
        Sample(Arg((2, 3, 4)), (0, -1), keepdims=True),
        Sample(Arg((2, 3), values=(-900.0, 900.0, 899.0, -900.0, -900.5, -901.0)), -1),
        Sample(Arg((3,), values=(-np.inf, 0.0, 1.0))),
        Sample(Arg()),
        Sample(Arg((0, 3)), 1),
    ],
    rejects=REDUCTION_REJECTS,
    dtypes="bif",
    corner="-inf for a row of -inf alone, with derivative NaN as in JAX and PyTorch; -inf for none",
)
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """``log(sum(exp(x)))`` over axes, without overflow.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32.
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
    >>> gn.logsumexp(gn.input("x", shape=("batch", 10)), axis=-1)
    <Node logsumexp (batch,) float32>
    """
    given = require_floating("logsumexp", as_node(x))
    return reduced_by(LOGSUMEXP, given, axis, keepdims)
