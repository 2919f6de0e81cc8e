"""Normalization of every channel over the batch, by statistics that are learned while training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_number
from graphnn.core.dims import Size, product
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op, register
from graphnn.core.spec import TensorSpec, TupleSpec, shape_text
from graphnn.ops.arithmetic import add, divide, multiply, square, subtract
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import keep_axes, sum, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import TUPLE, project
from graphnn.ops.exponential import rsqrt
from graphnn.ops.normalization import (
    Axes,
    affine_array,
    deviations,
    fitting,
    parameters_of,
    scaled_and_shifted,
    standardized,
)
from graphnn.ops.operands import as_node, cast_to, require_floating, widened
from graphnn.ops.statistics import mean as mean_of
from graphnn.ops.statistics import size_of

__all__ = ["batch_norm", "batch_norm_train"]


class BatchNormOp(Op):
    """Standardized by a mean and a variance that are given, then scaled and shifted."""

    name = "batch_norm"

    def infer(self, x: TensorSpec, *others: TensorSpec, **attrs: Any) -> TensorSpec:
        return x

    def expand(
        self, x: Node, mean: Node, variance: Node, *parameters: Node, axis: int, eps: float
    ) -> Node:
        shape = keep_axes(x.shape, _all_but(axis, x.ndim))
        middle = to_shape(widened(mean), shape)
        inverse_spread = to_shape(rsqrt(add(widened(variance), eps)), shape)
        result = multiply(subtract(widened(x), middle), inverse_spread)
        return cast_to(scaled_and_shifted(result, parameters, (axis,)), x.dtype)


class BatchNormTrainOp(Op):
    """Standardized by the batch's own statistics; the running ones, moved towards these."""

    name = "batch_norm_train"

    def infer(
        self,
        x: TensorSpec,
        mean: TensorSpec,
        variance: TensorSpec,
        *parameters: TensorSpec,
        axis: int,
        momentum: float,
        eps: float,
    ) -> TupleSpec:
        if _count(x.shape, axis) == 1:
            raise ShapeError(
                f"batch_norm_train: x of shape {shape_text(x.shape)} has one value per channel, "
                "which has no variance",
                hint="train with more than one example",
            )
        return TupleSpec((x, mean, variance))

    def expand(
        self,
        x: Node,
        mean: Node,
        variance: Node,
        *parameters: Node,
        axis: int,
        momentum: float,
        eps: float,
    ) -> Node:
        if x.size == 0:
            return make_node(TUPLE, (x, mean, variance))  # nothing is learned from nothing
        axes, wide = _all_but(axis, x.ndim), widened(x)
        result = scaled_and_shifted(standardized(wide, axes, eps), parameters, (axis,))
        squares = sum(square(deviations(x, axes)), axes)
        unbiased = divide(squares, size_of(_count(x.shape, axis) - 1, wide.dtype))
        moved = (
            cast_to(add(multiply(widened(old), 1.0 - momentum), multiply(new, momentum)), old.dtype)
            for old, new in ((mean, mean_of(wide, axes)), (variance, unbiased))
        )
        return make_node(TUPLE, (cast_to(result, x.dtype), *moved))


BATCH_NORM, BATCH_NORM_TRAIN = BatchNormOp(), BatchNormTrainOp()
register(BATCH_NORM)
register(BATCH_NORM_TRAIN)


def _all_but(axis: int, ndim: int) -> Axes:
    return tuple(each for each in range(ndim) if each != axis)


def _count(shape: Sequence[Size], axis: int) -> Size:
    """How many values a channel has."""
    return product(size for each, size in enumerate(shape) if each != axis)


def _given(
    what: str, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: Any, axis: Any
) -> tuple[tuple[Node, ...], dict[str, Any]]:
    """The inputs and attributes that both operators have, checked."""
    node = require_floating(what, as_node(x))
    channels = normalize_axis(what, axis, node.ndim)
    shape = (node.shape[channels],)
    statistics = (fitting(what, "mean", mean, node, shape), fitting(what, "var", var, node, shape))
    parameters = parameters_of(what, node, (channels,), weight, bias)
    attrs = {"axis": channels, "eps": require_number(what, "eps", eps)}
    return (node, *statistics, *parameters), attrs


# ------------------------------------------------------------------------------- what users call


def _batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    axis: int = 1,
) -> Any:
    last = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    result = (last - mean) / np.sqrt(np.asarray(var) + eps)
    return affine_array(np.moveaxis(result, -1, axis), weight, bias, axis)


def _variance_arg(channels: int) -> Arg:
    return Arg((channels,), 0.5, 2.0)


_SAMPLES = [
    Sample(Arg((3, 4)), Arg((4,)), _variance_arg(4)),
    Sample(Arg((2, 3, 2, 2)), Arg((3,)), _variance_arg(3), Arg((3,)), Arg((3,))),
    Sample(Arg((2, 2, 3)), Arg((3,)), _variance_arg(3), Arg((3,)), eps=0.1, axis=-1),
    Sample(Arg((0, 3, 2)), Arg((3,)), _variance_arg(3), Arg((3,)), Arg((3,))),
]
_REJECTS = [
    Reject(ShapeError, "axis 1 is out of range", Arg((4,)), Arg((4,)), _variance_arg(4)),
    Reject(
        ShapeError,
        "mean has shape (3,), x of shape (3, 4) needs (4,)",
        Arg((3, 4)),
        Arg((3,)),
        _variance_arg(4),
    ),
    Reject(ShapeError, "var has shape (3,)", Arg((3, 4)), Arg((4,)), _variance_arg(3)),
    Reject(
        ShapeError,
        "weight has shape (3,)",
        Arg((3, 4)),
        Arg((4,)),
        _variance_arg(4),
        Arg((3,)),
    ),
    Reject(ArgumentError, "eps is -1", Arg((3, 4)), Arg((4,)), _variance_arg(4), eps=-1),
]


@operation(
    reference=_batch_norm,
    samples=[
        *_SAMPLES,
        Sample(Arg((3, 4)), Arg((4,)), _variance_arg(4), bias=Arg((4,))),
        Sample(Arg((3, 2)), Arg((3,)), _variance_arg(3), axis=0),
        Sample(Arg((2, 2)), Arg((2,)), Arg((2,), values=(0.0, 1.0)), eps=1.0),
    ],
    rejects=_REJECTS,
    dtypes="if",
    corner="infinite or NaN where var and eps are 0",
)
def batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
) -> Node:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, with statistics that are known.

    This is batch norm as it is used after training; :func:`batch_norm_train` finds the statistics.

    Parameters
    ----------
    x : array_like or Node, of shape (batch, channels, ...)
        Integers become float32; half floats are computed in float32 and rounded once.
    mean, var : array_like or Node, of shape (channels,)
        Of the dtype of ``x``, or float32 beside a half float.
    weight, bias : array_like or Node, optional
        Like ``mean``.
    eps : float, default 1e-5
    axis : int, default 1
        That of the channels: -1 for channels last.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If a statistic or parameter does not fit, an axis does not exist, or ``eps`` is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3, 8, 8))
    >>> gn.batch_norm(x, gn.zeros(3), gn.ones(3))
    <Node batch_norm (batch, 3, 8, 8) float32>
    """
    inputs, attrs = _given("batch_norm", x, mean, var, weight, bias, eps, axis)
    return make_node(BATCH_NORM, inputs, attrs)


def _batch_norm_train(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
) -> Any:
    last = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    rows = last.reshape(math.prod(last.shape[:-1]), last.shape[-1])
    if rows.size == 0:
        return np.asarray(x), mean, var
    result = _batch_norm(x, rows.mean(0), rows.var(0), weight, bias, eps, axis)
    new_mean = (1 - momentum) * np.asarray(mean) + momentum * rows.mean(0)
    return result, new_mean, (1 - momentum) * np.asarray(var) + momentum * rows.var(0, ddof=1)


@operation(
    reference=_batch_norm_train,
    samples=[
        *_SAMPLES,
        Sample(Arg((3, 4)), Arg((4,)), _variance_arg(4), bias=Arg((4,)), momentum=1),
        Sample(Arg((3, 4)), Arg((3,)), _variance_arg(3), momentum=0.5, axis=0),
        Sample(Arg((2, 2), values=(3.0, 1.0, 3.0, 2.0)), Arg((2,)), _variance_arg(2), eps=0.5),
    ],
    rejects=[
        *_REJECTS,
        Reject(
            ArgumentError,
            "momentum is 2, it must be at most 1",
            Arg((3, 4)),
            Arg((4,)),
            _variance_arg(4),
            momentum=2,
        ),
        Reject(
            ShapeError,
            "x of shape (1, 4) has one value per channel",
            Arg((1, 4)),
            Arg((4,)),
            _variance_arg(4),
        ),
    ],
    dtypes="if",
    corner="an empty batch leaves the statistics as they are; the bias where all values are equal",
)
def batch_norm_train(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
) -> tuple[Node, Node, Node]:
    """``batch_norm`` by the statistics of ``x`` itself, and the running statistics after it.

    The result is ``(x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, with the mean and the
    variance over all axes but that of the channels; derivatives flow through both. The new
    running statistics are ``(1 - momentum) * mean + momentum * mean(x)``, and so for ``var``,
    for which the variance of ``x`` is the unbiased one, as in PyTorch. (Keras and Flax give the
    name momentum to what is ``1 - momentum`` here, and do not correct the bias.)
    Source: S. Ioffe, C. Szegedy, Batch normalization (2015).

    Parameters
    ----------
    x : array_like or Node, of shape (batch, channels, ...)
        Integers become float32; half floats are computed in float32 and rounded once.
    mean, var : array_like or Node, of shape (channels,)
        The running statistics so far; of the dtype of ``x``, or float32 beside a half float.
        The result does not depend on them.
    weight, bias : array_like or Node, optional
        Like ``mean``.
    momentum : float, default 0.1
        From 0 (keep the running statistics) to 1 (take those of ``x``).
    eps : float, default 1e-5
    axis : int, default 1
        That of the channels: -1 for channels last.

    Returns
    -------
    (Node, Node, Node)
        The result, of the shape and dtype of ``x``; the new mean; the new variance.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If something does not fit, or a channel has a single value. Where the size of the batch
        has a name, the latter is found when the program is called.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 1))
    >>> mean, var = gn.parameter([0.0]), gn.parameter([1.0])
    >>> y, new_mean, new_var = gn.batch_norm_train(x, mean, var, momentum=0.5, eps=0)
    >>> step = gn.compile(x, y, updates={mean: new_mean, var: new_var})
    >>> step([[1.0], [3.0]])
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> mean.value, var.value
    (array([1.], dtype=float32), array([1.5], dtype=float32))
    """
    inputs, attrs = _given("batch_norm_train", x, mean, var, weight, bias, eps, axis)
    share = require_number("batch_norm_train", "momentum", momentum)
    if share > 1:
        raise ArgumentError(
            f"batch_norm_train: momentum is {momentum}, it must be at most 1",
            hint="it is the share of the new statistics, 1 - momentum of Keras and Flax",
        )
    result = make_node(BATCH_NORM_TRAIN, inputs, {**attrs, "momentum": share})
    return project(result, 0), project(result, 1), project(result, 2)
