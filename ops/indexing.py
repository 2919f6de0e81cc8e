"""Indexing: ``x[...]`` as NumPy spells it.

Numbers, slices, None and Ellipsis only look at memory differently; integer arrays gather. An
index is read once into a `_Plan`, which then becomes slice, flip, reshape and gather.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphnn.core.dims import Dim, Size, as_size
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.gathering import broadcast_indices, gather, index_node
from graphnn.ops.joining import slice_
from graphnn.ops.movement import flatten, flip, permute
from graphnn.ops.operands import as_node

__all__ = ["getitem", "take"]


@dataclass
class _Plan:
    """What an index does to the axes of an array, read from left to right.

    Attributes
    ----------
    start, size, step : list
        The slice of every axis; a negative step also flips it.
    flipped : list of int
        Axes to flip after slicing.
    shape : list
        Shape after slices, numbers and None.
    arrays : list of (int, Node)
        Axis of that shape, and the integer array that indexes it.
    places : list of int
        Where in the index numbers and arrays stand: together they decide, as in NumPy, where the
        axes of the arrays go.
    front : int
        Axes of the result before the first number or array.
    """

    start: list[Size] = field(default_factory=list)
    size: list[Size] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    flipped: list[int] = field(default_factory=list)
    shape: list[Size] = field(default_factory=list)
    arrays: list[tuple[int, Node]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    front: int = 0

    def take(self, start: Size, size: Size, step: int) -> None:
        """Slice the next axis; the step is positive."""
        self.start.append(start)
        self.size.append(size)
        self.step.append(step)

    def mark(self, place: int) -> None:
        """Note a number or an array."""
        if not self.places:
            self.front = len(self.shape)
        self.places.append(place)


def _references(x: Any, index: Any) -> Any:
    return np.asarray(x)[index]


_X = Arg((4, 3, 5))


@operation(
    reference=_references,
    samples=[
        Sample(_X, 1),
        Sample(_X, -1),
        Sample(_X, (slice(None), 2)),
        Sample(_X, (slice(1, 3), ..., slice(None, None, 2))),
        Sample(_X, slice(None, None, -1)),
        Sample(_X, (slice(3, 0, -2), slice(-2, None), slice(10, None))),
        Sample(_X, (None, ..., None, 0)),
        Sample(_X, [2, 0, 2]),
        Sample(_X, (slice(None), np.array([[0, -1], [2, 2]]))),
        Sample(_X, (np.array([0, 3]), slice(None), np.array([[1], [2]]))),
        Sample(_X, (slice(None), np.array([0, 2]), np.array([4, -5]))),
        Sample(_X, (1, slice(None), np.array([0, 2]))),
        Sample(_X, Arg((2, 2), -4, 3, kind="int")),
        Sample(_X, []),
        Sample(Arg((0, 3)), slice(None, None, 2)),
        Sample(Arg(), ...),
        Sample(Arg(), None),
    ],
    rejects=[
        Reject(ShapeError, "index 4 is out of range for axis 0 of size 4", _X, 4),
        Reject(ShapeError, "index 7 is out of range for 4 elements", _X, [0, 7]),
        Reject(ShapeError, "4 indices for 3 axes", _X, (0, 0, 0, 0)),
        Reject(ShapeError, "more than one ellipsis", _X, (..., 0, ...)),
        Reject(ShapeError, "step is 0", _X, slice(None, None, 0)),
        Reject(DTypeError, "bool mask", _X, np.array([True, False, True, True])),
        Reject(DTypeError, "bool mask", _X, True),
        Reject(DTypeError, "must be integers", _X, 1.5),
        Reject(DTypeError, "must be integers", _X, Arg((2,))),
        Reject(ShapeError, "do not broadcast", _X, ([0, 1], [0, 1, 2])),
    ],
    dtypes="bifc",
    corner="derivatives at an index that is given twice add up",
)
def getitem(x: Any, index: Any) -> Node:
    """Part of an array, as NumPy's ``x[index]``; nodes call it for ``node[index]``.

    Parameters
    ----------
    x : array_like or Node
    index : int, slice, None, Ellipsis, integer array or Node, or a tuple of them
        Arrays and integer nodes broadcast together and their axes are placed by NumPy's rule.
        Slices of named dimensions are not clamped: ``x[:3]`` needs at least three elements.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        For a known index that is out of range, or too many of them.
    DTypeError
        For bool masks, whose result would have an unknown size, and for floats.
    FeedError
        When the program runs, for an index value that is out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 5, 8))
    >>> x[1:, -1].shape
    (Dim(batch - 1), 8)
    >>> words = gn.input("words", shape=("batch", 20), dtype="int64")
    >>> gn.parameter([[0.1, 0.2], [0.3, 0.4]])[words].shape
    (Dim(batch), 20, 2)
    """
    x = as_node(x)
    plan = _read(x, _without_ellipsis(x, index))
    result = slice_(x, plan.start, plan.size, plan.step)
    if plan.flipped:
        result = flip(result, tuple(plan.flipped))
    result = to_shape(result, tuple(plan.shape))
    return _gather_axes(result, plan) if plan.arrays else result


def _without_ellipsis(x: Node, index: Any) -> list[Any]:
    """The parts of an index, with the ellipsis (or the end) filled up by whole axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > x.ndim:
        raise ShapeError(f"getitem: {used} indices for {x.ndim} axes")
    places = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(places) > 1:
        raise ShapeError("getitem: more than one ellipsis")
    if not places:
        return parts + [slice(None)] * (x.ndim - used)
    whole: list[Any] = [slice(None)] * (x.ndim - used)
    # An ellipsis stands between arrays, also where it stands for no axes: it counts as a place.
    return [*parts[: places[0]], *(whole or [...]), *parts[places[0] + 1 :]]


def _read(x: Node, parts: Sequence[Any]) -> _Plan:
    plan = _Plan()
    for place, part in enumerate(parts):
        if part is Ellipsis:
            continue
        if part is None:
            plan.shape.append(1)
            continue
        axis = len(plan.start)
        size = x.shape[axis]
        if isinstance(part, slice):
            _read_slice(plan, axis, size, part)
        elif _is_number(part):
            position = _position(part, axis, size)
            plan.mark(place)
            plan.take(position, 1, 1)
        else:
            node = index_node("getitem", part, size)
            plan.mark(place)
            plan.arrays.append((len(plan.shape), node))
            plan.take(0, size, 1)
            plan.shape.append(size)
    return plan


def _is_number(part: Any) -> bool:
    """Whether a part of an index is one known number (bools are masks)."""
    if isinstance(part, Dim):
        return True
    return hasattr(part, "__index__") and not isinstance(part, Node | bool | np.bool | np.ndarray)


def _position(part: Any, axis: int, size: Size) -> Size:
    """A number as a position from the start of the axis."""
    position = as_size(part)
    if isinstance(position, int):
        if isinstance(size, int) and not -size <= position < size:
            raise ShapeError(
                f"getitem: index {position} is out of range for axis {axis} of size {size}",
                hint=f"indices run from {-size} to {size - 1}" if size else "the axis is empty",
            )
        return position if position >= 0 else size + position
    return position


def _read_slice(plan: _Plan, axis: int, size: Size, part: slice) -> None:
    """Add a slice to the plan."""
    for bound in (part.start, part.stop, part.step):
        if isinstance(bound, Node):
            raise ShapeError(
                f"getitem: the bound {bound!r} of a slice is not known while the graph is built",
                hint="index with integers instead: x[start + gn.arange(n)]",
            )
    step = 1 if part.step is None else operator.index(part.step)
    if step == 0:
        raise ShapeError("getitem: the step is 0")
    stride = abs(step)
    default = (0, size) if step > 0 else (size - 1, -1)
    first, end = (
        standard if bound is None else _bound(as_size(bound), size, step)
        for bound, standard in zip((part.start, part.stop), default, strict=True)
    )
    distance = end - first if step > 0 else first - end
    count = (distance + stride - 1) // stride
    if isinstance(count, int) and count <= 0:
        plan.take(0, 0, 1)
        plan.shape.append(0)
        return
    if step < 0 and count != 1:
        plan.flipped.append(axis)
    plan.take(first if step > 0 else first - (count - 1) * stride, count, stride)
    plan.shape.append(count)


def _bound(bound: Size, size: Size, step: int) -> Size:
    """The bound of a slice as a position, clamped where the size is known."""
    if isinstance(bound, int) and bound < 0:
        bound = size + bound
    if isinstance(bound, int) and isinstance(size, int):
        return min(max(bound, 0), size) if step > 0 else min(max(bound, -1), size - 1)
    return bound


def _gather_axes(x: Node, plan: _Plan) -> Node:
    """Index several axes with integer arrays, and put the new axes where NumPy puts them."""
    axes = [axis for axis, _ in plan.arrays]
    indices = broadcast_indices("getitem", [node for _, node in plan.arrays])
    others = [axis for axis in range(x.ndim) if axis not in axes]
    gathered = gather(permute(x, [*axes, *others]), *indices)
    adjacent = plan.places == list(range(plan.places[0], plan.places[-1] + 1))
    front = plan.front if adjacent else 0
    new, ndim = indices[0].ndim, gathered.ndim
    return permute(gathered, [*range(new, new + front), *range(new), *range(new + front, ndim)])


@operation(
    reference=np.take,
    samples=[
        Sample(Arg((4, 3)), [3, 0, 0], 0),
        Sample(Arg((4, 3)), Arg((2, 2), -3, 2, kind="int"), -1),
        Sample(Arg((4, 3)), [11, 0]),
        Sample(Arg((4, 3)), 1, 1),
        Sample(Arg((4, 3)), Arg((0,), 0, 1, kind="int"), 0),
    ],
    rejects=[
        Reject(ShapeError, "index 4 is out of range for 4 elements", Arg((4, 3)), [4], 0),
        Reject(ShapeError, "axis 2 is out of range", Arg((4, 3)), [0], 2),
        Reject(DTypeError, "must be integers", Arg((4, 3)), [0.5], 0),
    ],
    dtypes="bifc",
    corner="derivatives at an index that is given twice add up",
)
def take(x: Any, indices: Any, axis: int | None = None) -> Node:
    """Pieces of an array along an axis, such as the rows of an embedding.

    Parameters
    ----------
    x : array_like or Node
    indices : array_like or Node
        Integers of any shape, which replaces the axis; negative ones count from the end.
    axis : int, optional
        Default: index all elements in row-major order.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> words = gn.input("words", shape=("batch", 20), dtype="int64")
    >>> gn.take(gn.parameter([[0.1, 0.2], [0.3, 0.4]]), words, axis=0).shape
    (Dim(batch), 20, 2)
    """
    x = as_node(x)
    if axis is None:
        return getitem(flatten(x), _entry(indices))
    leading = (slice(None),) * normalize_axis("take", axis, x.ndim)
    return getitem(x, (*leading, _entry(indices)))


def _entry(indices: Any) -> Any:
    """One entry of an index: a tuple would be several."""
    return list(indices) if isinstance(indices, tuple) else indices
