"""The softmax family, which is safe from overflow, and vector norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dtypes import is_complex, real_dtype
from graphnn.core.errors import ShapeError, UnsupportedOpError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import abs, add, divide, multiply, power, square, subtract, where
from graphnn.ops.broadcasting import SUM, keep_axes, spread, sum, to_shape
from graphnn.ops.contract import (
    Arg,
    Reject,
    Sample,
    as_node,
    cast_to,
    normalize_axes,
    operation,
    require_floating,
    require_inexact,
    widened,
    zeros_like,
)
from graphnn.ops.control import stop_gradient
from graphnn.ops.exponential import exp, log
from graphnn.ops.logic import equal, isinf, not_equal
from graphnn.ops.reduction import REDUCTION_REJECTS, max, min
from graphnn.ops.statistics import safe_sqrt
from graphnn.ops.weighted import WeightedReduction

__all__ = ["log_softmax", "logsumexp", "norm", "softmax"]

# Half floats are widened first and rounded once at the end, here and in every rule.


class SoftmaxOp(Op):
    """``exp(x) / sum(exp(x))`` over axes."""

    name = "softmax"

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
    axes = normalize_axes("logsumexp", axis, given.ndim)
    if not axes:
        return given
    result = make_node(LOGSUMEXP, (given,), {"axes": axes})
    return to_shape(result, keep_axes(given.shape, axes)) if keepdims else result


def _norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    x = x if np.iscomplexobj(x) else x.astype(np.float64)
    return np.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)


_AWAY_FROM_0 = Arg((2, 3), low=0.3, distinct=True)


@operation(
    reference=_norm,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), axis=-1),
        Sample(Arg((2, 3, 4)), axis=(0, 2), keepdims=True),
        Sample(_AWAY_FROM_0, 1, axis=0),
        Sample(_AWAY_FROM_0, np.inf, axis=-1),
        Sample(_AWAY_FROM_0, -np.inf),
        Sample(_AWAY_FROM_0, 3, axis=1),
        Sample(_AWAY_FROM_0, np.float32(0.5)),
        Sample(Arg((3,), values=(0.0, 2.0, 0.0)), 0),
        Sample(Arg((0, 3)), axis=0),
        Sample(Arg(low=0.3)),
    ],
    rejects=[
        *(
            Reject(reject.error, reject.words, reject.args[0], 2, reject.args[1])
            for reject in REDUCTION_REJECTS
        ),
        Reject(UnsupportedOpError, "order -1", Arg((3,)), -1),
        Reject(UnsupportedOpError, "order 'fro'", Arg((3,)), "fro"),
        Reject(ShapeError, "max of empty", Arg((0,)), np.inf),
    ],
    dtypes="bifc",
    corner="derivative 0 at the zero vector, as in PyTorch; ties of the largest share it equally",
)
def norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Node:
    """Length of vectors, ``sum(abs(x)**ord) ** (1/ord)``, over axes.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32. Of complex numbers the
        absolute values count, and the norm is real.
    ord : float, default 2
        2 is the Euclidean norm; 1, any positive number, ``inf`` (the largest absolute value),
        ``-inf`` (the smallest) and 0 (how many are not 0).
    axis : int or tuple of int, optional
        Default: all elements are one vector. (For matrix norms of two axes see NumPy.)
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node

    Raises
    ------
    UnsupportedOpError
        For negative orders and names.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.norm(gn.input("x", shape=("batch", 3)), axis=-1).shape
    (Dim(batch),)
    """
    x = require_inexact(as_node(x))
    axes = normalize_axes("norm", axis, x.ndim)
    return cast_to(_norm_of(widened(x), ord, axes, keepdims), real_dtype(x.dtype))


def _norm_of(x: Node, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Node:
    is_number = isinstance(ord, int | float | np.number) and not isinstance(ord, bool)
    if not is_number or not (ord >= 0 or ord == -np.inf):
        raise UnsupportedOpError(
            f"norm: order {ord!r} is not supported", hint="0, a positive number, inf or -inf"
        )
    if ord == 2:
        return safe_sqrt(sum(_squared_size(x), axes, keepdims))
    if ord == 0:
        return sum(cast_to(not_equal(x, 0.0), real_dtype(x.dtype)), axes, keepdims)
    size = abs(x)
    if ord == 1:
        return sum(size, axes, keepdims)
    if ord == np.inf:
        return max(size, axes, keepdims)
    if ord == -np.inf:
        return min(size, axes, keepdims)
    return _power_or_zero(sum(_power_or_zero(size, float(ord)), axes, keepdims), 1.0 / float(ord))


def _squared_size(x: Node) -> Node:
    """``abs(x)**2``, with a derivative that is smooth at 0."""
    if not is_complex(x.dtype):
        return square(x)
    from graphnn.ops.complex_numbers import imag, real

    return add(square(real(x)), square(imag(x)))


def _power_or_zero(base: Node, exponent: float) -> Node:
    """A positive power whose derivative at 0 is 0, to any order."""
    is_zero = equal(base, 0.0)
    return where(is_zero, 0.0, power(where(is_zero, 1.0, base), exponent))
