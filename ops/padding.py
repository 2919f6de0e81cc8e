"""Repeating what is there: padding at the edges, tiling, repeating and rolling."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Size, as_size
from graphnn.core.dtypes import promote
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.axes import listed, normalize_axis, whole_number
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.constants import fill_value
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.indexing import take
from graphnn.ops.joining import concatenate, pad_with, slice_axis
from graphnn.ops.movement import flatten, flip
from graphnn.ops.operands import as_node, cast_to, is_weak

__all__ = ["pad", "repeat", "roll", "tile"]

Widths = list[tuple[Size, Size]]

# ------------------------------------------------------------------------------------- padding

_MODES = ("constant", "edge", "reflect", "wrap")
_X = Arg((3, 4))


@operation(
    reference=lambda x, *args, **kwargs: np.pad(x, *args, **kwargs),
    samples=[
        Sample(_X, 1),
        Sample(_X, (0, 2)),
        Sample(_X, np.array([[1, 0], [0, 2]])),
        Sample(_X, ((1, 0), (2, 3)), constant_values=7.0),
        Sample(_X, ((1, 0), (0, 0)), constant_values=Arg()),
        Sample(_X, ((2, 1), (0, 4)), "edge"),
        Sample(_X, ((2, 1), (3, 0)), "reflect"),
        Sample(_X, ((3, 1), (0, 4)), "wrap"),
        Sample(Arg((0, 2)), 1),
        Sample(Arg(), 3),
    ],
    rejects=[
        Reject(ShapeError, "3 pairs for 2 axes", _X, ((1, 1), (1, 1), (1, 1))),
        Reject(ShapeError, "negative", _X, ((-1, 0), (0, 0))),
        Reject(ArgumentError, "mode 'full'", _X, 1, "full"),
        Reject(ShapeError, "pads at most 2", _X, ((3, 0), (0, 0)), "reflect"),
        Reject(ShapeError, "pads at most 3", _X, ((0, 4), (0, 0)), "wrap"),
        Reject(ShapeError, "an empty axis", Arg((0, 2)), 1, "edge"),
        Reject(ShapeError, "0-d", _X, 1, "constant", Arg((2,))),
        Reject(DTypeError, "0.5 is no int64", Arg((3,), kind="int"), 1, "constant", 0.5),
    ],
    dtypes="ifc",
)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Node:
    """More elements at both ends of the axes.

    Parameters
    ----------
    x : array_like or Node
    pad_width : int, (before, after), or one such pair for every axis
        How many.
    mode : {"constant", "edge", "reflect", "wrap"}
        What they are: a number, the nearest element, the elements mirrored at the nearest one
        (which is not repeated), or the other end of the axis.
    constant_values : number or Node, default 0
        One number for all sides, for mode "constant".

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If an axis has too few elements to mirror or wrap around.

    Examples
    --------
    >>> import graphnn as gn
    >>> picture = gn.input("picture", shape=("batch", 3, 28, 28))
    >>> gn.pad(picture, ((0, 0), (0, 0), (2, 2), (2, 2))).shape
    (Dim(batch), 3, 32, 32)
    """
    x = as_node(x)
    if mode not in _MODES:
        raise ArgumentError(
            f"pad: there is no mode {mode!r}", hint="one of " + ", ".join(map(repr, _MODES))
        )
    widths = _pad_widths(x, pad_width)
    if mode == "constant":
        low, high = ([pair[side] for pair in widths] for side in (0, 1))
        return pad_with(x, low, high, value=_pad_value(x, constant_values))
    padded: Node = x
    for axis, (before, after) in enumerate(widths):
        padded = _pad_axis(padded, axis, before, after, mode)
    return padded


def _pad_widths(x: Node, pad_width: Any) -> Widths:
    """A pair for every axis, from what NumPy accepts."""
    given = listed(pad_width)
    pairs = list(given * 2 if len(given) == 1 and not isinstance(given[0], tuple | list) else given)
    if not any(isinstance(pair, tuple | list) for pair in pairs):
        pairs = [tuple(pairs)] * x.ndim
    elif len(pairs) == 1:
        pairs = pairs * x.ndim
    if len(pairs) != x.ndim:
        raise ShapeError(f"pad: {len(pairs)} pairs for {x.ndim} axes")
    widths: Widths = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ShapeError(f"pad: {pair!r} is not a pair (before, after)")
        before, after = map(as_size, pair)
        if any(isinstance(each, int) and each < 0 for each in (before, after)):
            raise ShapeError(
                f"pad: a width in {pair!r} is negative", hint="slice the array to make it smaller"
            )
        widths.append((before, after))
    return widths


def _pad_value(x: Node, value: Any) -> Node:
    """The value as a 0-d node of the array's dtype, if that holds it."""
    if is_weak(value):
        return fill_value("pad", value, x.dtype)
    node = as_node(value)
    if node.shape != ():
        raise ShapeError(
            f"pad: the value must be 0-d, not {shape_text(node.shape)}",
            hint="pad the sides one after the other to give each its own value",
        )
    if promote("pad", x.dtype, node.dtype) != x.dtype:
        raise DTypeError(f"pad: a value of {node.dtype.name} around {x.dtype.name}")
    return cast_to(node, x.dtype)


def _pad_axis(x: Node, axis: int, before: Size, after: Size, mode: str) -> Node:
    """One axis between its edges repeated, mirrored or wrapped around."""
    size = x.shape[axis]
    if before == 0 and after == 0:
        return x
    if size == 0:
        raise ShapeError(f"pad: {mode!r} of an empty axis")
    if mode != "edge":
        most = size - 1 if mode == "reflect" else size
        for width in (before, after):
            if isinstance(most, int) and isinstance(width, int) and width > most:
                raise ShapeError(
                    f"pad: {mode!r} pads at most {most} elements of axis {axis}, not {width}",
                    hint="pad several times, or with mode 'edge'",
                )
    first: Node
    last: Node
    if mode == "edge":
        first = _repeat_slice(x, axis, 0, before)
        last = _repeat_slice(x, axis, size - 1, after)
    elif mode == "reflect":
        first = flip(slice_axis(x, axis, 1, before), axis)
        last = flip(slice_axis(x, axis, size - 1 - after, after), axis)
    else:
        first = slice_axis(x, axis, size - before, before)
        last = slice_axis(x, axis, 0, after)
    parts = [first] * (before != 0) + [x] + [last] * (after != 0)
    return concatenate(parts, axis)


def _repeat_slice(x: Node, axis: int, position: Size, count: Size) -> Node:
    """One slice along an axis, repeated."""
    one = slice_axis(x, axis, position, 1)
    return broadcast_to(one, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


# ------------------------------------------------------------------------- repeating and rolling


@operation(
    reference=np.tile,
    samples=[
        Sample(Arg((2, 3)), 2),
        Sample(Arg((2, 3)), (3, 1)),
        Sample(Arg((3,)), (2, 1, 2)),
        Sample(Arg(), (2, 3)),
        Sample(Arg((2, 3)), (0, 1)),
    ],
    rejects=[Reject(ShapeError, "negative", Arg((3,)), -1)],
    dtypes="bifc",
)
def tile(x: Any, reps: Any) -> Node:
    """Copies of the whole array side by side along every axis.

    Parameters
    ----------
    x : array_like or Node
    reps : size or tuple of sizes
        How many copies along each axis, aligned at the last one; 1 along the others.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.tile(gn.input("x", shape=(2, 3)), (4, 1)).shape
    (8, 3)
    """
    x = as_node(x)
    counts = _counts("tile", reps)
    ndim = max(x.ndim, len(counts))
    counts = [*[1] * (ndim - len(counts)), *counts]
    sizes: list[Size] = [*[1] * (ndim - x.ndim), *x.shape]
    apart = [each for size in sizes for each in (1, size)]
    copied = [each for pair in zip(counts, sizes, strict=True) for each in pair]
    joined = [count * size for count, size in zip(counts, sizes, strict=True)]
    return to_shape(broadcast_to(to_shape(x, tuple(apart)), copied), tuple(joined))


def _counts(what: str, given: Any) -> list[Size]:
    counts = [as_size(each) for each in listed(given)]
    if any(isinstance(count, int) and count < 0 for count in counts):
        raise ShapeError(f"{what}: a count in {shape_text(tuple(counts))} is negative")
    return counts


@operation(
    reference=np.repeat,
    samples=[
        Sample(Arg((2, 3)), 2),
        Sample(Arg((2, 3)), 2, 0),
        Sample(Arg((2, 3)), (2, 0, 1), -1),
        Sample(Arg((2, 3)), np.array([0, 2]), 0),
        Sample(Arg((2, 3)), 0, 1),
        Sample(Arg(), 3),
    ],
    rejects=[
        Reject(ShapeError, "negative", Arg((3,)), -1),
        Reject(ShapeError, "2 counts for 3 elements", Arg((3,)), (1, 2)),
    ],
    dtypes="bifc",
)
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Node:
    """Every element several times in a row.

    Parameters
    ----------
    x : array_like or Node
    repeats : size, or tuple of int
        How many times: all of them, or each along the axis.
    axis : int, optional
        Default: all elements in row-major order.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.repeat(gn.input("x", shape=(2, 3)), 2, axis=1).shape
    (2, 6)
    """
    x = as_node(x)
    if axis is None:
        x, axis = flatten(x), 0
    axis = normalize_axis("repeat", axis, x.ndim)
    counts = _counts("repeat", repeats)
    size = x.shape[axis]
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    if len(counts) == 1:
        (count,) = counts
        apart = to_shape(x, (*before, size, 1, *after))
        repeated = broadcast_to(apart, (*before, size, count, *after))
        return to_shape(repeated, (*before, size * count, *after))
    if size != len(counts):
        raise ShapeError(f"repeat: {len(counts)} counts for {size} elements")
    return take(x, np.repeat(np.arange(size), [int(count) for count in counts]), axis)


@operation(
    reference=np.roll,
    samples=[
        Sample(Arg((2, 3)), 1),
        Sample(Arg((2, 3)), -1, 1),
        Sample(Arg((2, 3)), 7, 1),
        Sample(Arg((2, 3)), (1, 2), (0, 1)),
        Sample(Arg((2, 3)), (1, 2), (1, 1)),
        Sample(Arg((2, 3)), 1, (0, 1)),
        Sample(Arg((0, 3)), 2, 0),
        Sample(Arg((3,)), 0, 0),
    ],
    rejects=[
        Reject(ShapeError, "2 shifts for 1 axes", Arg((3,)), (1, 2), 0),
        Reject(ShapeError, "axis 1 is out of range", Arg((3,)), 1, 1),
        Reject(ShapeError, "the shift must be an integer", Arg((3,)), 1.5),
    ],
    dtypes="bifc",
)
def roll(x: Any, shift: Any, axis: Any = None) -> Node:
    """Elements moved along axes; what falls off one end comes in at the other.

    Parameters
    ----------
    x : array_like or Node
    shift : int or tuple of int
        By how many places, towards the end if positive. Along a named dimension it must not
        exceed the size.
    axis : int or tuple of int, optional
        Default: all elements in row-major order.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.roll(gn.input("x", shape=("batch", 3)), 1, axis=0).shape
    (Dim(batch), 3)
    """
    x = as_node(x)
    if axis is None:
        return to_shape(roll(flatten(x), shift, 0), x.shape)
    axes = listed(axis)
    shifts = listed(shift) if isinstance(shift, tuple | list | np.ndarray) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    rolled: Node = x
    for each, places in zip(axes, shifts, strict=True):
        rolled = _roll_axis(rolled, normalize_axis("roll", each, x.ndim), places)
    return rolled


def _roll_axis(x: Node, axis: int, shift: Any) -> Node:
    places, size = whole_number("roll", "the shift", shift), x.shape[axis]
    if isinstance(size, int):
        places = places % size if size else 0
    if places == 0:
        return x
    cut = size - places if places > 0 else -places
    return concatenate([slice_axis(x, axis, cut, size - cut), slice_axis(x, axis, 0, cut)], axis)
