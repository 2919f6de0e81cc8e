"""What a window sees wherever it is put, and the way back: patches of an image, sums of windows.

``windows`` only looks at memory differently; its transpose ``overlap_add`` adds what windows
hold to the places they were taken from. ``window_sum`` is the sum over each window, without the
copies. Padding is added before and cut off after them; see :mod:`graphnn.ops.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphnn.core.dims import Shape, is_known, product
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, output_size, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.axes import as_shape
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.geometry import (
    Window,
    divided_channels,
    for_each_axis,
    per_axis,
    sliding_window,
    window_count,
)
from graphnn.ops.joining import pad_with, slice_
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node, operands
from graphnn.ops.window_references import seen_windows

__all__ = ["fold", "patches"]


# ------------------------------------------------------------------------------------- the ops


class WindowsOp(LinearOp):
    """The last axes ``(..., *S)`` as ``(..., *S', *K)``: for every place, what a window sees."""

    name = "windows"
    is_view = True
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, window: Window) -> TensorSpec:
        lead, spatial = split_shape(x.shape, window)
        counts = window_count(self.name, window, spatial)
        return TensorSpec((*lead, *counts, *window.size), x.dtype)

    def evaluate(self, x: Array, *, window: Window) -> Array:
        lead, spatial = split_shape(x.strides, window)
        places = (stride * step for stride, step in zip(spatial, window.stride, strict=True))
        inside = (stride * step for stride, step in zip(spatial, window.dilation, strict=True))
        shape = self.infer(TensorSpec(x.shape, x.dtype), window=window).shape
        assert is_known(shape)
        return as_strided(x, shape, (*lead, *places, *inside), writeable=False)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        _, spatial = split_shape(node.inputs[0].shape, node.attrs["window"])
        return make_node(OVERLAP_ADD, (cotangent,), {**node.attrs, "spatial": spatial})


class OverlapAddOp(LinearOp):
    """The last axes ``(..., *S', *K)`` added up as ``(..., *S)``: the transpose of `WindowsOp`.

    Half floats accumulate in float32.
    """

    name = "overlap_add"
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, window: Window, spatial: Shape) -> TensorSpec:
        ndim = len(window.size)
        expected = (*window_count(self.name, window, spatial), *window.size)
        given = x.shape[-2 * ndim :]
        if given != expected:
            raise ShapeError(
                f"overlap_add: windows over {shape_text(spatial)} have axes "
                f"{shape_text(expected)}, not {shape_text(given)}"
            )
        return TensorSpec((*x.shape[: -2 * ndim], *spatial), x.dtype)

    def evaluate(self, x: Array, *, window: Window, spatial: Any) -> Array:
        out = np.empty((*x.shape[: -2 * len(spatial)], *spatial), x.dtype)
        self.evaluate_into(out, x, window=window, spatial=spatial)
        return out

    def evaluate_into(self, out: Array, x: Array, *, window: Window, spatial: Any) -> None:
        if is_half(out.dtype):
            out[...] = self.evaluate(x.astype(FLOAT32), window=window, spatial=spatial)
            return
        counts = x.shape[-2 * len(spatial) : -len(spatial)]
        out[...] = 0
        for tap in np.ndindex(*window.size):
            place: Any = tuple(map(tap_slice, tap, counts, window.stride, window.dilation))
            out[(..., *place)] += x[(..., *tap)]

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return make_node(WINDOWS, (cotangent,), {"window": node.attrs["window"]})

    def flops(self, node: Node) -> int:
        return int(node.inputs[0].size)


class WindowSumOp(LinearOp):
    """The sum of what a window sees, one axis after the other; half floats add in float32."""

    name = "window_sum"
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, window: Window) -> TensorSpec:
        lead, spatial = split_shape(x.shape, window)
        return TensorSpec((*lead, *window_count(self.name, window, spatial)), x.dtype)

    def evaluate(self, x: Array, *, window: Window) -> Array:
        total = x.astype(FLOAT32) if is_half(x.dtype) else x
        lead, spatial = split_shape(x.shape, window)
        counts = [int(each) for each in window_count(self.name, window, spatial)]
        for each in reversed(range(len(counts))):
            count, stride, dilation = counts[each], window.stride[each], window.dilation[each]
            first, *others = (
                along(total, len(lead) + each, tap_slice(tap, count, stride, dilation))
                for tap in range(window.size[each])
            )
            total = first.copy()
            for other in others:
                total += other
        return total.astype(x.dtype, copy=False)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        window = node.attrs["window"]
        _, spatial = split_shape(node.inputs[0].shape, window)
        apart = to_shape(cotangent, (*cotangent.shape, *(1 for _ in spatial)))
        spread = broadcast_to(apart, (*cotangent.shape, *window.size))
        return make_node(OVERLAP_ADD, (spread,), {"window": window, "spatial": spatial})

    def flops(self, node: Node) -> int:
        return output_size(node) * int(sum(node.attrs["window"].size))


WINDOWS, OVERLAP_ADD, WINDOW_SUM = WindowsOp(), OverlapAddOp(), WindowSumOp()
for _op in (WINDOWS, OVERLAP_ADD, WINDOW_SUM):
    register(_op)


def split_shape(shape: Sequence[Any], window: Window) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What belongs to the leading axes, and to the last ones, over which the window slides."""
    at = len(shape) - len(window.size)
    return tuple(shape[:at]), tuple(shape[at:])


def along(x: Array, axis: int, part: slice) -> Array:
    """Part of an array along one axis."""
    view: Array = x[(slice(None),) * axis + (part,)]
    return view


def tap_slice(tap: int, count: int, stride: int, dilation: int) -> slice:
    """What one element of a window sees along an axis, wherever the window is put."""
    first = tap * dilation
    return slice(first, first + (count - 1) * stride + 1, stride)


# ------------------------------------------------------------------------ for other families


def spatial_axes(what: str, x: Node) -> int:
    """How many spatial axes an array ``(batch, channels, *spatial)`` has.

    Raises
    ------
    ShapeError
        If there is none.
    """
    if x.ndim < 3:
        raise ShapeError(
            f"{what}: the array has {x.ndim} axes, (batch, channels, *spatial) at least 3",
            hint="add axes of size one with gn.expand_dims",
        )
    return x.ndim - 2


def window_over(
    what: str, spatial: Shape, window: Any, stride: Any, padding: Any, dilation: Any
) -> Window:
    """The window that a user describes, over spatial axes of some sizes.

    Raises
    ------
    ShapeError, ArgumentError
    """
    size = per_axis(what, "the window's size", window, len(spatial))
    return sliding_window(what, spatial, size, stride, padding, dilation)


def spatial_sizes(what: str, size: Any, ndim: int) -> Shape:
    """A size for every spatial axis, from one for all or one for each.

    Raises
    ------
    ShapeError
    """
    return as_shape(what, for_each_axis(what, "size", size, ndim))


def pad_spatial(x: Node, low: Sequence[int], high: Sequence[int], value: Any = 0) -> Node:
    """A value around the last axes."""
    lead = (0,) * (x.ndim - len(low))
    return pad_with(x, (*lead, *low), (*lead, *high), value=value)


def windows(x: Node, window: Window) -> Node:
    """What the window sees at every place, ``(..., *places, *window)``; zeros in the padding."""
    padded = pad_spatial(x, window.low, window.high)
    return make_node(WINDOWS, (padded,), {"window": without_padding(window)})


def window_sum(x: Node, window: Window) -> Node:
    """The sum of what the window sees at every place."""
    padded = pad_spatial(x, window.low, window.high)
    return make_node(WINDOW_SUM, (padded,), {"window": without_padding(window)})


def overlap_add(x: Node, window: Window, spatial: Shape) -> Node:
    """Windows added up where they were taken from; the transpose of :func:`windows`."""
    ndim = len(spatial)
    padded = [n + low + high for n, low, high in zip(spatial, window.low, window.high, strict=True)]
    attrs = {"window": without_padding(window), "spatial": tuple(padded)}
    whole = make_node(OVERLAP_ADD, (x,), attrs)
    lead = whole.shape[:-ndim]
    return slice_(whole, (*(0 for _ in lead), *window.low), (*lead, *spatial), (1,) * whole.ndim)


def without_padding(window: Window) -> Window:
    """The window over an array that has been padded."""
    none = (0,) * len(window.size)
    return replace(window, low=none, high=none)


# ----------------------------------------------------------------------------- what users call


def _patches(x: Any, window: Any, **options: Any) -> Array:
    seen = seen_windows(x, window, **options)
    ndim = np.ndim(x) - 2
    inside_first = np.moveaxis(seen, range(-ndim, 0), range(2, 2 + ndim))
    channels = np.shape(x)[1] * prod(seen.shape[-ndim:])
    return inside_first.reshape(len(x), channels, *seen.shape[2 : 2 + ndim])


def _fold(x: Any, size: Any, window: Any, **options: Any) -> Array:
    channels = np.shape(x)[1] // prod(np.broadcast_to(window, np.ndim(x) - 2).tolist())
    sizes = np.broadcast_to(size, np.ndim(x) - 2)
    numbers = np.arange(1, channels * prod(sizes.tolist()) + 1).reshape(1, channels, *sizes)
    folded = np.zeros((len(x), numbers.size + 1), np.asarray(x).dtype)  # number 0 is the padding
    places = _patches(numbers, window, **options)
    np.add.at(folded, (np.arange(len(x)).reshape(-1, *(1,) * (np.ndim(x) - 1)), places), x)
    return folded[:, 1:].reshape(len(x), channels, *sizes)


@operation(
    reference=_patches,
    samples=[
        Sample(Arg((2, 3, 7)), 3),
        Sample(Arg((2, 2, 5, 6)), (2, 3), stride=(2, 1), padding=1),
        Sample(Arg((1, 2, 6, 5)), 2, padding=((1, 0), (0, 2)), dilation=(1, 3)),
        Sample(Arg((1, 1, 4, 3, 3)), 2, stride=2, padding="same"),
        Sample(Arg((1, 2, 3)), 2, padding="full", dilation=2),
        Sample(Arg((1, 1, 5)), 1, stride=3),
        Sample(Arg((0, 2, 4, 4)), 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "the window does not fit along spatial axis 1", Arg((1, 2, 5, 3)), 4),
        Reject(ShapeError, "3 values of the window's size for 2", Arg((1, 2, 5, 3)), (2, 2, 2)),
        Reject(ShapeError, "stride must be at least 1, not 0", Arg((1, 2, 5)), 2, stride=0),
        Reject(ArgumentError, "no padding 'some'", Arg((1, 2, 5)), 2, padding="some"),
    ],
    dtypes="bifc",
)
def patches(
    x: Any, window: Any, *, stride: Any = 1, padding: Any = "valid", dilation: Any = 1
) -> Node:
    """What a sliding window sees at every place, as channels there (im2col).

    In two dimensions ``torch.nn.functional.unfold``, which also makes one axis of the places;
    in JAX ``conv_general_dilated_patches``.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``.
    window : int or tuple of int
        Size of the window: one for all spatial axes, or one for each.
    stride, dilation : int or tuple of int, default 1
        Distance between places, and between the elements that the window sees.
    padding : str, int, tuple of int or of pairs, default "valid"
        Zeros around: ``"valid"`` none, ``"same"``, ``"full"``, a number for all sides, one for
        each axis, or pairs ``(before, behind)``.

    Returns
    -------
    Node
        Of shape ``(batch, channels * prod(window), *places)``. Channels of the array vary
        slowest, the last axis of the window fastest.

    Raises
    ------
    ShapeError
        If there is no spatial axis, or the window does not fit.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.patches([[[1.0, 2.0, 3.0, 4.0]]], 2))
    array([[[1., 2., 3.],
            [2., 3., 4.]]], dtype=float32)
    >>> gn.patches(gn.input("x", shape=("batch", 3, 28, 28)), 5, stride=2).shape
    (Dim(batch), 75, 12, 12)
    """
    x = as_node(x)
    ndim = spatial_axes("patches", x)
    described = window_over("patches", x.shape[2:], window, stride, padding, dilation)
    window_count("patches", described, x.shape[2:])  # refuse in these words what does not fit
    seen = windows(x, described)
    places, inside = range(2, 2 + ndim), range(2 + ndim, seen.ndim)
    ordered = permute(seen, (0, 1, *inside, *places))
    channels = product(ordered.shape[1 : 2 + ndim])
    return to_shape(ordered, (x.shape[0], channels, *seen.shape[2 : 2 + ndim]))


@operation(
    reference=_fold,
    samples=[
        Sample(Arg((2, 6, 5)), 7, 3),
        Sample(Arg((2, 12, 3, 6)), (5, 6), (2, 3), stride=(2, 1), padding=1),
        Sample(Arg((1, 4, 6, 4)), (6, 5), 2, padding=((1, 0), (0, 2)), dilation=(1, 3)),
        Sample(Arg((1, 8, 2, 2, 2)), (4, 3, 3), 2, stride=2, padding="same"),
        Sample(Arg((1, 2, 2)), 5, 1, stride=3),
        Sample(Arg((0, 4, 3, 3)), 4, 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 5, 2),
        Reject(ShapeError, "5 channels are no multiple of 2 * 2 = 4", Arg((1, 5, 3, 3)), 4, 2),
        Reject(ShapeError, "(3, 3) places, the array has (2, 3)", Arg((1, 4, 2, 3)), 4, 2),
        Reject(ShapeError, "3 values of size for 2 spatial axes", Arg((1, 4, 3, 3)), (4, 4, 4), 2),
        Reject(DTypeError, "fold: bool is not supported", Arg((1, 2, 3), kind="bool"), 4, 2),
    ],
    dtypes="ifc",
)
def fold(
    x: Any,
    size: Any,
    window: Any,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> Node:
    """Patches added up where they were taken from (col2im): the transpose of :func:`patches`.

    Elements that several windows see are added, not averaged; those that none sees are 0.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels * prod(window), *places)``.
    size : size or tuple of sizes
        Of the spatial axes of the result: one for all, or one for each.
    window, stride, padding, dilation
        As they were given to :func:`patches`.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *size)``.

    Raises
    ------
    ShapeError
        If ``patches`` of an array of that size has another shape.
    DTypeError
        For bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> ones = gn.ones((1, 1, 4))
    >>> gn.evaluate(gn.fold(gn.patches(ones, 2), 4, 2))
    array([[[1., 2., 2., 1.]]], dtype=float32)
    """
    (x,) = operands("fold", [x], "ifc")
    ndim = spatial_axes("fold", x)
    spatial = spatial_sizes("fold", size, ndim)
    seen = window_over("fold", spatial, window, stride, padding, dilation)
    counts = window_count("fold", seen, spatial)
    if x.shape[2:] != counts:
        raise ShapeError(
            f"fold: the window fits into {shape_text(spatial)} at {shape_text(counts)} places, "
            f"the array has {shape_text(x.shape[2:])}",
            hint="size, window and options must be those with which gn.patches gave the array",
        )
    channels = divided_channels("fold", x.shape[1], seen.size)
    apart = to_shape(x, (x.shape[0], channels, *seen.size, *counts))
    inside, places = range(2, 2 + ndim), range(2 + ndim, apart.ndim)
    return overlap_add(permute(apart, (0, 1, *places, *inside)), seen, spatial)
