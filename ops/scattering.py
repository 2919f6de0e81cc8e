"""Writing at indices: adding, setting, largest, smallest and products.

All ops index the leading axes, as ``gather`` does; that of adding, which is the transpose of
``gather``, stands beside it. Where several updates go to one place, all of them are added, the last
one is set, and the largest, the smallest or the product of all is kept, together with what was
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import INT64
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, register
from graphnn.ops.arithmetic import divide, multiply, where
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import broadcast_to, spread, to_shape
from graphnn.ops.chains import products_of_others
from graphnn.ops.constants import zeros_like
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import full, iota, ones_like
from graphnn.ops.gathering import (
    GATHER,
    SCATTER_ADD,
    ScatterOp,
    along_axis,
    broadcast_indices,
    index_node,
)
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.logic import equal
from graphnn.ops.movement import inverse_permutation, permute
from graphnn.ops.operands import as_node, cast_to, operands, widened
from graphnn.ops.weighted import gated

__all__ = [
    "put_along_axis",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_multiply",
    "scatter_set",
]


# ------------------------------------------------------------------------------------- the ops


class ScatterSetOp(ScatterOp, LinearOp):
    """``x`` with elements replaced by updates; of several for one place, the last one stays."""

    name = "scatter_set"
    linear_in = (0, 1)

    def write(self, rows: Array, place: Array, updates: Array) -> None:
        # NumPy does not promise an order for ``rows[place] = updates``: set every place once.
        last = np.full(len(rows), -1)
        np.maximum.at(last, place, np.arange(place.size))
        is_hit = last >= 0
        rows[is_hit] = updates[last[is_hit]]

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        _, updates, *indices = node.inputs
        if index == 0:
            return make_node(self, (cotangent, zeros_like(updates), *indices))
        shape = indices[0].shape
        number = to_shape(iota((product(shape),)), shape)
        places = full(node.shape[: len(indices)], -1, INT64)
        last = make_node(SCATTER_MAX, (places, number, *indices))
        stays = equal(make_node(GATHER, (last, *indices)), number)
        arriving = make_node(GATHER, (cotangent, *indices))
        trailing = range(len(shape), arriving.ndim)
        return where(spread(stays, trailing, arriving.shape), arriving, zeros_like(arriving))


class WeightedScatterOp(ScatterOp):
    """A scatter whose derivative adds weighted tangents up; a subclass gives ``weights``."""

    def weights(self, node: Node) -> tuple[Node, Node]:
        """The derivative of the result by ``x``, and by every update, in a wide float."""
        raise NotImplementedError(self.name)

    def weigh(self, weights: Node, value: Node) -> Node:
        """Weights times a tangent or cotangent, in a wide float."""
        return multiply(weights, widened(value))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """Weighted tangents, added at their places."""
        changes = [
            zeros_like(weights) if tangent is None else self.weigh(weights, tangent)
            for weights, tangent in zip(self.weights(node), tangents, strict=False)
        ]
        return cast_to(make_node(SCATTER_ADD, (*changes, *node.inputs[2:])), node.dtype)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        """The cotangent of every place, weighted for each that came there."""
        _, _, *indices = node.inputs
        arriving = (cotangent, make_node(GATHER, (cotangent, *indices)))
        by_input = [
            cast_to(self.weigh(weights, each), node.dtype)
            for weights, each in zip(self.weights(node), arriving, strict=True)
        ]
        return [*by_input, *(None for _ in indices)]


class ScatterExtremumOp(WeightedScatterOp):
    """The largest or smallest of what is there and the updates; ties share the derivative."""

    def __init__(self, name: str, ufunc: np.ufunc) -> None:
        self.name = name
        self.ufunc = ufunc

    def weights(self, node: Node) -> tuple[Node, Node]:
        """1 for the extremum, divided among ties, else 0; NaN wherever the extremum is NaN."""
        x, updates, *indices = node.inputs
        wide = widened(x).dtype
        x_wins = cast_to(equal(x, node), wide)
        update_wins = cast_to(equal(updates, make_node(GATHER, (node, *indices))), wide)
        winners = make_node(SCATTER_ADD, (x_wins, update_wins, *indices))
        rivals = make_node(GATHER, (winners, *indices))
        return divide(x_wins, winners), divide(update_wins, rivals)

    def weigh(self, weights: Node, value: Node) -> Node:
        """0 where the weight is, also where the value is inf or NaN."""
        return gated(weights, value)


class ScatterMultiplyOp(WeightedScatterOp):
    """``x`` times all updates for its place; the derivative uses no division."""

    name = "scatter_multiply"
    ufunc = np.multiply

    def weights(self, node: Node) -> tuple[Node, Node]:
        """For every factor, the product of all others of its place."""
        x, updates, *indices = (widened(node.inputs[0]), widened(node.inputs[1]), *node.inputs[2:])
        of_updates = make_node(self, (ones_like(x), updates, *indices))
        others = products_of_others(updates, indices, x.shape[: len(indices)])
        return of_updates, multiply(make_node(GATHER, (x, *indices)), others)


SCATTER_SET, SCATTER_MULTIPLY = ScatterSetOp(), ScatterMultiplyOp()
SCATTER_MAX = ScatterExtremumOp("scatter_max", np.maximum)
SCATTER_MIN = ScatterExtremumOp("scatter_min", np.minimum)
for _op in (SCATTER_SET, SCATTER_MULTIPLY, SCATTER_MAX, SCATTER_MIN):
    register(_op)


# ------------------------------------------------------------------------------- what users call


def _scattered(
    op: ScatterOp, x: Any, indices: Any, updates: Any, axis: int, accepts: str = "bif"
) -> Node:
    """What users call a scatter operator with; see :func:`scatter_add`."""
    into, updates = operands(op.name, [x, updates], accepts)
    first = normalize_axis(op.name, axis, into.ndim)
    given = indices if isinstance(indices, tuple) else (indices,)
    if not 0 < len(given) <= into.ndim - first:
        raise ShapeError(
            f"{op.name}: {len(given)} indices for {into.ndim - first} axes",
            hint="a tuple has one index for every axis; a list is one index",
        )
    sizes = into.shape[first : first + len(given)]
    chosen = [index_node(op.name, *pair) for pair in zip(given, sizes, strict=True)]
    places = broadcast_indices(op.name, chosen)
    last, n_index = first + len(given), places[0].ndim
    updates = broadcast_to(updates, (*into.shape[:first], *places[0].shape, *into.shape[last:]))
    updates = permute(updates, _to_front(updates.ndim, first, n_index))
    order = _to_front(into.ndim, first, len(given))
    result = make_node(op, (permute(into, order), updates, *places))
    return permute(result, inverse_permutation(order))


def _to_front(ndim: int, first: int, count: int) -> list[int]:
    """The order of axes that brings some neighbours to the front."""
    return [*range(first, first + count), *range(first), *range(first + count, ndim)]


_COMBINE: dict[str, Any] = {
    "set": lambda old, new: new,
    "add": np.add,
    "multiply": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _one_by_one(reduce: str) -> Any:
    """The reference: a loop over the updates."""

    def reference(x: Any, indices: Any, updates: Any, axis: int = 0) -> Any:
        result = np.array(x)
        given = np.broadcast_arrays(*(indices if isinstance(indices, tuple) else (indices,)))
        first, shape = axis % result.ndim, given[0].shape
        others = result.shape[first + len(given) :]
        whole = np.broadcast_to(updates, (*result.shape[:first], *shape, *others))
        every = (slice(None),) * first
        for at in np.ndindex(shape):
            place: Any = (*every, *(index[at] for index in given))
            result[place] = _COMBINE[reduce](result[place], whole[(*every, *at)])
        return result

    return reference


def _samples(*, distinct: bool = False) -> list[Sample]:
    """What every scatter operation is tested with."""

    def values(*shape: int) -> Arg:
        return Arg(shape, distinct=distinct)

    return [
        Sample(values(4, 3), Arg((2,), -4, 3, kind="int"), values(2, 3)),
        Sample(values(4), [1, 1, 1], values(3)),
        Sample(values(2, 4), [[0, 3], [3, 3]], values(2, 2, 2), -1),
        Sample(values(4, 3), 2, values(3)),
        Sample(values(4, 3), [0, 2], values()),
        Sample(values(4, 3), Arg((0,), 0, 3, kind="int"), values(0, 3)),
        Sample(values(2, 3), (Arg((4,), -2, 1, kind="int"), [2]), values(4)),
        Sample(values(2, 3, 2), ([[0], [2]], [1, 1, -1]), values(2, 2, 3), axis=1),
        Sample(values(0, 2), Arg((0,), 0, 1, kind="int"), values(0, 2)),
    ]


_REJECTS = (
    Reject(ShapeError, "index 4 is out of range", Arg((4, 3)), [4], Arg((1, 3))),
    Reject(ShapeError, "do not broadcast", Arg((4, 3)), [0, 1], Arg((3, 3))),
    Reject(ShapeError, "axis 2 is out of range", Arg((4, 3)), [0], Arg((1, 3)), 2),
    Reject(ShapeError, "3 indices for 2 axes", Arg((4, 3)), (0, 0, 0), Arg()),
    Reject(ShapeError, "0 indices", Arg((4, 3)), (), Arg((4, 3))),
    Reject(DTypeError, "must be integers", Arg((4,)), [0.5], Arg((1,))),
)


@operation(
    reference=_one_by_one("add"),
    samples=_samples(),
    rejects=_REJECTS,
    dtypes="ifc",
)
def scatter_add(x: Any, indices: Any, updates: Any, axis: int = 0) -> Node:
    """``x`` with ``updates`` added at ``indices`` along an axis; repeated indices add up.

    The transpose of :func:`take`, in a fixed order: results are the same bits every time.

    Parameters
    ----------
    x : array_like or Node
    indices : array_like or Node, or a tuple of them
        Integers of any shape. Of a tuple, each indexes an axis, from ``axis`` on; they
        broadcast together, as in ``x[i, j]``.
    updates : array_like or Node
        Broadcast to the shape of ``take(x, indices, axis)``.
    axis : int, default 0

    Returns
    -------
    Node
        Of the shape of ``x``.

    Examples
    --------
    A histogram:

    >>> import graphnn as gn
    >>> bins = gn.input("bins", shape=("n",), dtype="int64")
    >>> gn.scatter_add(gn.zeros(10), bins, 1.0).shape
    (10,)
    """
    return _scattered(SCATTER_ADD, x, indices, updates, axis, accepts="ifc")


@operation(
    reference=_one_by_one("set"),
    samples=_samples(),
    rejects=_REJECTS,
    dtypes="bifc",
    corner="the last update of a place is set and has the derivative; what it replaces has 0",
)
def scatter_set(x: Any, indices: Any, updates: Any, axis: int = 0) -> Node:
    """``x`` with elements at ``indices`` replaced: ``x[indices] = updates`` on a copy.

    Parameters
    ----------
    x : array_like or Node
    indices : array_like or Node, or a tuple of them
        Integers of any shape. Of a tuple, each indexes an axis, from ``axis`` on; they
        broadcast together, as in ``x[i, j]``.
    updates : array_like or Node
        Broadcast to the shape of ``take(x, indices, axis)``. If an index is repeated, the last
        of its updates in row-major order is set.
    axis : int, default 0

    Returns
    -------
    Node
        Of the shape of ``x``.

    Raises
    ------
    ShapeError
        If a known index is out of range (a `FeedError` when the program runs, for others), or
        the updates do not broadcast.
    DTypeError
        If an index is not integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(4,))
    >>> gn.evaluate(gn.scatter_set(x, [1, 3], [10.0, 30.0]), {x: [0.0, 1.0, 2.0, 3.0]})
    array([ 0., 10.,  2., 30.], dtype=float32)
    """
    return _scattered(SCATTER_SET, x, indices, updates, axis, "bifc")


_EXTREMUM_CORNER = "what ties, ``x`` included, shares the derivative equally; NaN wins"


@operation(
    reference=_one_by_one("max"),
    samples=_samples(distinct=True),
    rejects=_REJECTS,
    dtypes="bif",
    corner=_EXTREMUM_CORNER,
)
def scatter_max(x: Any, indices: Any, updates: Any, axis: int = 0) -> Node:
    """The largest of ``x`` and of all ``updates`` for its place; arguments as `scatter_set`.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> gn.evaluate(gn.scatter_max(x, [0, 0, 2], [5.0, 7.0, -1.0]), {x: [1.0, 2.0, 3.0]})
    array([7., 2., 3.], dtype=float32)
    """
    return _scattered(SCATTER_MAX, x, indices, updates, axis)


@operation(
    reference=_one_by_one("min"),
    samples=_samples(distinct=True),
    rejects=_REJECTS,
    dtypes="bif",
    corner=_EXTREMUM_CORNER,
)
def scatter_min(x: Any, indices: Any, updates: Any, axis: int = 0) -> Node:
    """The smallest of ``x`` and of all ``updates`` for its place; arguments as `scatter_set`."""
    return _scattered(SCATTER_MIN, x, indices, updates, axis)


@operation(
    reference=_one_by_one("multiply"),
    samples=[
        *_samples(),
        Sample(Arg((2,)), [0, 1, 0, 1, 0], Arg((5,), values=(2.0, 0.0, -1.0, 3.0, 2.0))),
        Sample(Arg((2,), values=(0.0, 3.0)), [0, 0, 1, 0, 1], Arg((5,), values=(2, 0, 1, 3, -1))),
        Sample(Arg((1,)), [0, 0, 0, 0], Arg((4,), values=(2.0, 0.0, -1.0, 0.0))),
        Sample(Arg((1,)), [0] * 7, Arg((7,), low=0.5)),
    ],
    rejects=_REJECTS,
    dtypes="ifc",
    corner="the derivative is right also where factors are 0, to any order",
)
def scatter_multiply(x: Any, indices: Any, updates: Any, axis: int = 0) -> Node:
    """``x`` times all ``updates`` for its place; arguments as those of :func:`scatter_set`."""
    return _scattered(SCATTER_MULTIPLY, x, indices, updates, axis, "ifc")


_REDUCTIONS: dict[str, tuple[ScatterOp, str]] = {
    "set": (SCATTER_SET, "bifc"),
    "add": (SCATTER_ADD, "ifc"),
    "multiply": (SCATTER_MULTIPLY, "ifc"),
    "max": (SCATTER_MAX, "bif"),
    "min": (SCATTER_MIN, "bif"),
}
"""The op of each ``reduce``, and the kinds of dtypes that it takes."""


def _put(x: Any, indices: Any, updates: Any, axis: int = -1, reduce: str = "set") -> Any:
    result = np.array(x)
    shape = list(result.shape)
    shape[axis] = np.shape(indices)[axis]
    chosen, whole = np.broadcast_to(indices, shape), np.broadcast_to(updates, shape)
    for at in np.ndindex(*shape):
        place = (*at[:axis], chosen[at], *at[axis:][1:])
        result[place] = _COMBINE[reduce](result[place], whole[at])
    return result


def _distinct(*shape: int) -> Arg:
    """Of real numbers, which have an order."""
    return Arg(shape, distinct=True, kind="real")


@operation(
    reference=_put,
    samples=[
        Sample(Arg((3, 4)), [[0, -1], [2, 3], [1, 0]], Arg((3, 2))),
        Sample(Arg((3, 4)), [[0, 2, 1, 1]], Arg(), axis=0),
        Sample(Arg((3, 4)), Arg((2, 4), 0, 2, kind="int"), Arg((2, 4)), 0, "add"),
        Sample(Arg((2, 3, 2)), [[[1], [1]]], Arg((2, 2, 2)), axis=1, reduce="multiply"),
        Sample(_distinct(3, 4), [[3, 3]], _distinct(3, 2), reduce="max"),
        Sample(_distinct(3, 4), [[3, 3]], _distinct(3, 2), reduce="min"),
        Sample(Arg((3, 4)), Arg((3, 0), 0, 3, kind="int"), Arg((3, 0))),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes, the indices 1", Arg((3, 4)), [0], Arg((1,))),
        Reject(ShapeError, "index 4 is out of range", Arg((2, 4)), [[0], [4]], Arg((2, 1))),
        Reject(DTypeError, "must be integers", Arg((2, 4)), [[0.0], [1.0]], Arg((2, 1))),
        Reject(ArgumentError, "'mean'", Arg((2, 4)), [[0]], Arg((2, 1)), reduce="mean"),
    ],
    dtypes="ifc",
    corner="where several updates go to one place, as scatter_set, scatter_add and so on",
)
def put_along_axis(x: Any, indices: Any, updates: Any, axis: int = -1, reduce: str = "set") -> Node:
    """``x`` with updates at an index of their own for every row: ``x[i, indices[i, j]]``.

    The counterpart of :func:`take_along_axis`.

    Parameters
    ----------
    x : array_like or Node
    indices : array_like or Node
        Integers, with as many axes as ``x``; the axes other than ``axis`` broadcast.
    updates : array_like or Node
        Broadcast to the shape of ``take_along_axis(x, indices, axis)``.
    axis : int, default -1
    reduce : {"set", "add", "multiply", "max", "min"}
        What an update does with what is there.

    Returns
    -------
    Node
        Of the shape of ``x``.

    Raises
    ------
    ArgumentError
        If ``reduce`` is none of these.

    Examples
    --------
    The score of the right class of every row, lowered by a margin:

    >>> import graphnn as gn
    >>> scores = gn.input("scores", shape=("batch", 3))
    >>> labels = gn.input("labels", shape=("batch",), dtype="int64")
    >>> lowered = gn.put_along_axis(scores, labels[:, None], -0.5, reduce="add")
    >>> gn.evaluate(lowered, {scores: [[1.0, 2.0, 3.0]], labels: [1]})
    array([[1. , 1.5, 3. ]], dtype=float32)
    """
    if reduce not in _REDUCTIONS:
        raise ArgumentError(
            f"put_along_axis: reduce is {reduce!r}",
            hint=f"it is one of {', '.join(map(repr, _REDUCTIONS))}",
        )
    x = as_node(x)
    places = along_axis("put_along_axis", x, indices, axis)
    op, accepts = _REDUCTIONS[reduce]
    return _scattered(op, x, places, updates, 0, accepts)
