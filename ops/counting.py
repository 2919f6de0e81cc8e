"""Counting: how often codes occur, and how many elements fall into bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dtypes import INT64, is_floating, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import divide, where
from graphnn.ops.axes import as_shape, whole_number
from graphnn.ops.broadcasting import sum
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import linspace, ones, zeros
from graphnn.ops.joining import slice_axis
from graphnn.ops.logic import equal, greater_equal, less, logical_and
from graphnn.ops.movement import ravel
from graphnn.ops.operands import as_node, cast_to, require_floating, widened
from graphnn.ops.reduction import max, min
from graphnn.ops.scattering import scatter_add
from graphnn.ops.searching import searchsorted, vector
from graphnn.ops.statistics import size_of

__all__ = ["bincount", "histogram"]


def _bincount(x: Any, weights: Any = None, length: int = 0) -> Any:
    is_code = np.asarray(x)[:, None] == np.arange(length)
    return is_code.sum(0) if weights is None else weights @ is_code


@operation(
    reference=_bincount,
    samples=[
        Sample(Arg((7,), 0, 3, kind="int"), length=4),
        Sample(Arg((7,), 0, 3, kind="int"), Arg((7,)), length=4),
        Sample(Arg((7,), -2, 5, kind="int"), Arg((7,)), length=3),
        Sample(Arg((0,), 0, 1, kind="int"), length=2),
        Sample(Arg((4,), 0, 3, kind="int"), Arg((4,)), length=0),
    ],
    rejects=[
        Reject(DTypeError, "bincount: codes must be integers, not float32", Arg((3,)), length=2),
        Reject(ShapeError, "codes must be 1-D, not (2, 2)", Arg((2, 2), 0, 1, "int"), length=2),
        Reject(
            ShapeError, "3 codes and weights of (2,)", Arg((3,), 0, 1, "int"), Arg((2,)), length=2
        ),
        Reject(ShapeError, "size -1 is negative", Arg((3,), 0, 1, "int"), length=-1),
    ],
    dtypes="if",
    corner="a code out of range, also a negative one, counts nowhere",
)
def bincount(x: Any, weights: Any = None, *, length: Any) -> Node:
    """How often every code from 0 to ``length - 1`` occurs, or the sum of its weights.

    Parameters
    ----------
    x : array_like or Node
        Codes: integers of shape ``(n,)``. As in :func:`one_hot`, whose rows this sums, those out
        of range are left out.
    weights : array_like or Node, optional
        ``(n,)``; the result is differentiable by them. Integers are summed in int64, half floats
        in float32.
    length : size
        Length of the result.

    Returns
    -------
    Node
        ``(length,)``, int64 or of the dtype of float weights.

    Raises
    ------
    DTypeError
        If the codes are not integers.
    ShapeError
        If there are not as many weights as codes.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.bincount([0, 2, 2, 7], length=4))
    array([1, 0, 2, 0])
    >>> gn.evaluate(gn.bincount([0, 2, 2, 7], [0.5, 1.0, 2.0, 4.0], length=4))
    array([0.5, 0. , 3. , 0. ], dtype=float32)
    """
    codes = as_node(x)
    if not is_integer(codes.dtype):
        raise DTypeError(
            f"bincount: codes must be integers, not {codes.dtype.name}",
            hint="gn.histogram counts floats, gn.digitize gives them codes",
        )
    codes = cast_to(vector("bincount", "codes", codes), INT64)
    (size,) = as_shape("bincount", length)
    added = _weights("bincount", "codes", codes, weights)
    is_inside = logical_and(greater_equal(codes, 0), less(codes, size_of(size, INT64)))
    # What lies outside goes to a place of its own behind the others, which is cut off.
    places = where(is_inside, codes, size_of(size, INT64))
    return slice_axis(scatter_add(zeros((size + 1,), added.dtype), places, added), 0, 0, size)


def _weights(what: str, word: str, counted: Node, weights: Any) -> Node:
    """One weight for everything that is counted, of a dtype that sums are taken in."""
    if weights is None:
        return ones(counted.shape, INT64)
    node = as_node(weights)
    if node.shape != counted.shape:
        number = counted.shape[0] if counted.ndim == 1 else shape_text(counted.shape)
        raise ShapeError(f"{what}: {number} {word} and weights of {shape_text(node.shape)}")
    return node if is_floating(node.dtype) else cast_to(node, INT64)


def _histogram(
    x: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool = False
) -> Any:
    return np.histogram(x, bins, range, density, weights)


_POINTS = Arg((6,), values=(0.0, 0.1, 0.3, 0.35, 0.6, 1.0))
_POSITIVE = Arg((6,), 0.5, 2.0)


@operation(
    reference=_histogram,
    samples=[
        Sample(_POINTS, 4),
        Sample(_POINTS, 3, (0.2, 0.9), _POSITIVE),
        Sample(Arg((2, 3), 0.1, 0.9), Arg((4,), values=(0.0, 0.05, 0.95, 1.0)), None, Arg((2, 3))),
        Sample(Arg((4,), values=(0.0, 1.0, 2.0, 2.0)), Arg((3,), values=(0.0, 1.0, 2.0))),
        Sample(_POINTS, 4, (-0.1, 1.1), _POSITIVE, density=True),
        Sample([2.0, 2.0, 2.0], 2),
        Sample(Arg((4,), values=(0.5, np.nan, 2.0, -1.0)), 2, (0.0, 1.0)),
    ],
    rejects=[
        Reject(ShapeError, "at least one bin is needed, not 0", Arg((3,)), 0),
        Reject(ShapeError, "bins must be 1-D, not (2, 2)", Arg((3,)), Arg((2, 2))),
        Reject(ShapeError, "2 edges at least, not 1", Arg((3,)), Arg((1,))),
        Reject(ShapeError, "(2, 3) elements and weights of (6,)", Arg((2, 3)), 2, None, Arg((6,))),
        Reject(ArgumentError, "range from 1.0 to 0.0", Arg((3,)), 2, (1.0, 0.0)),
        Reject(ArgumentError, "range from nan to 1.0", Arg((3,)), 2, (np.nan, 1.0)),
        Reject(ArgumentError, "range from 0.0 to inf", Arg((3,)), 2, (0.0, np.inf)),
        Reject(ShapeError, "give a range", Arg((0,)), 2),
    ],
    corner="bins contain their left end, the last also its right one; NaN counts nowhere",
)
def histogram(
    x: Any,
    bins: Any = 10,
    range: tuple[float, float] | None = None,
    weights: Any = None,
    density: bool = False,
) -> tuple[Node, Node]:
    """How many elements fall into every bin, and the edges of the bins.

    Parameters
    ----------
    x : array_like or Node
        Of any shape; integers become float32.
    bins : int or array_like or Node, default 10
        The number of bins of equal width, or the edges of all bins, ascending.
    range : (float, float), optional
        Of a number of bins: the first and the last edge. Default: the smallest and the largest
        element, and half a unit more on both sides if they are equal.
    weights : array_like or Node, optional
        Of the shape of ``x``: summed instead of counted; the result is differentiable by them.
    density : bool, default False
        Divide by the total and by the width of each bin: the integral is 1.

    Returns
    -------
    counts : Node
        ``(bins,)``: int64, of the dtype of float weights, or of that of the edges for a density.
    edges : Node
        ``(bins + 1,)``, of the dtype of ``x``.

    Raises
    ------
    ShapeError
        If there is no bin, or the weights do not have the shape of ``x``.
    ArgumentError
        If the range descends or is not finite.

    Examples
    --------
    >>> import graphnn as gn
    >>> counts, edges = gn.histogram([0.0, 0.1, 0.4, 1.0], bins=2)
    >>> gn.evaluate(counts), gn.evaluate(edges)
    (array([3, 1]), array([0. , 0.5, 1. ], dtype=float32))
    """
    given = require_floating("histogram", as_node(x))
    added = ravel(_weights("histogram", "elements", given, weights))
    points = ravel(widened(given))
    edges = _edges(points, bins, range)
    count = edges.shape[0] - 1
    codes = searchsorted(edges, points, side="right") - 1
    codes = where(equal(points, slice_axis(edges, 0, count, 1)), count - 1, codes)
    counts = bincount(codes, added, length=count)
    if density:
        widths = slice_axis(edges, 0, 1, count) - slice_axis(edges, 0, 0, count)
        counts = cast_to(counts, edges.dtype)
        counts = cast_to(divide(counts, sum(counts) * widths), given.dtype)
    return counts, cast_to(edges, given.dtype)


def _edges(points: Node, bins: Any, range: tuple[float, float] | None) -> Node:
    """The edges of all bins, ascending."""
    if isinstance(bins, Node) or np.ndim(bins):
        edges = cast_to(vector("histogram", "bins", bins), points.dtype)
        if isinstance(edges.shape[0], int) and edges.shape[0] < 2:
            raise ShapeError(f"histogram: bins have 2 edges at least, not {edges.shape[0]}")
        return edges
    count = whole_number("histogram", "the number of bins", bins)
    if count < 1:
        raise ShapeError(f"histogram: at least one bin is needed, not {count}")
    if range is not None:
        if not -np.inf < range[0] <= range[1] < np.inf:
            raise ArgumentError(
                f"histogram: the range from {range[0]} to {range[1]}",
                hint="both ends are finite, and the first is not above the second",
            )
        low, high = (constant(each, points.dtype) for each in range)
    elif points.size == 0:
        raise ShapeError("histogram of no elements", hint="give a range: range=(0.0, 1.0)")
    else:
        low, high = min(points), max(points)
    margin = 0.5 * cast_to(equal(low, high), points.dtype)
    return linspace(low - margin, high + margin, count + 1)
