"""Pooling by means and norms: what a sliding window sees, added up and divided.

Both are sums over windows (see :mod:`graphnn.ops.windows`), so their derivatives add up what
arrives at every place over the window that was seen from there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from graphnn.core.dims import Shape
from graphnn.core.dtypes import DType
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.arithmetic import abs, divide, square
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import ones
from graphnn.ops.geometry import Window
from graphnn.ops.operands import as_node, cast_to, require_floating, widened
from graphnn.ops.pooling import pooling_window, refuse_padding_alone, rounded_up
from graphnn.ops.statistics import safe_power, safe_sqrt
from graphnn.ops.window_references import seen_windows
from graphnn.ops.windows import pad_spatial, window_sum, without_padding

__all__ = ["avg_pool", "lp_pool"]


def _avg_pool(
    x: Any, window: Any, stride: Any = None, count_include_pad: bool = True, **options: Any
) -> Array:
    step = window if stride is None else stride
    fill = 0.0 if count_include_pad else np.nan
    seen = seen_windows(np.asarray(x, float), window, step, fill=fill, beyond=np.nan, **options)
    return np.asarray(np.nanmean(seen, axis=tuple(range(2 - np.ndim(x), 0))))


@operation(
    reference=_avg_pool,
    samples=[
        Sample(Arg((2, 3, 8)), 2),
        Sample(Arg((1, 2, 5, 6)), (2, 4), stride=(2, 1), padding=1),
        Sample(Arg((1, 2, 5, 6)), (2, 4), stride=(2, 1), padding=1, count_include_pad=False),
        Sample(Arg((1, 1, 6, 7)), 2, stride=3, dilation=(2, 3), ceil_mode=True),
        Sample(Arg((1, 2, 7)), 4, stride=3, padding=((1, 2),), ceil_mode=True),
        Sample(Arg((1, 1, 4, 3, 5)), 2, padding="same", ceil_mode=True, count_include_pad=False),
        Sample(Arg((1, 1, 2)), 2, padding="full"),
        Sample(Arg((0, 2, 4, 4)), 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 1 axes", Arg((3,)), 2),
        Reject(ShapeError, "the window does not fit along spatial axis 0", Arg((1, 2, 3)), 4),
        Reject(
            ShapeError,
            "sees nothing but padding",
            Arg((1, 2, 4)),
            2,
            padding=2,
            count_include_pad=False,
        ),
    ],
    dtypes="bif",
)
def avg_pool(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """The mean of what a sliding window sees, at every place.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``. Integers become float32; half floats are
        summed in float32.
    window, stride, padding, dilation, ceil_mode
        As for :func:`max_pool`.
    count_include_pad : bool, default True
        Whether the zeros of the padding count as elements. What lies beyond the padding, where
        ``ceil_mode`` lets windows reach, never counts.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *places)``.

    Raises
    ------
    ShapeError
        If there is no spatial axis, the window does not fit, or one sees nothing that counts.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = [[[3.0, 6.0, 9.0]]]
    >>> gn.evaluate(gn.avg_pool(x, 3, stride=1, padding=1))
    array([[[3., 6., 5.]]], dtype=float32)
    >>> gn.evaluate(gn.avg_pool(x, 3, stride=1, padding=1, count_include_pad=False))
    array([[[4.5, 6. , 7.5]]], dtype=float32)
    """
    given = require_floating("avg_pool", as_node(x))
    described = pooling_window("avg_pool", given, window, stride, padding, dilation)
    seen = rounded_up(described) if ceil_mode else described
    spatial, wide = given.shape[2:], widened(given)
    if not count_include_pad:
        refuse_padding_alone("avg_pool", seen, spatial)
    counts = _counts(described, seen, spatial, wide.dtype, count_include_pad)
    return cast_to(divide(window_sum(wide, seen), counts), given.dtype)


def _counts(
    described: Window, seen: Window, spatial: Shape, dtype: DType, count_include_pad: bool
) -> Node:
    """How many elements count at every place; ``seen`` may reach beyond what is described."""
    if seen == described and (count_include_pad or not seen.pads):
        return constant(prod(seen.size), dtype)
    in_padding = float(count_include_pad)
    counted = pad_spatial(ones(spatial, dtype), described.low, described.high, in_padding)
    beyond = (ahead - near for ahead, near in zip(seen.high, described.high, strict=True))
    return window_sum(counted, replace(without_padding(seen), high=tuple(beyond)))


def _lp_pool(x: Any, p: float, window: Any, stride: Any = None, **options: Any) -> Array:
    step = window if stride is None else stride
    seen = seen_windows(np.asarray(x, float), window, step, **options)
    powers = np.sum(np.abs(seen) ** p, axis=tuple(range(2 - np.ndim(x), 0)))
    return np.asarray(powers ** (1.0 / p))


@operation(
    reference=_lp_pool,
    samples=[
        Sample(Arg((2, 3, 8)), 2, 2),
        Sample(Arg((1, 2, 5, 6)), 2.0, (2, 3), stride=(2, 1), padding=1),
        Sample(Arg((1, 1, 6, 7), distinct=True, low=-4.0, high=4.0), 3, 2, dilation=(2, 3)),
        Sample(Arg((1, 1, 7), distinct=True), 1, 3, stride=2),
        Sample(Arg((1, 1, 8), low=0.5), 0.5, 3, ceil_mode=True),
        Sample(Arg((1, 1, 4, 3, 5)), 2, 2, padding="same"),
        Sample(Arg((0, 2, 4, 4)), 3, 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2, 2),
        Reject(ShapeError, "the window does not fit along spatial axis 0", Arg((1, 2, 3)), 2, 4),
        Reject(ArgumentError, "p must be a positive number, not 0", Arg((1, 2, 4)), 0, 2),
        Reject(ArgumentError, "p must be a positive number, not 'fro'", Arg((1, 2, 4)), "fro", 2),
        Reject(ArgumentError, "p must be a positive number, not inf", Arg((1, 2, 4)), math.inf, 2),
    ],
    dtypes="bif",
    corner="derivative 0 where all that a window sees is 0, as of `norm`; PyTorch gives NaN",
)
def lp_pool(
    x: Any,
    p: float,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Node:
    """The norm ``sum(abs(x)**p) ** (1/p)`` of what a sliding window sees, at every place.

    For even ``p`` that is PyTorch's, which takes powers of the signed elements; and PyTorch
    scales up those windows that ``ceil_mode`` lets reach beyond the array.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``. Integers become float32; half floats are
        computed in float32.
    p : float
        Positive: 2 for the Euclidean norm. For infinity use ``max_pool(abs(x), window)``.
    window, stride, padding, dilation, ceil_mode
        As for :func:`max_pool`; the padding is zeros.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *places)``.

    Raises
    ------
    ShapeError
        If there is no spatial axis or the window does not fit.
    ArgumentError
        If ``p`` is no positive number.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.lp_pool([[[3.0, -4.0, 5.0, 12.0]]], 2, 2))
    array([[[ 5., 13.]]], dtype=float32)
    """
    order = _order(p)
    given = require_floating("lp_pool", as_node(x))
    seen = pooling_window("lp_pool", given, window, stride, padding, dilation)
    seen = rounded_up(seen) if ceil_mode else seen
    wide = widened(given)
    if order == 2:
        return cast_to(safe_sqrt(window_sum(square(wide), seen)), given.dtype)
    powers = window_sum(safe_power(abs(wide), order), seen)
    return cast_to(safe_power(powers, 1.0 / order), given.dtype)


def _order(p: Any) -> float:
    """The order of a norm.

    Raises
    ------
    ArgumentError
        If it is no positive number.
    """
    is_number = isinstance(p, int | float | np.number) and not isinstance(p, bool)
    if not is_number or not 0 < p < math.inf:
        raise ArgumentError(
            f"lp_pool: p must be a positive number, not {p!r}",
            hint="for the largest absolute value use gn.max_pool(gn.abs(x), window)",
        )
    return float(p)
