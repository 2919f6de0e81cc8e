"""Reductions over segments: rows that bear one number become one row, wherever they stand.

The names are those of ``jax.ops``. In a graph, the messages of edges are reduced like this at
their nodes. All are scatters into ``count`` rows; the numbers need not be sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dtypes import INT64, DType, is_bool, is_floating, is_inexact
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import divide, maximum
from graphnn.ops.axes import as_shape
from graphnn.ops.broadcasting import spread
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import full, ones
from graphnn.ops.gathering import SCATTER_ADD, ScatterOp, index_node
from graphnn.ops.operands import as_node, as_real, cast_to, require_inexact, widened
from graphnn.ops.scattering import SCATTER_MAX, SCATTER_MIN, SCATTER_MULTIPLY

__all__ = ["segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum"]


def _numbers(what: str, x: Node, segments: Any, count: Any) -> Node:
    """The number of every row's segment, checked."""
    (size,) = as_shape(what, (count,))
    numbers = index_node(what, segments, size)
    if x.shape[: numbers.ndim] != numbers.shape:
        raise ShapeError(
            f"{what}: the numbers have shape {shape_text(numbers.shape)}, "
            f"the array {shape_text(x.shape)}",
            hint="every row needs a number: the array's shape starts with that of the numbers",
        )
    return numbers


def _reduced(op: ScatterOp, x: Node, numbers: Node, count: Any, start: Any) -> Node:
    """``x`` scattered into ``count`` rows of ``start``."""
    into = full((count, *x.shape[numbers.ndim :]), start, x.dtype)
    return make_node(op, (into, x, numbers))


def _counted(x: Node) -> Node:
    """Integers and bools are summed and multiplied in int64."""
    return x if is_inexact(x.dtype) else cast_to(x, INT64)


# ---------------------------------------------------------------------- references and samples


def _by_segment(reduce: Any) -> Any:
    """The reference: a loop over segments; ``reduce`` gets the rows of one."""

    def reference(x: Any, segments: Any, count: int) -> Any:
        x, numbers = np.asarray(x), np.asarray(segments, np.int64)
        numbers = np.where(numbers < 0, numbers + count, numbers)
        rows = [reduce(x[numbers == number]) for number in range(max(count, 1))]
        return np.stack(rows)[:count]

    return reference


def _mean(rows: Any) -> Any:
    wide = np.result_type(rows.dtype, np.float64)
    return np.sum(rows, axis=0, dtype=wide) / np.maximum(len(rows), 1)


def _largest(rows: Any) -> Any:
    if rows.dtype == bool:
        return np.any(rows, axis=0)
    least = -np.inf if rows.dtype.kind == "f" else np.iinfo(rows.dtype).min
    return np.max(rows, axis=0, initial=least)


def _smallest(rows: Any) -> Any:
    if rows.dtype == bool:
        return np.all(rows, axis=0)
    greatest = np.inf if rows.dtype.kind == "f" else np.iinfo(rows.dtype).max
    return np.min(rows, axis=0, initial=greatest)


def _samples(*, distinct: bool = False) -> list[Sample]:
    def values(*shape: int) -> Arg:
        return Arg(shape, distinct=distinct)

    return [
        Sample(values(6, 2), [2, 0, 2, 3, 0, 2], 5),
        Sample(values(7), Arg((7,), 0, 2, kind="int"), 3),
        Sample(values(5, 2, 2), Arg((5,), -3, 2, kind="int"), 3),
        Sample(values(2, 3, 2), [[0, 1, 1], [1, 3, 0]], 4),
        Sample(values(4), [0, 0, 0, 0], count=1),
        Sample(values(0, 3), Arg((0,), 0, 1, kind="int"), 2),
        Sample(values(0, 3), Arg((0,), 0, 1, kind="int"), 0),
    ]


_REJECTS = (
    Reject(ShapeError, "index 3 is out of range for 3 elements", Arg((2, 3)), [0, 3], 3),
    Reject(ShapeError, "the numbers have shape (3,), the array (2, 3)", Arg((2, 3)), [0, 1, 2], 3),
    Reject(ShapeError, "size -1 is negative", Arg((2,)), [0, 0], -1),
    Reject(DTypeError, "must be integers", Arg((2,)), [0.0, 1.0], 2),
)


# ------------------------------------------------------------------------------- what users call


@operation(
    reference=_by_segment(lambda rows: np.sum(rows, axis=0)),
    samples=_samples(),
    rejects=_REJECTS,
    dtypes="bifc",
    corner="an empty segment gives 0",
)
def segment_sum(x: Any, segments: Any, count: Any) -> Node:
    """Sums of the rows of every segment: ``y[k] = sum of x[i] where segments[i] = k``.

    Parameters
    ----------
    x : array_like or Node
        Booleans and integers are summed in int64; half floats in float32.
    segments : array_like or Node
        Integers, the number of every row's segment, in any order; usually 1-D. Its shape is
        what the shape of ``x`` starts with. Negative numbers count from the end.
    count : size
        How many segments there are; may be a named dimension.

    Returns
    -------
    Node
        ``count`` rows.

    Raises
    ------
    ShapeError
        If the numbers do not fit the array, or a known one is out of range (a `FeedError` when
        the program runs, for others).
    DTypeError
        If they are not integers.

    Examples
    --------
    What the nodes of a graph receive from its edges:

    >>> import graphnn as gn
    >>> messages = gn.input("messages", shape=("edges", 2))
    >>> target = gn.input("target", shape=("edges",), dtype="int64")
    >>> received = gn.segment_sum(messages, target, 3)
    >>> feeds = {messages: [[1.0, 1.0], [2.0, 0.0], [3.0, 5.0]], target: [0, 2, 0]}
    >>> gn.evaluate(received, feeds)
    array([[4., 6.],
           [0., 0.],
           [2., 0.]], dtype=float32)
    """
    x = _counted(as_node(x))
    numbers = _numbers("segment_sum", x, segments, count)
    return _reduced(SCATTER_ADD, x, numbers, count, 0)


@operation(
    reference=_by_segment(_mean),
    samples=_samples(),
    rejects=_REJECTS,
    dtypes="bifc",
    corner="an empty segment gives 0",
)
def segment_mean(x: Any, segments: Any, count: Any) -> Node:
    """Means of the rows of every segment; arguments as those of :func:`segment_sum`.

    Booleans and integers become float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.segment_mean([1.0, 2.0, 5.0], [0, 2, 0], 3), {})
    array([3., 0., 2.], dtype=float32)
    """
    x = require_inexact(as_node(x))
    numbers = _numbers("segment_mean", x, segments, count)
    total = _reduced(SCATTER_ADD, widened(x), numbers, count, 0)
    # In int64: counting in float32 ends at 2**24.
    members = _reduced(SCATTER_ADD, ones(numbers.shape, INT64), numbers, count, 0)
    divisor = cast_to(maximum(members, 1), total.dtype)
    return cast_to(divide(total, spread(divisor, range(1, total.ndim), total.shape)), x.dtype)


def _lowest(dtype: DType) -> Any:
    """What every value of a dtype is at least."""
    return -np.inf if is_floating(dtype) else False if is_bool(dtype) else np.iinfo(dtype).min


def _highest(dtype: DType) -> Any:
    """What every value of a dtype is at most."""
    return np.inf if is_floating(dtype) else True if is_bool(dtype) else np.iinfo(dtype).max


@operation(
    reference=_by_segment(_largest),
    samples=_samples(distinct=True),
    rejects=_REJECTS,
    dtypes="bif",
    corner="ties share the derivative equally; NaN wins; an empty segment gives the least value "
    "of the dtype (-inf), with which elements of that value tie",
)
def segment_max(x: Any, segments: Any, count: Any) -> Node:
    """The largest of the rows of every segment; arguments as those of :func:`segment_sum`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.segment_max([1.0, 2.0, 5.0], [0, 2, 0], 3), {})
    array([  5., -inf,   2.], dtype=float32)
    """
    x = as_real("segment_max", x)
    numbers = _numbers("segment_max", x, segments, count)
    return _reduced(SCATTER_MAX, x, numbers, count, _lowest(x.dtype))


@operation(
    reference=_by_segment(_smallest),
    samples=_samples(distinct=True),
    rejects=_REJECTS,
    dtypes="bif",
    corner="ties share the derivative equally; NaN wins; an empty segment gives the greatest "
    "value of the dtype (inf), with which elements of that value tie",
)
def segment_min(x: Any, segments: Any, count: Any) -> Node:
    """The smallest of the rows of every segment; arguments as those of :func:`segment_sum`."""
    x = as_real("segment_min", x)
    numbers = _numbers("segment_min", x, segments, count)
    return _reduced(SCATTER_MIN, x, numbers, count, _highest(x.dtype))


@operation(
    reference=_by_segment(lambda rows: np.prod(rows, axis=0)),
    samples=[
        *_samples(),
        Sample(Arg((6,), values=(2.0, 0.0, -1.5, 0.0, 3.0, 0.5)), [0, 1, 0, 1, 1, 0], 2),
        Sample(Arg((4, 2), values=(0.0, 2.0, -1.5, 0.0, 3.0, 0.5, 1.0, 0.0)), [1, 1, 1, 1], 2),
    ],
    rejects=_REJECTS,
    dtypes="bifc",
    corner="an empty segment gives 1; the derivative is right also where elements are 0",
)
def segment_prod(x: Any, segments: Any, count: Any) -> Node:
    """Products of the rows of every segment; arguments as those of :func:`segment_sum`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.segment_prod([3.0, 2.0, 5.0], [0, 2, 0], 3), {})
    array([15.,  1.,  2.], dtype=float32)
    """
    x = _counted(as_node(x))
    numbers = _numbers("segment_prod", x, segments, count)
    return _reduced(SCATTER_MULTIPLY, x, numbers, count, 1)
