"""Max pooling: the largest element that a sliding window sees, where it lies, and its undoing.

Padding is never the largest, and windows of padding alone are refused: no infinity can come
from there. The derivative goes through the indices of the largest elements: ``window_pick`` takes
a tangent from there and ``window_place``, its transpose, brings a cotangent back. These two know
the window, so an element need only look at the few windows around it. Other kinds of pooling are in
:mod:`graphnn.ops.mean_pooling` and :mod:`graphnn.ops.adaptive_pooling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, product
from graphnn.core.dtypes import FLOAT32, INT64, is_half
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, output_size, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.bounds import REQUIRE_RANGE
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.constants import CONSTANT
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import zeros
from graphnn.ops.gathering import index_node
from graphnn.ops.geometry import Window, slide, window_count
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.operands import as_real, operands
from graphnn.ops.scattering import put_along_axis
from graphnn.ops.window_references import seen_windows
from graphnn.ops.windows import (
    along,
    spatial_axes,
    spatial_sizes,
    split_shape,
    window_over,
)

__all__ = ["max_pool", "max_unpool"]


# ------------------------------------------------------------------------------------- the ops


class MaxPoolOp(Op):
    """The largest of what a window sees over the last axes; NaN if there is one."""

    name = "max_pool"
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, window: Window) -> TensorSpec:
        lead, spatial = split_shape(x.shape, window)
        counts = window_count(self.name, window, spatial)
        refuse_padding_alone(self.name, window, spatial)
        return TensorSpec((*lead, *counts), x.dtype)

    def evaluate(self, x: Array, *, window: Window) -> Array:
        top = x.astype(FLOAT32) if is_half(x.dtype) else x
        for axis, places in _places_by_axis(x.shape, window):
            first, *others = (_at(top, axis, column) for column in places.T)
            top = first.copy()
            for other in others:
                np.maximum(top, other, out=top)
        return top.astype(x.dtype, copy=False)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        if tangent is None:
            return None
        return make_node(WINDOW_PICK, (tangent, self._indices(node)), node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        _, spatial = split_shape(node.inputs[0].shape, node.attrs["window"])
        attrs = {**node.attrs, "spatial": spatial}
        return [make_node(WINDOW_PLACE, (cotangent, self._indices(node)), attrs)]

    def _indices(self, node: Node) -> Node:
        return make_node(MAX_POOL_INDICES, node.inputs, node.attrs)

    def flops(self, node: Node) -> int:
        return output_size(node) * int(sum(node.attrs["window"].size))


class MaxPoolIndicesOp(Op):
    """Where in the last axes, counted row-major, lies the element that `MaxPoolOp` gives.

    The first of equals, but the last NaN: what PyTorch's comparison ``v > max or isnan(v)`` does.
    """

    name = "max_pool_indices"
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, window: Window) -> TensorSpec:
        return TensorSpec(MAX_POOL.infer(x, window=window).shape, INT64)

    def evaluate(self, x: Array, *, window: Window) -> Array:
        taps = self._largest_taps(x, window)
        index = np.zeros(taps.shape, INT64)
        for axis, places in _places_by_axis(x.shape, window):
            count, size = places.shape
            taps, tap = np.divmod(taps, taps.dtype.type(size))
            at_place = (size * np.arange(count)).reshape(-1, *(1,) * (x.ndim - axis - 1))
            index += np.take(prod(x.shape[axis + 1 :]) * places, at_place + tap)
        return index

    def _largest_taps(self, x: Array, window: Window) -> Array:
        """Which element of its window is the largest, counted row-major, at every place.

        Small numbers, and no masks: a later element has a larger number, so that the maximum of
        the numbers is that of the last one that was better.
        """
        top = x.astype(FLOAT32) if is_half(x.dtype) else x
        kind = np.min_scalar_type(prod(window.size)).type
        number: Array = np.broadcast_to(kind(0), x.shape)
        n_behind = 1
        for axis, places in _places_by_axis(x.shape, window):
            best, best_number = _at(top, axis, places[:, 0]).copy(), _at(number, axis, places[:, 0])
            for tap, column in enumerate(places.T[1:], start=1):
                value = _at(top, axis, column)
                better = (value > best) | np.isnan(value)
                own = _at(number, axis, column) + kind(n_behind * tap)
                best_number = np.maximum(best_number, own * better)
                np.maximum(best, value, out=best)
            top, number, n_behind = best, best_number, n_behind * places.shape[1]
        return number

    def flops(self, node: Node) -> int:
        return output_size(node) * int(sum(node.attrs["window"].size))


class WindowPickOp(LinearOp):
    """The elements that indices name: for every place one of those that its window sees.

    Inputs are the array and the indices, as `MaxPoolIndicesOp` gives them.
    """

    name = "window_pick"
    axis_attrs = ()
    linear_in = (0,)

    def infer(self, x: TensorSpec, indices: TensorSpec, *, window: Window) -> TensorSpec:
        return TensorSpec(indices.shape, x.dtype)

    def evaluate(self, x: Array, indices: Array, *, window: Window) -> Array:
        rows, places = _rows(x, window), _rows(indices, window)
        return np.take_along_axis(rows, places, -1).reshape(indices.shape)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        _, spatial = split_shape(node.inputs[0].shape, node.attrs["window"])
        attrs = {**node.attrs, "spatial": spatial}
        return make_node(WINDOW_PLACE, (cotangent, node.inputs[1]), attrs)


class WindowPlaceOp(LinearOp):
    """Values at the elements that indices name, added up; zeros elsewhere.

    The transpose of `WindowPickOp`. Half floats accumulate in float32.
    """

    name = "window_place"
    axis_attrs = ()
    linear_in = (0,)

    def infer(
        self, values: TensorSpec, indices: TensorSpec, *, window: Window, spatial: Shape
    ) -> TensorSpec:
        lead, _ = split_shape(values.shape, window)
        return TensorSpec((*lead, *spatial), values.dtype)

    def evaluate(self, values: Array, indices: Array, *, window: Window, spatial: Any) -> Array:
        arriving, places = _rows(values, window), _rows(indices, window)
        wide = FLOAT32 if is_half(values.dtype) else values.dtype
        total = np.zeros((len(arriving), prod(spatial)), wide)
        first = total.shape[1] * np.arange(len(total))[:, None]
        np.add.at(total.reshape(-1), (places + first).ravel(), arriving.astype(wide).ravel())
        lead, _ = split_shape(values.shape, window)
        return total.astype(values.dtype, copy=False).reshape(*lead, *spatial)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        attrs = {"window": node.attrs["window"]}
        return make_node(WINDOW_PICK, (cotangent, node.inputs[1]), attrs)

    def flops(self, node: Node) -> int:
        return int(node.inputs[0].size)


MAX_POOL, MAX_POOL_INDICES = MaxPoolOp(), MaxPoolIndicesOp()
WINDOW_PICK, WINDOW_PLACE = WindowPickOp(), WindowPlaceOp()
for _op in (MAX_POOL, MAX_POOL_INDICES, WINDOW_PICK, WINDOW_PLACE):
    register(_op)


def _rows(x: Array, window: Window) -> Array:
    """One row for every example and channel: the last axes made one."""
    lead, spatial = split_shape(x.shape, window)
    return x.reshape(prod(lead), prod(spatial))


def _places_by_axis(shape: Sequence[int], window: Window) -> Iterator[tuple[int, Array]]:
    """Every axis the window slides over, the last one first, and the places it sees there.

    The places are of shape ``(count, size)``. What lies in the padding is replaced by the
    nearest place inside that the same window sees: that changes no maximum.
    """
    lead, spatial = split_shape(shape, window)
    for each in reversed(range(len(spatial))):
        start, first, last = _taps_inside("max_pool", window, each, spatial[each])
        taps = np.clip(np.arange(window.size[each]), first[:, None], last[:, None])
        yield len(lead) + each, start[:, None] + taps * window.dilation[each]


def _taps_inside(what: str, window: Window, axis: int, n: int) -> tuple[Array, Array, Array]:
    """Where windows start along an axis, and the first and last of their elements inside it."""
    size, stride, dilation = window.size[axis], window.stride[axis], window.dilation[axis]
    low, high = window.low[axis], window.high[axis]
    count = int(slide(what, axis, n, size, stride, dilation, low, high))
    start = np.arange(count) * stride - low
    return (
        start,
        np.maximum(-(start // dilation), 0),
        np.minimum((n - 1 - start) // dilation, size - 1),
    )


def refuse_padding_alone(what: str, window: Window, spatial: Shape) -> None:
    """Every window must see an element, along those axes whose sizes are known.

    Raises
    ------
    ShapeError
    """
    for axis, n in enumerate(spatial):
        if not isinstance(n, int):
            continue
        _, first, last = _taps_inside(what, window, axis, n)
        blind = np.flatnonzero(first > last)
        if blind.size:
            raise ShapeError(
                f"{what}: window {blind[0]} of {len(first)} along spatial axis {axis} sees "
                f"nothing but padding ({n} elements between {window.low[axis]} and "
                f"{window.high[axis]} of padding)",
                hint="pad less; PyTorch allows at most half a window",
            )


def _at(x: Array, axis: int, places: Array) -> Array:
    """The elements at some places of an axis; a view if they are evenly spaced."""
    first, last = int(places[0]), int(places[-1])
    step = max(1, (last - first) // max(1, len(places) - 1))
    if np.array_equal(places, range(first, last + 1, step)):
        return along(x, axis, slice(first, last + 1, step))
    return np.take(x, places, axis)


# ----------------------------------------------------------------------------- what users call


def pooling_window(
    what: str, x: Node, window: Any, stride: Any, padding: Any, dilation: Any
) -> Window:
    """The window that a user describes; by default it moves by its own size."""
    spatial = x.shape[-spatial_axes(what, x) :]
    step = window if stride is None else stride
    return window_over(what, spatial, window, step, padding, dilation)


def rounded_up(window: Window) -> Window:
    """Padded behind so that the number of places is rounded up, not down.

    As in PyTorch, a window must start before the padding behind: of the ``stride - 1`` elements
    that rounding up needs at most, those are dropped that only such windows would see.
    """
    high = (
        max(behind, min(behind + stride - 1, extent - 1))
        for behind, stride, extent in zip(window.high, window.stride, window.extent, strict=True)
    )
    return replace(window, high=tuple(high))


def _max_pool(
    x: Any, window: Any, stride: Any = None, return_indices: bool = False, **options: Any
) -> Any:
    x = np.asarray(x)
    step = window if stride is None else stride
    least = {"f": -np.inf, "b": False}.get(x.dtype.kind)
    least = np.iinfo(x.dtype).min if least is None else least
    seen = seen_windows(x, window, step, fill=least, beyond=least, **options)
    ndim = x.ndim - 2
    flat = seen.reshape(*seen.shape[:-ndim], prod(seen.shape[-ndim:]))
    top = flat.max(-1)
    if not return_indices:
        return top
    numbers = np.arange(prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    places = seen_windows(numbers, window, step, fill=-1, beyond=-1, **options)
    number = np.broadcast_to(places.reshape(1, 1, *flat.shape[2:]), flat.shape)
    return top, np.take_along_axis(number, flat.argmax(-1)[..., None], -1)[..., 0]


@operation(
    reference=_max_pool,
    samples=[
        Sample(Arg((2, 3, 8), distinct=True), 2),
        Sample(Arg((1, 2, 5, 6), distinct=True), (2, 3), stride=(2, 1), padding=1),
        Sample(Arg((1, 1, 6, 7), distinct=True), 2, stride=3, dilation=(2, 3), ceil_mode=True),
        Sample(Arg((1, 2, 7), distinct=True), 3, stride=2, padding=((0, 2),), return_indices=True),
        Sample(Arg((1, 1, 4, 3, 5), distinct=True), 2, padding="same", return_indices=True),
        Sample(Arg((1, 2, 4, 4), low=-2.0, high=-1.0, distinct=True), 3, stride=1, padding=1),
        Sample(Arg((1, 1, 3, 4), -1, 1, kind="int"), 2, stride=1, return_indices=True),
        Sample(Arg((1, 1, 6), values=(-np.inf, np.nan, 1.0, np.inf, -np.inf, -np.inf)), 2),
        Sample(Arg((0, 2, 4, 4)), 2, return_indices=True),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "the window does not fit along spatial axis 0", Arg((1, 2, 3)), 4),
        Reject(ShapeError, "sees nothing but padding", Arg((1, 2, 4)), 2, padding=2),
        Reject(ShapeError, "dilation must be at least 1", Arg((1, 2, 4)), 2, dilation=0),
    ],
    dtypes="bif",
    corner="the first of equals has the derivative; NaN wins, and the last NaN has it; padding "
    "is never the largest; as in PyTorch",
)
def max_pool(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element that a sliding window sees, at every place.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``.
    window : int or tuple of int
        Size of the window: one for all spatial axes, or one for each.
    stride : int or tuple of int, optional
        Distance between places; default: the size of the window.
    padding : str, int, tuple of int or of pairs, default "valid"
        ``"valid"`` none, ``"same"``, ``"full"``, a number for all sides, one for each axis, or
        pairs ``(before, behind)``. It is never the largest, also among negative elements.
        PyTorch refuses more than half a window; here every window must see an element.
    dilation : int or tuple of int, default 1
        Distance between the elements that a window sees.
    ceil_mode : bool, default False
        Round the number of places up: the last window may reach beyond the padding. As in
        PyTorch it must start before the padding behind.
    return_indices : bool, default False
        Give also where the largest elements lie, as :func:`max_unpool` takes it.

    Returns
    -------
    Node, or tuple of two
        Of shape ``(batch, channels, *places)``. Indices are int64 and count the elements of all
        spatial axes in row-major order.

    Raises
    ------
    ShapeError
        If there is no spatial axis, the window does not fit, or one sees only padding.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.max_pool([[[1.0, 4.0, 3.0, 2.0]]], 2))
    array([[[4., 3.]]], dtype=float32)
    >>> gn.max_pool(gn.input("x", shape=("batch", 8, 28, 28)), 3, stride=2, padding=1).shape
    (Dim(batch), 8, 14, 14)
    """
    x = as_real("max_pool", x)
    seen = pooling_window("max_pool", x, window, stride, padding, dilation)
    attrs = {"window": rounded_up(seen) if ceil_mode else seen}
    top = make_node(MAX_POOL, (x,), attrs)
    return (top, make_node(MAX_POOL_INDICES, (x,), attrs)) if return_indices else top


def _max_unpool(x: Any, indices: Any, size: Any) -> Array:
    spread = np.zeros(
        (*np.shape(x)[:2], *np.broadcast_to(size, np.ndim(x) - 2)), np.asarray(x).dtype
    )
    for lead in np.ndindex(np.shape(x)[:2]):
        for place in np.ndindex(np.shape(x)[2:]):
            spread[lead].flat[indices[lead][place]] = x[lead][place]
    return spread


@operation(
    reference=_max_unpool,
    samples=[
        Sample(Arg((2, 1, 3)), np.array([[[0, 5, 2]], [[1, 2, 3]]]), 6),
        Sample(Arg((1, 2, 2, 2)), Arg((1, 2, 2, 2), 0, 11, kind="int"), (3, 4)),
        Sample(Arg((1, 1, 3)), np.array([[[1, 1, 1]]]), 2),
        Sample(Arg((1, 1, 1, 2, 2)), Arg((1, 1, 1, 2, 2), 0, 7, kind="int"), 2),
        Sample(Arg((0, 2, 2, 2)), Arg((0, 2, 2, 2), 0, 7, kind="int"), 4),
    ],
    rejects=[
        Reject(ShapeError, "(1, 2, 3) and indices (1, 2, 2)", Arg((1, 2, 3)), [[[0, 1]] * 2], 6),
        Reject(ShapeError, "index 6 is out of range", Arg((1, 1, 2)), [[[0, 6]]], 6),
        Reject(ShapeError, "index -1 is negative", Arg((1, 1, 2)), [[[0, -1]]], 6),
        Reject(DTypeError, "must be integers", Arg((1, 1, 2)), [[[0.0, 1.0]]], 6),
        Reject(DTypeError, "bool is not supported", Arg((1, 1, 2), kind="bool"), [[[0, 1]]], 6),
    ],
    dtypes="if",
    corner="of elements with the same index the last one stays, and has the derivative",
)
def max_unpool(x: Any, indices: Any, size: Any) -> Node:
    """The largest elements back at their places, 0 elsewhere: what undoes :func:`max_pool`.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *places)``.
    indices : array_like or Node
        Integers of the same shape, from ``max_pool(..., return_indices=True)``.
    size : size or tuple of sizes
        Of the spatial axes of the result: what was pooled. One for all, or one for each.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *size)``.

    Raises
    ------
    ShapeError
        If the shapes differ or a known index is out of range.
    FeedError
        When the program runs, if an index is out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> top, indices = gn.max_pool([[[1.0, 4.0, 3.0, 2.0]]], 2, return_indices=True)
    >>> gn.evaluate(gn.max_unpool(top, indices, 4))
    array([[[0., 4., 3., 0.]]], dtype=float32)
    """
    (x,) = operands("max_unpool", [x], "if")
    ndim = spatial_axes("max_unpool", x)
    spatial = spatial_sizes("max_unpool", size, ndim)
    places = index_node("max_unpool", indices, product(spatial))
    if places.op is CONSTANT and (places.attrs["value"].array < 0).any():
        raise ShapeError(f"max_unpool: index {places.attrs['value'].array.min()} is negative")
    if places.shape != x.shape:
        raise ShapeError(
            f"max_unpool: an array {shape_text(x.shape)} and indices {shape_text(places.shape)}",
            hint="both come from gn.max_pool(..., return_indices=True)",
        )
    lead, count = x.shape[:2], product(spatial)
    # An index below 0 is no place counted from the end: it is refused.
    named = {"low": 0, "high": count, "what": "max_unpool: index"}
    rows = make_node(REQUIRE_RANGE, (to_shape(places, (*lead, product(x.shape[2:]))),), named)
    empty = zeros((*lead, count), x.dtype)
    return to_shape(put_along_axis(empty, rows, to_shape(x, rows.shape)), (*lead, *spatial))
