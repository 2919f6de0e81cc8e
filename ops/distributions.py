"""Random numbers between bounds, normal ones, and what is true or kept with a probability.

:mod:`graphnn.ops.random` is where users find them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphnn.core.dims import Shape
from graphnn.core.dtypes import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    DType,
    DTypeLike,
    as_dtype,
    is_floating,
    is_half,
)
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import broadcast_shapes, shape_text
from graphnn.ops.arithmetic import cast, where
from graphnn.ops.axes import as_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import ones, zeros
from graphnn.ops.exponential import log, sqrt
from graphnn.ops.logic import bitwise_and, less, right_shift
from graphnn.ops.operands import as_node, is_number, operands
from graphnn.ops.philox import random_bits, reference_bits
from graphnn.ops.streams import KEY, NO_KEY, as_key
from graphnn.ops.trigonometric import cos

__all__ = ["bernoulli", "dropout_mask", "normal", "require_broadcast", "uniform"]

_FRACTION_BITS = {FLOAT16: 11, BFLOAT16: 8, FLOAT32: 24, FLOAT64: 53}
"""How many bits of a number below 1 a dtype holds without rounding."""


def _unit(key: Node, shape: Shape, dtype: DType) -> Node:
    """Uniform in [0, 1): the leading bits of one integer, so all dtypes agree up to rounding."""
    source, width = (INT64, 64) if dtype == FLOAT64 else (INT32, 32)
    kept = _FRACTION_BITS[dtype]
    bits = random_bits(key, shape, source)
    leading = bitwise_and(right_shift(bits, width - kept), 2**kept - 1)
    return cast(leading, dtype) * 2.0**-kept


def _settings(what: str, shape: Any, values: list[Any], dtype: Any) -> tuple[Shape, list[Node]]:
    """The shape of the result, and the distribution's parameters in one dtype."""
    nodes = operands(what, values, "f")
    if dtype is not None:
        target = as_dtype(dtype)
        if not is_floating(target):
            raise DTypeError(f"{what}: a float dtype is needed, not {target.name}")
        nodes = [cast(as_node(value, target), target) for value in values]
    common = broadcast_shapes(what, *(node.shape for node in nodes))
    if shape is None:
        return common, nodes
    sizes = as_shape(what, shape)
    require_broadcast(what, common, sizes)
    return sizes, nodes


def require_broadcast(what: str, parameters: Shape, shape: Shape) -> None:
    """Raise if parameters do not have one of their elements for each of the result's."""
    if broadcast_shapes(what, parameters, shape) != shape:
        raise ShapeError(
            f"{what}: parameters of shape {shape_text(parameters)} do not broadcast "
            f"to the shape {shape_text(shape)}",
            hint="every element of the result needs a random number of its own",
        )


def _reference_unit(of: Any, shape: Any) -> Any:
    return np.asarray(reference_bits(of, shape) / 2**64, dtype=np.float64)


def _reference_uniform(
    of: Any, shape: Any, low: Any = 0.0, high: Any = 1.0, dtype: Any = None
) -> Any:
    return low + (high - low) * _reference_unit(of, shape)


def _reference_normal(
    of: Any, shape: Any, mean: Any = 0.0, std: Any = 1.0, dtype: Any = None
) -> Any:
    bits = reference_bits(of, shape)
    radius = np.sqrt(-2 * np.log(np.asarray((bits // 2**24 + 0.5) / 2**40, dtype=np.float64)))
    angle = np.asarray(2 * np.pi * (bits % 2**24) / 2**24, dtype=np.float64)
    return mean + std * radius * np.cos(angle)


@operation(
    name="random.uniform",
    reference=_reference_uniform,
    samples=[
        Sample(KEY, (3, 4)),
        Sample(KEY, ()),
        Sample(KEY, (0, 2)),
        Sample(KEY, (5,), -1.0, 3.0),
        Sample(KEY, (2, 3), Arg((3,), -2.0, -1.0), Arg((), 1.0, 2.0)),
        Sample(KEY, (5,), 0.0, 1.0, "float64"),
    ],
    rejects=[
        *NO_KEY,
        Reject(ShapeError, "do not broadcast", KEY, (), Arg((3,))),
        Reject(ArgumentError, "low 1.0 is above high 0.0", KEY, (3,), 1.0, 0.0),
        Reject(DTypeError, "a float dtype", KEY, (3,), 0, 2, "int64"),
    ],
    corner="low is possible, high is not",
)
def uniform(
    key: Any = None, shape: Any = None, low: Any = 0.0, high: Any = 1.0, dtype: Any = None
) -> Node:
    """Uniform numbers in ``[low, high)``.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    shape : tuple of sizes, optional
        Default: that of ``low`` and ``high``.
    low, high : array_like or Node
        They broadcast to the shape; the result is differentiable with respect to them.
    dtype : optional
        Default: that of ``low`` and ``high``, float32 for Python numbers. Float32 has 24 random
        bits, float64 has 53.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.random.uniform(gn.random.key(0), ("batch", 3), -1.0, 1.0).shape
    (Dim(batch), 3)
    """
    if is_number(low) and is_number(high) and low > high:
        raise ArgumentError(f"uniform: low {low} is above high {high}")
    sizes, (first, end) = _settings("uniform", shape, [low, high], dtype)
    unit = _unit(as_key("uniform", key), sizes, first.dtype)
    if is_number(low) and is_number(high) and (low, high) == (0, 1):
        return unit
    scaled = first + unit * (end - first)
    return where(less(scaled, end), scaled, first)  # the sum may round up to high


@operation(
    name="random.normal",
    reference=_reference_normal,
    samples=[
        Sample(KEY, (3, 4)),
        Sample(KEY, ()),
        Sample(KEY, (0, 2)),
        Sample(KEY, (5,), 1.0, 3.0),
        Sample(KEY, (2, 3), Arg((3,)), Arg((), 1.0, 2.0)),
        Sample(KEY, (5,), 0.0, 1.0, "float64"),
    ],
    rejects=[
        *NO_KEY,
        Reject(ShapeError, "do not broadcast", KEY, (), Arg((3,))),
        Reject(ArgumentError, "standard deviation -1.0 is negative", KEY, (3,), 0.0, -1.0),
    ],
    corner="always finite: at most 7.6 standard deviations from the mean",
)
def normal(
    key: Any = None, shape: Any = None, mean: Any = 0.0, std: Any = 1.0, dtype: Any = None
) -> Node:
    """Normal numbers, by the method of Box and Muller.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    shape : tuple of sizes, optional
        Default: that of ``mean`` and ``std``.
    mean, std : array_like or Node
        They broadcast to the shape; the result is differentiable with respect to them.
    dtype : optional
        Default: that of ``mean`` and ``std``, float32 for Python numbers.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3))
    >>> noisy = x + gn.random.normal(gn.random.key(0), x.shape, std=0.1)
    """
    if is_number(std) and std < 0:
        raise ArgumentError(f"normal: the standard deviation {std} is negative")
    sizes, (center, width) = _settings("normal", shape, [mean, std], dtype)
    bits = random_bits(as_key("normal", key), sizes, INT64)
    wide = FLOAT64 if center.dtype == FLOAT64 else FLOAT32
    # 40 bits for the radius reach far into the tails, 24 for the angle are all that float32 holds.
    radius_bits = bitwise_and(right_shift(bits, 24), 2**40 - 1)
    radius = sqrt(log((cast(radius_bits, wide) + 0.5) * 2.0**-40) * -2.0)
    angle = cast(bitwise_and(bits, 2**24 - 1), wide) * (2.0 * math.pi * 2.0**-24)
    standard = cast(radius * cos(angle), center.dtype)
    if is_number(mean) and is_number(std) and (mean, std) == (0, 1):
        return standard
    return center + width * standard


@operation(
    name="random.bernoulli",
    reference=lambda key, p=0.5, shape=None: _reference_unit(key, shape or np.shape(p)) < p,
    samples=[
        Sample(KEY, 0.3, (3, 4)),
        Sample(KEY, Arg((3,), 0.0, 1.0)),
        Sample(KEY, 0.0, (5,)),
        Sample(KEY, 1.0, (5,)),
    ],
    rejects=[
        Reject(ShapeError, "a key has shape (2,)", 5, 0.5, (3,)),
        Reject(ArgumentError, "probability 1.5", KEY, 1.5, (3,)),
    ],
    differentiable=False,
)
def bernoulli(key: Any = None, p: Any = 0.5, shape: Any = None) -> Node:
    """Bools that are true with probability ``p``.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    p : array_like or Node, default 0.5
    shape : tuple of sizes, optional
        Default: that of ``p``.

    Returns
    -------
    Node
        Bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.random.bernoulli(gn.random.key(0), 0.8, (2, 3))
    <Node less (2, 3) bool>
    """
    _check_probability("bernoulli: the probability", p)
    sizes, (limit,) = _settings("bernoulli", shape, [p], None)
    wide = cast(limit, FLOAT32) if is_half(limit.dtype) else limit
    return less(_unit(as_key("bernoulli", key), sizes, wide.dtype), wide)


def _check_probability(what: str, value: Any) -> None:
    if is_number(value) and not 0 <= value <= 1:
        raise ArgumentError(f"{what} {value} is not between 0 and 1")


def _reference_dropout_mask(of: Any, rate: Any, shape: Any, dtype: Any = None) -> Any:
    kept = _reference_unit(of, shape) < 1 - rate
    return np.where(kept, 1 / (1 - rate) if rate < 1 else 0.0, 0.0)


@operation(
    name="random.dropout_mask",
    reference=_reference_dropout_mask,
    samples=[
        Sample(KEY, 0.25, (3, 4)),
        Sample(KEY, 0.0, (5,)),
        Sample(KEY, 1.0, (5,)),
        Sample(KEY, 0.5, (2, 3), "float64"),
        Sample(KEY, Arg((), 0.1, 0.9), (2, 3)),
    ],
    rejects=[
        Reject(ShapeError, "a key has shape (2,)", 5, 0.5, (3,)),
        Reject(ArgumentError, "rate -0.5 is not between 0 and 1", KEY, -0.5, (3,)),
        Reject(ShapeError, "the rate is one number", KEY, Arg((3,)), (3,)),
    ],
    differentiable=False,
    corner="a rate of 1 gives zeros",
)
def dropout_mask(
    key: Any = None, rate: Any = 0.5, shape: Any = (), dtype: DTypeLike = FLOAT32
) -> Node:
    """Factors of inverted dropout: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    rate : float or Node, default 0.5
    shape : tuple of sizes
        Sizes of 1 drop whole channels, or the same units at every time step.
    dtype : optional
        Default float32.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3))
    >>> dropped = x * gn.random.dropout_mask(gn.random.key(0), 0.5, x.shape)
    """
    _check_probability("dropout_mask: the rate", rate)
    target, sizes = as_dtype(dtype), as_shape("dropout_mask", shape)
    if is_number(rate) and rate in (0, 1):
        return ones(sizes, target) if rate == 0 else zeros(sizes, target)
    (chance,) = operands("dropout_mask", [rate], "f")
    if chance.shape != ():
        raise ShapeError(f"dropout_mask: the rate is one number, not {shape_text(chance.shape)}")
    keep = 1.0 - cast(chance, FLOAT64 if target == FLOAT64 else FLOAT32)
    scale = cast(1.0 / keep, target)
    return where(bernoulli(key, keep, sizes), scale, zeros((), target))
