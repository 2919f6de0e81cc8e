"""Medians and quantiles: what stands at a given place among sorted elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import FLOAT64, INT64
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.axes import normalize_axes
from graphnn.ops.broadcasting import keep_axes, to_shape
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.gathering import gather
from graphnn.ops.logic import equal, isfinite, isnan
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node, cast_to, require_floating, widened
from graphnn.ops.reduction import REDUCTION_REJECTS, reduction_samples
from graphnn.ops.rounding import ceil, floor, round
from graphnn.ops.sorting import sort
from graphnn.ops.statistics import size_of

__all__ = ["median", "quantile"]

METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def _quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    as_numpy_has_it: Any = np.quantile  # which is typed for methods spelled out
    return as_numpy_has_it(x, q, axis=axis, method=method, keepdims=keepdims)


_X = Arg((2, 5), distinct=True)


@operation(
    reference=_quantile,
    samples=[
        Sample(_X, 0.3),
        Sample(_X, (0.0, 0.25, 1.0), 1),
        Sample(Arg((3, 2, 2), distinct=True), ((0.1, 0.5),), (0, -1), keepdims=True),
        Sample(_X, Arg((2,), values=(0.3, 0.85)), -1),
        *(Sample(_X, (0.0, 0.3, 0.375, 0.45, 0.625, 1.0), 1, method) for method in METHODS[1:]),
        Sample(Arg((2, 2), values=(1.0, np.nan, 2.0, 3.0)), 0.5, 1),
        Sample(Arg(), 0.5),
        Sample(Arg((2, 0)), 0.5, 0),
    ],
    rejects=[
        Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 0.5, 2),
        Reject(ShapeError, "quantile of empty: axes (0,) of (0, 3)", Arg((0, 3)), 0.5, 0),
        Reject(ArgumentError, "q is a part between 0 and 1, not 50.0", Arg((3,)), [0.5, 50]),
        Reject(ArgumentError, "q is a part between 0 and 1, not nan", Arg((3,)), np.nan),
        Reject(ArgumentError, "method 'weibull'", Arg((3,)), 0.5, None, "weibull"),
    ],
    dtypes="if",
    corner="NaN if there is one; among ties, the derivative follows the stable order",
)
def quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Node:
    """The value below which a part ``q`` of the elements lies: at ``q * (n - 1)`` in order.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32.
    q : float, array_like or Node
        Between 0 and 1, of any shape.
    axis : int or tuple of int, optional
        Default: all. Axes may have named sizes.
    method : {"linear", "lower", "higher", "nearest", "midpoint"}
        What to take between two elements: in proportion, one of them, the nearer (in the middle,
        that of the even place), or their mean.
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node
        The axes of ``q``, followed by those of ``x`` that are left. Differentiable by ``x``, and
        with "linear" by ``q``.

    Raises
    ------
    ShapeError
        If there are no elements.
    ArgumentError
        If a known ``q`` is outside of [0, 1], or there is no such method.

    References
    ----------
    R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages", The American
    Statistician 50 (1996), 361-365: "linear" is their definition 7.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.quantile([1.0, 2.0, 4.0, 8.0], [0.5, 0.9]))
    array([3. , 6.8], dtype=float32)
    """
    if method not in METHODS:
        raise ArgumentError(
            f"quantile: there is no method {method!r}", hint="one of " + ", ".join(METHODS)
        )
    return _at_part("quantile", x, _part(q), axis, method, keepdims)


def _part(q: Any) -> Node:
    """What part of the elements lies below, in float64, so that places come out exactly."""
    if isinstance(q, Node):
        return cast_to(q, FLOAT64)
    known = constant(q, FLOAT64)
    values = known.attrs["value"].array
    outside = values[~((values >= 0.0) & (values <= 1.0))]
    if outside.size:
        raise ArgumentError(
            f"quantile: q is a part between 0 and 1, not {outside[0]}",
            hint="divide percentages by 100",
        )
    return known


def _at_part(what: str, x: Any, q: Node, axis: Any, method: str, keepdims: bool) -> Node:
    given = require_floating(what, as_node(x))
    axes = normalize_axes(what, axis, given.ndim)
    others = [each for each in range(given.ndim) if each not in axes]
    rest = tuple(given.shape[each] for each in others)
    count = product(given.shape[each] for each in axes)
    if count == 0:
        raise ShapeError(
            f"{what} of empty: axes {axes} of {shape_text(given.shape)} have no elements",
            hint="concatenate a value that it should be then",
        )
    column = to_shape(permute(widened(given), [*axes, *others]), (count, *rest))
    ordered = sort(column, axis=0)
    value = _value_at(ordered, q * size_of(count - 1, FLOAT64), method)
    greatest = ordered[-1]
    value = cast_to(where(isnan(greatest), greatest, value), given.dtype)
    kept = keep_axes(given.shape, axes) if keepdims else rest
    return to_shape(value, (*q.shape, *kept))


def _value_at(ordered: Node, place: Node, method: str) -> Node:
    """What stands at places, which may lie between two rows."""
    before, after = floor(place), ceil(place)
    if method == "nearest":
        return gather(ordered, cast_to(round(place), INT64))
    low, high = (gather(ordered, cast_to(each, INT64)) for each in (before, after))
    if method in ("lower", "higher"):
        return low if method == "lower" else high
    part = cast_to(place - before, ordered.dtype)
    part = to_shape(part, (*place.shape, *(1,) * (ordered.ndim - 1)))
    is_row = equal(part, 0.0)
    if method == "midpoint":
        part = where(is_row, part, 0.5)
    gap = high - low
    # The first form gives the value exactly where both are equal, the second knows infinities.
    between = where(isfinite(gap), low + part * gap, (1.0 - part) * low + part * high)
    return where(is_row, low, between)


@operation(
    reference=np.median,
    samples=[
        *reduction_samples(distinct=True, empty=False),
        Sample(Arg((3, 5), distinct=True), 1),
        Sample(Arg((2, 3), values=(1.0, np.nan, 0.0, np.inf, np.inf, 2.0)), 1),
    ],
    rejects=[*REDUCTION_REJECTS, Reject(ShapeError, "median of empty", Arg((0, 3)), 0)],
    dtypes="if",
    corner="of an even number the mean of the two in the middle, as in NumPy and JAX "
    "(torch.median takes the lower); NaN if there is one",
)
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The element in the middle, or the mean of both that are: ``quantile(x, 0.5)``.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32.
    axis : int or tuple of int, optional
        Default: all. Axes may have named sizes.
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If there are no elements.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.median([[1.0, 9.0, 2.0, 4.0]], axis=1))
    array([3.], dtype=float32)
    """
    return _at_part("median", x, constant(0.5, FLOAT64), axis, "linear", keepdims)
