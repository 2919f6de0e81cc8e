"""Pooling to a given size, and over all of space: for networks that take images of any size.

Place ``i`` of ``size`` sees the elements from ``floor(i * n / size)`` up to, but without,
``ceil((i + 1) * n / size)`` of an axis of ``n`` elements, as in PyTorch: windows of one or two
sizes, which may overlap. Where they are all alike, an axis is only split; else the elements of
every window are gathered side by side, the short ones filled up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Size, exact_quotient
from graphnn.core.dtypes import INT64
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.arithmetic import add, divide, floor_divide, mod, multiply, where
from graphnn.ops.axes import whole_number
from graphnn.ops.broadcasting import sum, to_shape
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.gathering import gather
from graphnn.ops.geometry import for_each_axis
from graphnn.ops.indexing import take
from graphnn.ops.operands import as_node, as_real, cast_to, require_floating, widened
from graphnn.ops.pooling import max_pool
from graphnn.ops.reduction import max
from graphnn.ops.statistics import mean
from graphnn.ops.windows import spatial_axes

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "global_avg_pool", "global_max_pool"]


# ---------------------------------------------------------------------------------- the windows


def _window_ends(n: int, size: int) -> tuple[Array, Array]:
    """Where the windows begin, and where they end."""
    place = np.arange(size)
    return place * n // size, -(-(place + 1) * n // size)


def _places(n: int, size: int) -> Array:
    """What every window sees, ``(size, longest)``; short ones see their last element again."""
    start, end = _window_ends(n, size)
    longest = int((end - start).max())
    places: Array = np.minimum(start[:, None] + np.arange(longest), end[:, None] - 1)
    return places


def _known(what: str, n: Size, size: Size, hint: str) -> int:
    """The size of an axis that must be known."""
    if not isinstance(n, int):
        raise ShapeError(f"{what}: windows of {n} elements for {size} places", hint=hint)
    if n == 0:
        raise ShapeError(
            f"{what}: 0 elements for {size} places: a spatial axis has no elements",
            hint="every spatial axis needs an element",
        )
    return n


def _target_sizes(what: str, x: Node, size: Any) -> list[tuple[int, Size, Size]]:
    """For every spatial axis its number, its size, and the size it is pooled to.

    Raises
    ------
    ShapeError
    """
    wanted = for_each_axis(what, "size", size, spatial_axes(what, x))
    targets = []
    for axis, n, each in zip(range(2, x.ndim), x.shape[2:], wanted, strict=True):
        target = n if each is None else whole_number(what, "size", each)
        if isinstance(target, int) and target < 1:
            raise ShapeError(
                f"{what}: {n} elements cannot be pooled to {target}",
                hint="a positive number, or None to leave the axis as it is",
            )
        targets.append((axis, n, target))
    return targets


# ----------------------------------------------------------------------------- what users call


def _each_window(function: Callable[..., Any], x: Any, size: Any, dtype: Any) -> Array:
    """For references: a function of what every window sees, and of where that lies."""
    x = np.asarray(x)
    spatial = x.shape[2:]
    wanted = size if isinstance(size, tuple) else (size,) * len(spatial)
    sizes = [n if each is None else each for n, each in zip(spatial, wanted, strict=True)]
    number = np.arange(math.prod(spatial)).reshape(spatial)
    out = np.empty((*x.shape[:2], *sizes), dtype)
    for place in np.ndindex(out.shape):
        seen = tuple(
            slice(math.floor(i * n / each), math.ceil((i + 1) * n / each))
            for i, n, each in zip(place[2:], spatial, sizes, strict=True)
        )
        out[place] = function(x[place[:2]][seen], number[seen])
    return out


@operation(
    reference=lambda x, size: _each_window(lambda seen, _: np.mean(seen), x, size, float),
    samples=[
        Sample(Arg((2, 3, 8)), 4),
        Sample(Arg((1, 2, 7, 5)), (3, 2)),
        Sample(Arg((1, 2, 5, 6)), (None, 4)),
        Sample(Arg((1, 1, 3, 2, 5)), 3),
        Sample(Arg((1, 2, 2)), 5),
        Sample(Arg((2, 3, 4, 4)), 1),
        Sample(Arg((0, 2, 4)), 3),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "4 elements cannot be pooled to 0", Arg((1, 2, 4)), 0),
        Reject(ShapeError, "3 values of size for 2 spatial axes", Arg((1, 2, 4, 4)), (1, 2, 3)),
        Reject(ShapeError, "a spatial axis has no elements", Arg((1, 2, 0)), 3),
    ],
    dtypes="bif",
)
def adaptive_avg_pool(x: Any, size: Any) -> Node:
    """Means over windows that divide space into ``size`` places, whatever its size.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``. Integers become float32; half floats are
        summed in float32.
    size : int, None, or a tuple of them
        How many places: one number for all spatial axes, or one for each; None leaves an axis
        as it is. More places than elements repeat them.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *size)``.

    Raises
    ------
    ShapeError
        If there is no spatial axis, or one of unknown size does not divide evenly.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.adaptive_avg_pool([[[1.0, 2.0, 3.0, 4.0, 5.0]]], 2))
    array([[[2., 4.]]], dtype=float32)
    >>> gn.adaptive_avg_pool(gn.input("x", shape=("batch", 8, "height", "width")), 1).shape
    (Dim(batch), 8, 1, 1)
    """
    given = require_floating("adaptive_avg_pool", as_node(x))
    pooled = widened(given)
    for axis, n, wanted in _target_sizes("adaptive_avg_pool", given, size):
        if n != wanted:
            pooled = _mean_along(pooled, axis, n, wanted)
    return cast_to(pooled, given.dtype)


def _mean_along(x: Node, axis: int, n: Size, size: Size) -> Node:
    even = exact_quotient(n, size)
    if even is not None and even != 0:
        apart = to_shape(x, (*x.shape[:axis], size, even, *x.shape[axis + 1 :]))
        return mean(apart, axis + 1)
    hint = "give the input a fixed size, or pool to 1"
    known = _known("adaptive_avg_pool", n, size, hint)
    start, end = _window_ends(known, int(size))
    places = _places(known, int(size))
    behind = (1,) * (x.ndim - axis - 1)
    is_own = np.arange(places.shape[1]) < (end - start)[:, None]
    seen = where(constant(is_own.reshape(*places.shape, *behind)), take(x, places, axis), 0.0)
    return divide(sum(seen, axis + 1), constant((end - start).reshape(-1, *behind), x.dtype))


def _adaptive_max_pool(x: Any, size: Any, return_indices: bool = False) -> Any:
    top = _each_window(lambda seen, _: np.max(seen), x, size, x.dtype)
    if not return_indices:
        return top
    return top, _each_window(lambda seen, number: number.flat[np.argmax(seen)], x, size, int)


@operation(
    reference=_adaptive_max_pool,
    samples=[
        Sample(Arg((2, 3, 8), distinct=True), 4),
        Sample(Arg((1, 2, 8), distinct=True, low=-4.0), 2, return_indices=True),
        Sample(Arg((1, 2, 7, 5), distinct=True), (3, 2)),
        Sample(Arg((1, 2, 5, 6), distinct=True), (None, 4)),
        Sample(Arg((1, 1, 3, 2, 5), distinct=True), 3),
        Sample(Arg((1, 2, 2), distinct=True), 5),
        Sample(Arg((0, 2, 4)), 3, return_indices=True),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "size must be an integer, not 2.0", Arg((1, 2, 4)), 2.0),
        Reject(ShapeError, "a spatial axis has no elements", Arg((1, 2, 0)), 3),
    ],
    dtypes="bif",
    corner="as max_pool: the first of equals has the derivative; NaN wins",
)
def adaptive_max_pool(x: Any, size: Any, *, return_indices: bool = False) -> Any:
    """The largest elements of windows that divide space into ``size`` places.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; the spatial sizes must be known.
    size : int, None, or a tuple of them
        As for :func:`adaptive_avg_pool`.
    return_indices : bool, default False
        Give also where the largest elements lie, as :func:`max_unpool` takes it.

    Returns
    -------
    Node, or tuple of two
        Of shape ``(batch, channels, *size)``. Indices are int64 and count the elements of all
        spatial axes in row-major order.

    Raises
    ------
    ShapeError
        If there is no spatial axis, or one is of unknown size.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.adaptive_max_pool([[[1.0, 2.0, 3.0, 4.0, 5.0]]], 2))
    array([[[3., 5.]]], dtype=float32)
    """
    x = as_real("adaptive_max_pool", x)
    apart, tables = x, []
    hint = "give the input a fixed size; for one place use gn.global_max_pool"
    for axis, n, wanted in _target_sizes("adaptive_max_pool", x, size):
        table = _places(_known("adaptive_max_pool", n, wanted, hint), int(wanted))
        tables.append(table)
        if table.size != n:  # else the windows lie side by side as they are
            apart = take(apart, table.ravel(), axis)
    lengths = tuple(table.shape[1] for table in tables)
    if not return_indices:
        return max_pool(apart, lengths)
    top, indices = max_pool(apart, lengths, return_indices=True)
    return top, indices if apart is x else _original_indices(indices, tables, x)


def _original_indices(indices: Node, tables: Sequence[Array], x: Node) -> Node:
    """Indices into what was gathered, as indices into what it was gathered from."""
    rest, step, found = indices, 1, constant(0, INT64)
    for table, n in zip(reversed(tables), reversed(x.shape), strict=False):
        at = gather(table.ravel(), mod(rest, table.size))
        found = add(found, multiply(at, step))
        rest, step = floor_divide(rest, table.size), step * int(n)
    return found


_GLOBAL_SAMPLES = [
    Sample(Arg((2, 3, 8), distinct=True)),
    Sample(Arg((2, 2, 3, 4), distinct=True)),
    Sample(Arg((1, 2, 3, 2, 3), distinct=True), keepdims=True),
    Sample(Arg((0, 3, 4))),
]


def _global(reduce: Any) -> Any:
    def reference(x: Any, keepdims: bool = False) -> Any:
        return reduce(x, axis=tuple(range(2, np.ndim(x))), keepdims=keepdims)

    return reference


@operation(
    reference=_global(np.mean),
    samples=_GLOBAL_SAMPLES,
    rejects=[Reject(ShapeError, "the array has 2 axes", Arg((3, 4)))],
    dtypes="bif",
    corner="the mean of nothing is NaN",
)
def global_avg_pool(x: Any, keepdims: bool = False) -> Node:
    """The mean of every channel over all of space.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; sizes may be named. Integers become float32;
        half floats are summed in float32.
    keepdims : bool, default False
        Keep the spatial axes with size one, as ``adaptive_avg_pool(x, 1)`` does.

    Returns
    -------
    Node
        Of shape ``(batch, channels)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.global_avg_pool([[[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]]))
    array([[2., 4.]], dtype=float32)
    """
    x = as_real("global_avg_pool", x)
    spatial_axes("global_avg_pool", x)
    return mean(x, tuple(range(2, x.ndim)), keepdims)


@operation(
    reference=_global(np.max),
    samples=_GLOBAL_SAMPLES,
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4))),
        Reject(ShapeError, "max of empty", Arg((1, 2, 0))),
    ],
    dtypes="bif",
    corner="elements that tie share the derivative equally, as of `max`; NaN wins",
)
def global_max_pool(x: Any, keepdims: bool = False) -> Node:
    """The largest element of every channel over all of space.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; sizes may be named.
    keepdims : bool, default False
        Keep the spatial axes with size one, as ``adaptive_max_pool(x, 1)`` does.

    Returns
    -------
    Node
        Of shape ``(batch, channels)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.global_max_pool([[[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]]))
    array([[3., 4.]], dtype=float32)
    """
    x = as_real("global_max_pool", x)
    spatial_axes("global_max_pool", x)
    return max(x, tuple(range(2, x.ndim)), keepdims)
