"""Normalization: values brought to one scale, then scaled and shifted by learned parameters.

Here are ``standardize``, which all but the RMS norm are made of, and the norms over features. Those
of channels are in :mod:`graphnn.ops.channel_normalization`, those over the batch in
:mod:`graphnn.ops.batch_normalization`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_number
from graphnn.core.dims import Shape, product
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import add, divide, multiply, negative, square, subtract
from graphnn.ops.axes import normalize_axes
from graphnn.ops.broadcasting import SUM, keep_axes, spread, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import ones
from graphnn.ops.exponential import rsqrt
from graphnn.ops.operands import as_node, cast_to, operands, require_floating, widened
from graphnn.ops.statistics import mean, size_of
from graphnn.ops.weighted import WeightedReduction

__all__ = ["layer_norm", "rms_norm", "standardize"]

Axes = tuple[int, ...]


class InverseSpreadOp(WeightedReduction):
    """``1 / sqrt(variance + eps)`` over axes; with ``centered=False``, of the mean square.

    An operator of its own so that value and derivatives of `StandardizeOp` share it.
    """

    name = "inverse_spread"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: Axes, eps: float, centered: bool) -> TensorSpec:
        return SUM.infer(x, axes=axes)

    def expand(self, x: Node, *, axes: Axes, eps: float, centered: bool) -> Node:
        mean_square = mean(square(_numerator(x, axes, centered)), axes)
        return cast_to(rsqrt(add(mean_square, eps)), x.dtype)

    def weights(self, node: Node) -> Node:
        """``-r**2 y / n``, with the result ``r`` and the standardized values ``y``."""
        (x,), axes = node.inputs, node.attrs["axes"]
        count = size_of(product(x.shape[axis] for axis in axes), widened(x).dtype)
        slope = divide(negative(square(widened(node))), count)
        result = make_node(STANDARDIZE, (widened(x),), node.attrs)
        return multiply(spread(slope, axes, x.shape), result)


class StandardizeOp(Op):
    """Deviations from the mean over axes, divided by their root mean square.

    With ``centered=False`` the mean is taken as 0. The Jacobian is ``r (I - 1 1'/n - y y'/n)``,
    where ``r = 1 / sqrt(variance + eps)``: it is symmetric, so both modes have one rule.
    """

    name = "standardize"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: Axes, eps: float, centered: bool) -> TensorSpec:
        return x

    def expand(self, x: Node, *, axes: Axes, eps: float, centered: bool) -> Node:
        inverse_spread = _inverse_spread(x, axes, eps, centered)
        return cast_to(multiply(_numerator(x, axes, centered), inverse_spread), x.dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else self._product(node, tangent)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        return [self._product(node, cotangent)]

    def _product(self, node: Node, direction: Node) -> Node:
        """The Jacobian times a direction."""
        (x,), axes, centered = node.inputs, node.attrs["axes"], node.attrs["centered"]
        result, wide = make_node(self, (widened(x),), node.attrs), widened(direction)
        along = multiply(result, mean(multiply(result, wide), axes, keepdims=True))
        if centered:
            wide = subtract(wide, mean(wide, axes, keepdims=True))
        inverse_spread = _inverse_spread(x, axes, node.attrs["eps"], centered)
        return cast_to(multiply(inverse_spread, subtract(wide, along)), x.dtype)


class NormOp(Op):
    """``x`` standardized over ``axes``, times a weight plus a bias that lie along ``along``."""

    def __init__(self, name: str, *, centered: bool = True) -> None:
        self.name = name
        self.centered = centered

    def infer(self, x: TensorSpec, *parameters: TensorSpec, **attrs: Any) -> TensorSpec:
        return x

    def expand(self, x: Node, *parameters: Node, axes: Axes, along: Axes, eps: float) -> Node:
        result = standardized(widened(x), axes, eps, centered=self.centered)
        return cast_to(scaled_and_shifted(result, parameters, along), x.dtype)


INVERSE_SPREAD, STANDARDIZE = InverseSpreadOp(), StandardizeOp()
LAYER_NORM, RMS_NORM = NormOp("layer_norm"), NormOp("rms_norm", centered=False)
for _op in (INVERSE_SPREAD, STANDARDIZE, LAYER_NORM, RMS_NORM):
    register(_op)


def deviations(x: Node, axes: Axes) -> Node:
    """Distances from the mean, in a wide float.

    The mean is subtracted twice. The first one is rounded: at 10,000, float32 is off by up to
    0.0005. But differences of numbers that close are exact, and their mean is what was missing.
    """
    wide = widened(x)
    once = subtract(wide, mean(wide, axes, keepdims=True))
    return subtract(once, mean(once, axes, keepdims=True))


def _numerator(x: Node, axes: Axes, centered: bool) -> Node:
    return deviations(x, axes) if centered else widened(x)


def _inverse_spread(x: Node, axes: Axes, eps: float, centered: bool) -> Node:
    """The factor of what is standardized, with the axes kept."""
    attrs = {"axes": axes, "eps": eps, "centered": centered}
    factor = make_node(INVERSE_SPREAD, (widened(x),), attrs)
    return to_shape(factor, keep_axes(x.shape, axes))


def standardized(x: Node, axes: Axes, eps: float, *, centered: bool = True) -> Node:
    """:func:`standardize` without checks, also without subtracting the mean."""
    return make_node(STANDARDIZE, (x,), {"axes": axes, "eps": eps, "centered": centered})


def scaled_and_shifted(x: Node, parameters: Sequence[Node], along: Axes) -> Node:
    """``x * weight + bias``, as far as given, with parameters that lie along some axes of ``x``."""
    others = [axis for axis in range(x.ndim) if axis not in along]
    shape = keep_axes(x.shape, others)
    aligned = [to_shape(widened(each), shape) for each in parameters]
    for apply, parameter in zip((multiply, add), aligned, strict=False):
        x = apply(x, parameter)
    return x


# -------------------------------------------------------------------------------- what is given


def parameters_of(
    what: str, x: Node, axes: Axes, weight: Any, bias: Any = None
) -> tuple[Node, ...]:
    """Nothing, a weight, or a weight and a bias: a bias alone gets a weight of ones."""
    if weight is None and bias is None:
        return ()
    shape = tuple(x.shape[axis] for axis in axes)
    scale = ones(shape, x.dtype) if weight is None else fitting(what, "weight", weight, x, shape)
    return (scale,) if bias is None else (scale, fitting(what, "bias", bias, x, shape))


def fitting(what: str, word: str, given: Any, x: Node, shape: Shape) -> Node:
    """A parameter or statistic: of the dtype of ``x``, or of float32 beside a half float.

    Raises
    ------
    ShapeError, DTypeError
        If it is not of that shape, or of another dtype.
    """
    node = as_node(given)
    if not (is_half(x.dtype) and node.dtype == FLOAT32):
        _, node = operands(f"{what}: {word}", [x, node], "f")
    if node.shape != shape:
        raise ShapeError(
            f"{what}: {word} has shape {shape_text(node.shape)}, "
            f"x of shape {shape_text(x.shape)} needs {shape_text(shape)}",
            hint="one number for everything that is scaled and shifted by itself",
        )
    return node


# ------------------------------------------------------------------------------- what users call


def standardized_array(x: Any, axis: Any = -1, eps: float = 1e-5) -> Any:
    """For references: mean 0 and variance 1 over axes, in float64."""
    x = np.asarray(x, np.float64)
    if x.size == 0:
        return x
    return (x - np.mean(x, axis, keepdims=True)) / np.sqrt(np.var(x, axis, keepdims=True) + eps)


def _along(parameter: Any, axis: Any, ndim: int) -> Any:
    """A parameter with its axes where they stand in an array."""
    parameter = np.asarray(parameter, np.float64)
    axes = {each % ndim for each in np.atleast_1d(axis)}
    return np.expand_dims(parameter, tuple(each for each in range(ndim) if each not in axes))


def affine_array(result: Any, weight: Any, bias: Any, axis: Any) -> Any:
    """For references: times a weight plus a bias, as far as given, that lie along some axes."""
    if weight is not None:
        result = result * _along(weight, axis, result.ndim)
    return result if bias is None else result + _along(bias, axis, result.ndim)


_CONSTANT = Arg((2, 4), values=(3.0,) * 4 + (1.0, 2.0, 3.0, 4.0))
"""The first row has no variance; there the default eps is too small for central differences."""

_AXIS_SAMPLES = [
    Sample(Arg((3, 4))),
    Sample(Arg((2, 3, 4)), axis=(1, 2)),
    Sample(Arg((4,)), eps=0.1),
    Sample(_CONSTANT, eps=0.5),
    Sample(Arg((3, 1))),
    Sample(Arg((0, 3))),
    Sample(Arg((3, 0))),
]
_AXIS_REJECTS = [
    Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), axis=2),
    Reject(ShapeError, "axis -1 is out of range", Arg()),
    Reject(ArgumentError, "eps is -1", Arg((3,)), eps=-1),
    Reject(ArgumentError, "eps must be a number", Arg((3,)), eps="1"),
]
_WEIGHT_REJECTS = [
    Reject(
        ShapeError,
        "weight has shape (3,), x of shape (3, 4) needs (4,)",
        Arg((3, 4)),
        weight=Arg((3,)),
    ),
    Reject(DTypeError, "do not mix", Arg((3, 4)), weight=np.ones(4, np.float64)),
]


@operation(
    reference=standardized_array,
    samples=[*_AXIS_SAMPLES, Sample(Arg((2, 3, 2)), axis=(0, -1))],
    rejects=_AXIS_REJECTS,
    dtypes="bif",
    corner="0 where all elements are equal; NaN there if eps is 0",
)
def standardize(x: Any, axis: Any = -1, *, eps: float = 1e-5) -> Node:
    """``(x - mean(x)) / sqrt(var(x) + eps)`` over axes: mean 0 and variance 1.

    The mean is subtracted before squares are summed, so a large offset costs no digits.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32.
    axis : int or tuple of int, default -1
        What is standardized together. Axes may have named sizes.
    eps : float, default 1e-5
        Keeps the divisor away from 0.

    Returns
    -------
    Node
        Of the shape of ``x``.

    Raises
    ------
    ShapeError, ArgumentError
        For an axis that does not exist, and a negative ``eps``.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("n",))
    >>> gn.evaluate(gn.standardize(x, eps=0), {x: [10001.0, 10001.0, 10003.0, 10003.0]})
    array([-1., -1.,  1.,  1.], dtype=float32)
    """
    node = require_floating("standardize", as_node(x))
    axes = normalize_axes("standardize", axis, node.ndim)
    return standardized(node, axes, require_number("standardize", "eps", eps))


def _layer_norm(
    x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5
) -> Any:
    return affine_array(standardized_array(x, axis, eps), weight, bias, axis)


@operation(
    reference=_layer_norm,
    samples=[
        *_AXIS_SAMPLES,
        Sample(Arg((3, 4)), Arg((4,)), Arg((4,))),
        Sample(Arg((2, 3, 4)), Arg((3, 4)), Arg((3, 4)), axis=(1, 2)),
        Sample(Arg((2, 3, 4)), Arg((2, 4)), axis=(0, -1)),
        Sample(Arg((3, 4)), bias=Arg((3,)), axis=0),
        Sample(_CONSTANT, Arg((4,)), Arg((4,)), eps=0.5),
        Sample(Arg((0, 3)), Arg((3,)), Arg((3,))),
    ],
    rejects=[*_AXIS_REJECTS, *_WEIGHT_REJECTS],
    dtypes="if",
    corner="the bias where all elements are equal; NaN there if eps is 0",
)
def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, *, axis: Any = -1, eps: float = 1e-5
) -> Node:
    """``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, statistics over the features.

    Source: J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization (2016).

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32 and rounded once.
    weight, bias : array_like or Node, optional
        Of the sizes of the axes of features, in the order in which they stand in ``x``; of its
        dtype, or float32 beside a half float.
    axis : int or tuple of int, default -1
        The axes of features. (PyTorch's ``normalized_shape`` are the sizes of the last ones.)
    eps : float, default 1e-5

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If a parameter does not fit, an axis does not exist, or ``eps`` is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", "time", 64))
    >>> gn.layer_norm(x, gn.ones(64), gn.zeros(64))
    <Node layer_norm (batch, time, 64) float32>
    """
    return _norm(LAYER_NORM, x, axis, weight, bias, eps)


def _norm(op: NormOp, x: Any, axis: Any, weight: Any, bias: Any, eps: Any) -> Node:
    node = require_floating(op.name, as_node(x))
    axes = normalize_axes(op.name, axis, node.ndim)
    parameters = parameters_of(op.name, node, axes, weight, bias)
    attrs = {"axes": axes, "along": axes, "eps": require_number(op.name, "eps", eps)}
    return make_node(op, (node, *parameters), attrs)


def _rms_norm(x: Any, weight: Any = None, axis: Any = -1, eps: float = 1e-6) -> Any:
    x = np.asarray(x, np.float64)
    if x.size == 0:
        return x
    mean_square = np.mean(x**2, axis, keepdims=True)
    return affine_array(x / np.sqrt(mean_square + eps), weight, None, axis)


@operation(
    reference=_rms_norm,
    samples=[
        *_AXIS_SAMPLES,
        Sample(Arg((3, 4)), Arg((4,))),
        Sample(Arg((2, 3, 4)), Arg((2, 4)), axis=(0, -1)),
        Sample(Arg((2, 2), values=(0.0, 0.0, 1.0, -1.0)), eps=1.0),
    ],
    rejects=[*_AXIS_REJECTS, *_WEIGHT_REJECTS],
    dtypes="if",
    corner="0 at the zero vector; NaN there if eps is 0",
)
def rms_norm(x: Any, weight: Any = None, *, axis: Any = -1, eps: float = 1e-6) -> Node:
    """``x / sqrt(mean(x**2) + eps) * weight``: layer norm that does not subtract the mean.

    Source: B. Zhang, R. Sennrich, Root mean square layer normalization (2019).

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32 and rounded once.
    weight : array_like or Node, optional
        Of the sizes of the axes of features, as in :func:`layer_norm`.
    axis : int or tuple of int, default -1
        The axes of features.
    eps : float, default 1e-6
        As in Flax and Keras. PyTorch's default is the machine epsilon of the dtype.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If the weight does not fit, an axis does not exist, or ``eps`` is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(2,))
    >>> gn.evaluate(gn.rms_norm(x, eps=0), {x: [1.0, -7.0]})
    array([ 0.2, -1.4], dtype=float32)
    """
    return _norm(RMS_NORM, x, axis, weight, None, eps)
