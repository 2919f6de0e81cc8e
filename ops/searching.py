"""Searching in what is sorted, and what rests on it: bins, interpolation, positions."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import FLOAT32, INT64, is_half
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import clip, divide, floor_divide, mod, where
from graphnn.ops.axes import as_shape, whole_number
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import iota
from graphnn.ops.cumulative import cumsum
from graphnn.ops.gathering import gather
from graphnn.ops.logic import equal, greater, less, logical_or, not_equal
from graphnn.ops.movement import ravel
from graphnn.ops.operands import as_node, cast_to, operands, widened
from graphnn.ops.statistics import size_of

__all__ = ["digitize", "interp", "nonzero", "searchsorted"]

Side: TypeAlias = Literal["left", "right"]


# -------------------------------------------------------------------------------- searchsorted


class SearchsortedOp(Op):
    """For every value, how many elements of its ascending row come before it."""

    name = "searchsorted"
    axis_attrs = ()

    def infer(self, ordered: TensorSpec, values: TensorSpec, *, side: str) -> TensorSpec:
        if ordered.shape[:-1] != values.shape[:-1]:
            raise ShapeError(
                f"searchsorted: rows of {shape_text(ordered.shape)} and values of "
                f"{shape_text(values.shape)} differ in their leading axes",
                hint="one row for all values is 1-D; several have the values' leading axes",
            )
        return TensorSpec(values.shape, INT64)

    def evaluate(self, ordered: Array, values: Array, *, side: Side) -> Array:
        if is_half(values.dtype):
            ordered, values = ordered.astype(FLOAT32), values.astype(FLOAT32)
        if values.ndim == 1:
            return np.searchsorted(ordered, values, side)
        return _searched_rows(ordered, values, side)


def _searched_rows(ordered: Array, values: Array, side: Side) -> Array:
    """Binary search in all rows at once, a bit of the position at a time."""
    size = ordered.shape[-1]
    found = np.zeros(values.shape, INT64)
    for bit in reversed(range(size.bit_length())):
        further = found + (1 << bit)
        passed = np.take_along_axis(ordered, np.minimum(further, size) - 1, -1)
        if side == "left":
            comes_before = (passed < values) | ((values != values) & (passed == passed))
        else:
            comes_before = (passed <= values) | (values != values)
        found = np.where(comes_before & (further <= size), further, found)
    return found


SEARCHSORTED = SearchsortedOp()
register(SEARCHSORTED)


def _searchsorted(ordered: Any, values: Any, side: Side = "left") -> Any:
    if np.ndim(ordered) == 1:
        return np.searchsorted(ordered, values, side)
    found = np.empty(values.shape, np.int64)
    for place in np.ndindex(values.shape[:-1]):
        found[place] = np.searchsorted(ordered[place], values[place], side)
    return found


_ROW = Arg((5,), values=(-1.0, 0.0, 0.0, 1.0, 2.0))


@operation(
    reference=_searchsorted,
    samples=[
        Sample(_ROW, Arg((2, 3), -2, 3)),
        Sample(_ROW, Arg((4,), values=(0.0, -1.0, 2.0, 1.0))),
        Sample(_ROW, Arg((4,), values=(0.0, -1.0, 2.0, 1.0)), "right"),
        Sample(_ROW, Arg((), -2, 3)),
        Sample(_ROW, Arg((3,), -2, 3, kind="int"), "right"),
        Sample(
            Arg((2, 3), values=(-1.0, 0.0, 1.0, 0.0, 0.0, 2.0)),
            Arg((2, 4), values=(0.0, -2.0, 1.0, 5.0, 0.0, 2.0, 1.0, -1.0)),
        ),
        Sample(
            Arg((1, 2, 3), values=(-1.0, 0.0, 1.0, 0.0, 0.0, np.nan)),
            Arg((1, 2, 2), values=(0.0, np.nan, 0.0, np.nan)),
            "right",
        ),
        Sample(
            Arg((2, 2), values=(-1.0, np.nan, 0.0, np.inf)),
            Arg((2, 3), values=(np.nan, -np.inf, np.inf, np.nan, -np.inf, np.inf)),
        ),
        Sample(Arg((2, 0)), Arg((2, 3))),
        Sample(Arg((0,)), Arg((3,))),
        Sample(_ROW, Arg((0, 2))),
    ],
    rejects=[
        Reject(ShapeError, "has no axis to search", Arg(), Arg((3,))),
        Reject(ShapeError, "(2, 3) and values of (3, 4) differ", Arg((2, 3)), Arg((3, 4))),
        Reject(ShapeError, "(2, 3) and values of (4,) differ", Arg((2, 3)), Arg((4,))),
        Reject(ArgumentError, "side is 'left' or 'right', not 'middle'", _ROW, 0.0, "middle"),
    ],
    dtypes="if",
    differentiable=False,
    corner="NaN comes after every number; rows that are not ascending give arbitrary positions",
)
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Node:
    """Where values would have to be inserted into an ascending row to keep it in order.

    Parameters
    ----------
    sorted_sequence : array_like or Node
        Ascending along its last axis: ``(n,)`` for values of any shape, or ``(..., n)`` for
        values of shape ``(..., m)``, every row for its own.
    values : array_like or Node
    side : {"left", "right"}
        Before or after elements that are equal to the value.

    Returns
    -------
    Node
        Of the shape of ``values``, int64, from 0 to ``n``.

    Raises
    ------
    ShapeError
        If there are rows, and their leading axes are not those of the values.
    ArgumentError
        For another side.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.searchsorted([1.0, 2.0, 2.0, 3.0], [2.0, 5.0]))
    array([1, 4])
    >>> gn.evaluate(gn.searchsorted([1.0, 2.0, 2.0, 3.0], [2.0, 5.0], side="right"))
    array([3, 4])
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side is 'left' or 'right', not {side!r}")
    ordered, points = operands("searchsorted", [sorted_sequence, values], "bif")
    if ordered.ndim == 0:
        raise ShapeError("searchsorted: a 0-d array has no axis to search")
    if ordered.ndim > 1:
        return make_node(SEARCHSORTED, (ordered, points), {"side": side})
    found = make_node(SEARCHSORTED, (ordered, ravel(points)), {"side": side})
    return to_shape(found, points.shape)


@operation(
    reference=np.digitize,
    samples=[
        Sample(Arg((2, 3), -2, 3), _ROW),
        Sample(Arg((3,), values=(0.0, -1.0, 2.0)), _ROW),
        Sample(Arg((3,), values=(0.0, -1.0, 2.0)), _ROW, right=True),
    ],
    rejects=[Reject(ShapeError, "bins must be 1-D, not (2, 3)", Arg((3,)), Arg((2, 3)))],
    dtypes="if",
    differentiable=False,
    corner="NaN lies beyond the last bin",
)
def digitize(x: Any, bins: Any, right: bool = False) -> Node:
    """The number of the bin that holds a value: ``bins[i-1] <= x < bins[i]``.

    Parameters
    ----------
    x : array_like or Node
    bins : array_like or Node
        ``(n,)``, ascending.
    right : bool, default False
        ``bins[i-1] < x <= bins[i]`` instead: bins contain their right end.

    Returns
    -------
    Node
        Of the shape of ``x``, int64: 0 is below all bins, ``n`` above.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.digitize([0.2, 6.4, 1.0], [0.0, 1.0, 2.5]))
    array([1, 3, 2])
    """
    edges = vector("digitize", "bins", bins)
    return searchsorted(edges, x, side="left" if right else "right")


def vector(what: str, word: str, value: Any) -> Node:
    """A node with one axis."""
    node = as_node(value)
    if node.ndim != 1:
        raise ShapeError(f"{what}: {word} must be 1-D, not {shape_text(node.shape)}")
    return node


# --------------------------------------------------------------------- interpolation, positions


def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    return np.interp(x, xp, fp, left, right)


_KNOTS = Arg((4,), values=(-2.0, -0.5, 0.5, 1.5))
_BETWEEN = Arg((2, 3), values=(-1.0, 0.25, 0.75, 1.0, -0.75, 0.0))


@operation(
    reference=_interp,
    samples=[
        Sample(_BETWEEN, _KNOTS, Arg((4,))),
        Sample(Arg((3,), values=(-3.0, 0.0, 9.0)), _KNOTS, Arg((4,))),
        Sample(Arg((3,), values=(-3.0, 0.0, 9.0)), _KNOTS, Arg((4,)), 7.0, Arg()),
        Sample(Arg((), -0.25, 0.25), _KNOTS, Arg((4,))),
        Sample(Arg((3,), values=(-1.0, 2.0, 9.0)), Arg((1,), values=(0.5,)), Arg((1,)), 3.0),
        Sample(Arg((0,)), _KNOTS, Arg((4,))),
    ],
    rejects=[
        Reject(ShapeError, "xp must be 1-D, not (2, 2)", 0.0, Arg((2, 2)), Arg((2, 2))),
        Reject(ShapeError, "(4,) and (3,) differ", 0.0, Arg((4,)), Arg((3,))),
        Reject(ShapeError, "at least one knot", 0.0, Arg((0,)), Arg((0,))),
    ],
    corner="at a knot the derivative is that of the piece to its right, at the last of that to "
    "its left; outside of the knots it is 0 by x",
)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Node:
    """Linear interpolation: at ``x``, the polygon through the points ``(xp, fp)``.

    Differentiable by ``x``, ``xp`` and ``fp``.

    Parameters
    ----------
    x : array_like or Node
        Of any shape.
    xp, fp : array_like or Node
        Knots and values, both ``(n,)``, with n at least 1; the knots ascend.
    left, right : number or Node, optional
        The result below the first knot and above the last. Default: the first and last of ``fp``.

    Returns
    -------
    Node
        Of the shape of ``x``. Half floats are computed in float32.

    Raises
    ------
    ShapeError
        If ``xp`` and ``fp`` are not of one size, or empty.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.interp([0.5, 1.5, 9.0], [0.0, 1.0, 2.0], [0.0, 10.0, 0.0]))
    array([5., 5., 0.], dtype=float32)
    """
    given = operands("interp", [x, xp, fp], "f")
    dtype = given[0].dtype
    at, knots, values = map(widened, given)
    vector("interp", "xp", knots)
    if values.shape != knots.shape:
        raise ShapeError(
            f"interp: xp and fp of {shape_text(knots.shape)} and {shape_text(values.shape)} differ"
        )
    if knots.shape[0] == 0:
        raise ShapeError("interp: at least one knot is needed")
    is_below, is_above = less(at, knots[0]), greater(at, knots[-1])
    inside = _between_knots(at, knots, values, logical_or(is_below, is_above))
    below = values[0] if left is None else widened(as_node(left, dtype))
    above = values[-1] if right is None else widened(as_node(right, dtype))
    return cast_to(where(is_below, below, where(is_above, above, inside)), dtype)


def _between_knots(at: Node, knots: Node, values: Node, is_outside: Node) -> Node:
    """The polygon at places between its knots; what it is outside does not matter."""
    last = size_of(knots.shape[0], INT64) - 2
    # Of a single knot, the piece starts at -1 and ends at 0: both are that knot.
    start = clip(searchsorted(knots, at, side="right") - 1, 0, last)
    low, high = gather(knots, start), gather(knots, start + 1)
    width = high - low
    is_point = equal(width, 0.0)
    # Far outside, products with infinities would spoil derivatives that are 0.
    distance = where(is_outside, low, at) - low
    part = where(is_point, 1.0, divide(distance, where(is_point, 1.0, width)))
    return (1.0 - part) * gather(values, start) + part * gather(values, start + 1)


def _nonzero(x: Any, size: int, fill_value: int = 0) -> Any:
    found = [each[:size] for each in np.nonzero(x)]
    return [np.append(each, [fill_value] * (size - len(each))).astype(np.int64) for each in found]


@operation(
    reference=_nonzero,
    samples=[
        Sample(Arg((6,), values=(0.0, 2.0, np.nan, -0.0, -1.0, 0.0)), 4),
        Sample(Arg((3, 4), -1, 1, kind="int"), 12, -1),
        Sample(Arg((2, 3, 2), kind="bool"), 2),
        Sample(Arg((3,)), 0),
        Sample(Arg((2, 0)), 3),
    ],
    rejects=[
        Reject(ShapeError, "0-d", Arg(), 2),
        Reject(ShapeError, "size -1 is negative", Arg((3,)), -1),
        Reject(ShapeError, "fill_value must be an integer", Arg((3,)), 2, 0.5),
    ],
    dtypes="bifc",
    differentiable=False,
    corner="NaN is not 0",
)
def nonzero(x: Any, size: Any, fill_value: int = 0) -> tuple[Node, ...]:
    """The indices of the elements that are not 0, in row-major order, of a size fixed beforehand.

    Parameters
    ----------
    x : array_like or Node
        Of any dtype, with at least one axis.
    size : size
        Length of the results. If there are more, the last are left out;
        :func:`count_nonzero` tells how many there are.
    fill_value : int, default 0
        Stands at the end where there are fewer.

    Returns
    -------
    tuple of Node
        For every axis, the positions along it: ``(size,)``, int64. ``gn.gather(x, *result)``
        gives the elements.

    Raises
    ------
    ShapeError
        If ``x`` is 0-d, or the size is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> rows, columns = gn.nonzero([[0, 7], [7, 7]], size=4, fill_value=-1)
    >>> gn.evaluate(rows), gn.evaluate(columns)
    (array([ 0,  1,  1, -1]), array([ 1,  0,  1, -1]))
    """
    x, filler = as_node(x), whole_number("nonzero", "fill_value", fill_value)
    (length,) = as_shape("nonzero", size)
    if x.ndim == 0:
        raise ShapeError("nonzero: a 0-d array has no indices", hint="gn.ravel(x) has one axis")
    number = cumsum(cast_to(ravel(not_equal(x, 0)), INT64))
    # Where the running number reaches 1, 2 and so on; beyond the end, if it does not.
    flat = searchsorted(number, iota((length,)) + 1)
    is_found = less(flat, size_of(product(x.shape), INT64))
    indices: list[Node] = []
    for size_of_axis in reversed(x.shape):
        count = size_of(size_of_axis, INT64)
        indices.insert(0, where(is_found, mod(flat, count), filler))
        flat = floor_divide(flat, count)
    return tuple(indices)
