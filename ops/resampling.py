"""Resampling: images of another size by nearest or linear interpolation, and pixel shuffling.

Everything is done axis by axis: an element of the result comes from one place of the axis, or
from two with weights that add up to 1. Places are computed when the graph is built, in exact
fractions, so that no rounding shifts them by one; the result is linear in the array and can be
differentiated to any order.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from graphnn.core.dims import Size, exact_quotient
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.arithmetic import add, multiply, where
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.geometry import divided_channels, for_each_axis, per_axis
from graphnn.ops.indexing import take
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node, as_real, cast_to, require_floating, widened
from graphnn.ops.padding import repeat
from graphnn.ops.windows import spatial_axes, spatial_sizes

__all__ = ["pixel_shuffle", "pixel_unshuffle", "resize"]

METHODS = ("nearest", "nearest-exact", "linear")


# -------------------------------------------------------------------------------------- resizing


def _reference_places(n: int, m: int, step: float, method: str, align_corners: bool) -> Array:
    """For references: the matrix that resizes ``n`` elements to ``m``, row by row in floats."""
    matrix = np.zeros((m, n))
    for i in range(m):
        if method == "nearest":
            matrix[i, min(math.floor(i * step + 1e-9), n - 1)] = 1.0
        elif method == "nearest-exact":
            matrix[i, min(math.floor((i + 0.5) * step + 1e-9), n - 1)] = 1.0
        else:
            at = i * (n - 1) / max(m - 1, 1) if align_corners else (i + 0.5) * step - 0.5
            at = min(max(at, 0.0), n - 1.0) if n != m else i
            for j in range(n):
                matrix[i, j] = max(0.0, 1.0 - abs(at - j))
    return matrix


def _resize(
    x: Any,
    size: Any = None,
    *,
    scale: Any = None,
    method: str = "nearest",
    align_corners: bool = False,
) -> Array:
    for axis in range(2, np.ndim(x)):
        n = np.shape(x)[axis]
        if scale is None:
            m = int(np.broadcast_to(size, np.ndim(x) - 2)[axis - 2])
            step = n / m
        else:
            factor = float(np.broadcast_to(scale, np.ndim(x) - 2)[axis - 2])
            m, step = math.floor(n * factor), 1.0 / factor
        matrix = _reference_places(n, m, step, method, align_corners)
        x = np.moveaxis(np.tensordot(x, matrix, (axis, 1)), -1, axis)
    return np.asarray(x)


@operation(
    reference=_resize,
    samples=[
        Sample(Arg((2, 3, 4)), 8),
        Sample(Arg((1, 2, 5, 3)), (3, 7)),
        Sample(Arg((1, 2, 5, 4)), scale=(1.5, 0.5)),
        Sample(Arg((1, 2, 5, 3)), (3, 7), method="nearest-exact"),
        Sample(Arg((1, 1, 2, 3, 2)), (4, 3, 5), method="nearest-exact"),
        Sample(Arg((2, 2, 3)), 7, method="linear"),
        Sample(Arg((1, 2, 5, 3)), (3, 7), method="linear"),
        Sample(Arg((1, 1, 2, 3, 2)), (4, 1, 3), method="linear", align_corners=True),
        Sample(Arg((1, 2, 5, 4)), scale=(1.7, 0.5), method="linear"),
        Sample(Arg((1, 2, 5, 4)), scale=1.2, method="linear"),
        Sample(Arg((0, 2, 4)), 3, method="linear"),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ArgumentError, "either size or scale", Arg((1, 2, 4))),
        Reject(ArgumentError, "either size or scale", Arg((1, 2, 4)), 2, scale=0.5),
        Reject(ArgumentError, "no method 'cubic'", Arg((1, 2, 4)), 2, method="cubic"),
        Reject(ArgumentError, "align_corners", Arg((1, 2, 4)), 2, align_corners=True),
        Reject(ShapeError, "4 elements cannot be resized to 0", Arg((1, 2, 4)), 0),
        Reject(ShapeError, "4 elements cannot be resized to 0", Arg((1, 2, 4)), scale=0.1),
        Reject(ShapeError, "0 elements cannot be resized to 3", Arg((1, 2, 0)), 3),
        Reject(ArgumentError, "scale must be a positive number", Arg((1, 2, 4)), scale=-1.0),
        Reject(ArgumentError, "number, not True", Arg((1, 2, 4)), scale=True),
        Reject(ShapeError, "3 values of scale for 2", Arg((1, 2, 4, 4)), scale=(1.0, 2.0, 3.0)),
    ],
    dtypes="if",
)
def resize(
    x: Any,
    size: Any = None,
    *,
    scale: Any = None,
    method: str = "nearest",
    align_corners: bool = False,
) -> Node:
    """Space of another size: of the nearest elements, or interpolated linearly.

    The same as ``torch.nn.functional.interpolate``, with these methods for any number of
    spatial axes ("linear" is bilinear for two and trilinear for three). Place ``i`` of ``m``
    along an axis of ``n`` elements comes from place

    - ``floor(i * n / m)`` for "nearest",
    - ``floor((i + 0.5) * n / m)`` for "nearest-exact",
    - ``(i + 0.5) * n / m - 0.5`` for "linear", not below 0, between its two neighbours,
    - ``i * (n - 1) / (m - 1)`` if corners are aligned.

    If ``scale`` is given, it stands for ``m / n`` there; but an axis that keeps its size is not
    interpolated. There is no smoothing before an image is made smaller; use
    :func:`adaptive_avg_pool` for that.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``. For "linear" integers become float32, and
        half floats are computed in float32.
    size : size or tuple of sizes, optional
        Of the spatial axes of the result: one for all, or one for each.
    scale : float or tuple of float, optional
        Instead of the size: how much larger, rounded down to whole elements.
    method : {"nearest", "nearest-exact", "linear"}
    align_corners : bool, default False
        For "linear": the first and last elements stay where they are, not the outer edges.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *size)``.

    Raises
    ------
    ShapeError
        If there is no spatial axis, one is or becomes empty, or is of unknown size. (Nearest
        elements by a whole ``scale`` need no known size.)
    ArgumentError
        If not exactly one of ``size`` and ``scale`` is given, or for an unknown method.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = [[[0.0, 4.0]]]
    >>> gn.evaluate(gn.resize(x, 4))
    array([[[0., 0., 4., 4.]]], dtype=float32)
    >>> gn.evaluate(gn.resize(x, 4, method="linear"))
    array([[[0., 1., 3., 4.]]], dtype=float32)
    >>> gn.evaluate(gn.resize(x, 5, method="linear", align_corners=True))
    array([[[0., 1., 2., 3., 4.]]], dtype=float32)
    """
    given = as_real("resize", x)
    if method not in METHODS:
        raise ArgumentError(
            f"resize: there is no method {method!r}",
            hint="one of " + ", ".join(map(repr, METHODS)),
        )
    if align_corners and method != "linear":
        raise ArgumentError(
            f"resize: align_corners is for the method 'linear', not {method!r}",
            hint="leave it out: nearest elements have no corners to align",
        )
    targets = _targets(given, size, scale)
    if method == "linear":
        given = require_floating("resize", given)
    resized = widened(given) if method == "linear" else given
    for axis, (n, m, step) in enumerate(targets, start=2):
        resized = _resize_axis(resized, axis, n, m, step, method, align_corners)
    return cast_to(resized, given.dtype)


Target: TypeAlias = "tuple[Size, Size, Fraction | None]"
"""Of an axis: its size, that of the result, and how far apart neighbours are taken from; None
for their quotient, which is not known yet."""


def _targets(x: Node, size: Any, scale: Any) -> list[Target]:
    """What becomes of every spatial axis.

    Raises
    ------
    ShapeError, ArgumentError
    """
    ndim = spatial_axes("resize", x)
    if (size is None) == (scale is None):
        given = "neither" if size is None else "both"
        raise ArgumentError(
            f"resize: give either size or scale, not {given}",
            hint="size=224 for so many elements, scale=2 for so many times as many",
        )
    spatial = x.shape[2:]
    targets: list[Target] = []
    if scale is None:
        for n, m in zip(spatial, spatial_sizes("resize", size, ndim), strict=True):
            known = isinstance(n, int) and isinstance(m, int) and m > 0
            targets.append((n, m, Fraction(int(n), int(m)) if known else None))
    else:
        factors = for_each_axis("resize", "scale", scale, ndim)
        targets = [_scaled(n, factor) for n, factor in zip(spatial, factors, strict=True)]
    for n, m, _ in targets:
        if n == 0 or m == 0:
            raise ShapeError(
                f"resize: {n} elements cannot be resized to {m}",
                hint="every spatial axis needs an element, before and after",
            )
    return targets


def _scaled(n: Size, scale: Any) -> Target:
    """An axis that becomes ``scale`` times larger."""
    is_number = isinstance(scale, int | float | np.number) and not isinstance(scale, bool)
    if not is_number or not 0 < scale < math.inf:
        raise ArgumentError(
            f"resize: scale must be a positive number, not {scale!r}",
            hint="2 for twice as many elements, 0.5 for half as many",
        )
    factor = _simplest_fraction(float(scale))
    if isinstance(n, int):
        return n, math.floor(n * float(scale)), 1 / factor
    if factor.denominator != 1:
        raise ShapeError(
            f"resize: {n} times {scale} is not known until the program is called",
            hint="give the input a fixed size, or a whole scale",
        )
    return n, n * factor.numerator, 1 / factor


def _simplest_fraction(value: float) -> Fraction:
    """What a float was meant to be: 11/10 for 1.1, whose binary value lies above."""
    simple = Fraction(value).limit_denominator(1_000_000)
    return simple if float(simple) == value else Fraction(value)


def _unknown(n: Size, m: Size) -> ShapeError:
    return ShapeError(
        f"resize: places are computed now, but not all sizes are known of {n} resized to {m}",
        hint="give the input a fixed size; nearest elements by a whole scale need none",
    )


def _resize_axis(
    x: Node, axis: int, n: Size, m: Size, step: Fraction | None, method: str, align_corners: bool
) -> Node:
    factor = exact_quotient(m, n)
    if factor == 1 and (method == "linear" or step in (None, 1)):
        return x
    if isinstance(factor, int) and method != "linear" and step in (None, Fraction(1, factor)):
        return repeat(x, factor, axis)
    if not isinstance(n, int) or not isinstance(m, int) or step is None:
        raise _unknown(n, m)
    if method == "linear":
        return _interpolate(x, axis, *_neighbours(n, m, step, align_corners))
    p, q = step.numerator, step.denominator
    if method == "nearest":
        places = [i * p // q for i in range(m)]
    else:
        places = [(2 * i + 1) * p // (2 * q) for i in range(m)]
    return take(x, np.minimum(places, n - 1), axis)


def _neighbours(n: int, m: int, step: Fraction, align_corners: bool) -> tuple[Array, Array, Array]:
    """For every place of the result its two neighbours, and the weight of the upper one."""
    if align_corners:
        step, first = Fraction(n - 1, max(m - 1, 1)), Fraction(0)
    else:
        first = (step - 1) / 2
    q = 2 * step.denominator  # of all places; integers are many times faster than fractions
    start, stride = int(first * q), int(step * q)
    places = [min(max(start + i * stride, 0), (n - 1) * q) for i in range(m)]
    below = np.array([place // q for place in places])
    weight = np.array([place % q / q for place in places])
    return below, np.minimum(below + 1, n - 1), weight


def _interpolate(x: Node, axis: int, below: Array, above: Array, weight: Array) -> Node:
    column = weight.reshape(-1, *(1,) * (x.ndim - axis - 1))
    lower = take(x, below, axis)
    between = add(
        multiply(lower, constant(1.0 - column, x.dtype)),
        multiply(take(x, above, axis), constant(column, x.dtype)),
    )
    # What has weight 0 is not seen, be it infinite.
    return where(constant(column == 0.0), lower, between)


# ------------------------------------------------------------------------------- pixel shuffling


def _factors(what: str, x: Node, factor: Any) -> tuple[int, ...]:
    return per_axis(what, "factor", factor, spatial_axes(what, x))


def _pixel_shuffle(x: Any, factor: Any) -> Array:
    factors = np.broadcast_to(factor, np.ndim(x) - 2).tolist()
    channels = np.shape(x)[1] // math.prod(factors)
    sizes = [n * each for n, each in zip(np.shape(x)[2:], factors, strict=True)]
    out = np.empty((len(x), channels, *sizes), np.asarray(x).dtype)
    for channel in range(channels):
        for number, phase in enumerate(np.ndindex(*factors)):
            cells = [slice(i, None, each) for i, each in zip(phase, factors, strict=True)]
            place: tuple[Any, ...] = (slice(None), channel, *cells)
            out[place] = x[:, channel * math.prod(factors) + number]
    return out


@operation(
    reference=_pixel_shuffle,
    samples=[
        Sample(Arg((2, 4, 3, 2)), 2),
        Sample(Arg((1, 6, 4)), 3),
        Sample(Arg((1, 12, 2, 1)), (2, 3)),
        Sample(Arg((1, 8, 1, 2, 3)), 2),
        Sample(Arg((0, 4, 3, 2)), 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "6 channels are no multiple of 2 * 2 = 4", Arg((1, 6, 3, 3)), 2),
        Reject(ShapeError, "factor must be at least 1", Arg((1, 4, 3, 3)), 0),
    ],
    dtypes="bifc",
)
def pixel_shuffle(x: Any, factor: Any) -> Node:
    """Channels become finer pixels: ``prod(factor)`` of them one block of space.

    Also called depth to space; ``torch.nn.functional.pixel_shuffle`` for any number of spatial
    axes. :func:`pixel_unshuffle` undoes it.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels * prod(factor), *spatial)``.
    factor : int or tuple of int
        Size of a block: one number for all spatial axes, or one for each.

    Returns
    -------
    Node
        Of shape ``(batch, channels, *(spatial * factor))``. Consecutive channels fill a block
        in row-major order.

    Raises
    ------
    ShapeError
        If there is no spatial axis, or channels do not divide.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.pixel_shuffle([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]], 2))
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """
    x = as_node(x)
    factors = _factors("pixel_shuffle", x, factor)
    channels = divided_channels("pixel_shuffle", x.shape[1], factors)
    ndim, spatial = len(factors), x.shape[2:]
    apart = to_shape(x, (x.shape[0], channels, *factors, *spatial))
    pairs = (axis for each in range(2, 2 + ndim) for axis in (each + ndim, each))
    sizes = (n * each for n, each in zip(spatial, factors, strict=True))
    return to_shape(permute(apart, (0, 1, *pairs)), (x.shape[0], channels, *sizes))


def _pixel_unshuffle(x: Any, factor: Any) -> Array:
    factors = np.broadcast_to(factor, np.ndim(x) - 2).tolist()
    cells = []
    for channel in range(np.shape(x)[1]):
        for phase in np.ndindex(*factors):
            cell = x[:, channel]
            for axis, (first, step) in enumerate(zip(phase, factors, strict=True), start=1):
                cell = np.take(cell, range(first, cell.shape[axis], step), axis)
            cells.append(cell)
    return np.stack(cells, 1)


@operation(
    reference=_pixel_unshuffle,
    samples=[
        Sample(Arg((2, 1, 6, 4)), 2),
        Sample(Arg((1, 2, 6)), 3),
        Sample(Arg((1, 2, 4, 3)), (2, 3)),
        Sample(Arg((1, 1, 2, 4, 6)), 2),
        Sample(Arg((0, 4, 2, 2)), 2),
    ],
    rejects=[
        Reject(ShapeError, "the array has 2 axes", Arg((3, 4)), 2),
        Reject(ShapeError, "size 3 of spatial axis 1 is no multiple of 2", Arg((1, 6, 4, 3)), 2),
    ],
    dtypes="bifc",
)
def pixel_unshuffle(x: Any, factor: Any) -> Node:
    """Blocks of pixels become channels of one coarser pixel; undoes :func:`pixel_shuffle`.

    Also called space to depth.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``.
    factor : int or tuple of int
        Size of a block: one number for all spatial axes, or one for each.

    Returns
    -------
    Node
        Of shape ``(batch, channels * prod(factor), *(spatial / factor))``.

    Raises
    ------
    ShapeError
        If there is no spatial axis, or blocks do not fill it.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.pixel_unshuffle(gn.input("x", shape=("batch", 3, 28, 28)), 2).shape
    (Dim(batch), 12, 14, 14)
    """
    x = as_node(x)
    factors = _factors("pixel_unshuffle", x, factor)
    split: list[Size] = []
    for axis, (n, each) in enumerate(zip(x.shape[2:], factors, strict=True)):
        blocks = exact_quotient(n, each)
        if blocks is None:
            raise ShapeError(
                f"pixel_unshuffle: size {n} of spatial axis {axis} is no multiple of {each}",
                hint="pad or cut the array, so that blocks fill it",
            )
        split += [blocks, each]
    apart = to_shape(x, (*x.shape[:2], *split))
    moved = permute(apart, (0, 1, *range(3, apart.ndim, 2), *range(2, apart.ndim, 2)))
    channels = x.shape[1] * math.prod(factors)
    return to_shape(moved, (x.shape[0], channels, *split[::2]))
