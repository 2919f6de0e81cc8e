"""The geometry of windows that slide over spatial axes, for convolution and pooling alike.

A window of ``size`` elements, ``dilation`` apart, is put at every ``stride``-th place of an axis
that has been padded by ``low`` and ``high`` elements. It fits

    (n + low + high - (dilation * (size - 1) + 1)) // stride + 1

times into ``n`` elements. Arrays have the axes ``(batch, channels, *spatial)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphnn.core.dims import Shape, Size, exact_quotient
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.ops.axes import listed, whole_number

__all__ = [
    "Window",
    "divided_channels",
    "for_each_axis",
    "per_axis",
    "slide",
    "sliding_window",
    "window_count",
]

PADDINGS = ("valid", "same", "full")


@dataclass(frozen=True)
class Window:
    """A sliding window: one number for every spatial axis in each tuple.

    Attributes
    ----------
    size, stride, dilation : tuple of int
    low, high : tuple of int
        Elements of padding before and behind; negative ones cut off.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    def __str__(self) -> str:
        """The size and what is not as by default, for dumps: ``3x3 stride 2x2 padding 1+1x0+1``."""
        plain = {"stride": self.stride, "dilation": self.dilation}
        text = [_times(self.size)]
        text += [f"{word} {_times(each)}" for word, each in plain.items() if max(each) > 1]
        sides = zip(self.low, self.high, strict=True)
        text += [f"padding {_times(f'{low}+{high}' for low, high in sides)}"] if self.pads else []
        return " ".join(text)

    @property
    def extent(self) -> tuple[int, ...]:
        """How many elements the window spans, with the gaps between those it sees."""
        return tuple((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))

    @property
    def pads(self) -> bool:
        """Whether there is any padding."""
        return any((*self.low, *self.high))


def _times(each: Iterable[object]) -> str:
    return "x".join(map(str, each))


def for_each_axis(what: str, word: str, given: Any, ndim: int) -> tuple[Any, ...]:
    """Something for every spatial axis, from one for all or one for each.

    Raises
    ------
    ShapeError
        If they are too many or too few.
    """
    values = listed(given)
    if len(values) == 1:
        values *= ndim
    if len(values) != ndim:
        raise ShapeError(
            f"{what}: {len(values)} values of {word} for {ndim} spatial axes",
            hint="one for all of them, or one for each",
        )
    return values


def per_axis(what: str, word: str, given: Any, ndim: int, least: int = 1) -> tuple[int, ...]:
    """A number for every spatial axis, from one for all or one for each.

    Raises
    ------
    ShapeError
        If they are too many or too few, no integers, or below ``least``.
    """
    each_given = for_each_axis(what, word, given, ndim)
    values = tuple(whole_number(what, word, each) for each in each_given)
    for value in values:
        if value < least:
            raise ShapeError(f"{what}: {word} must be at least {least}, not {value}")
    return values


def divided_channels(what: str, channels: Size, parts: Sequence[int]) -> Size:
    """Channels by the product of some numbers, which must divide them.

    Raises
    ------
    ShapeError
    """
    quotient = exact_quotient(channels, math.prod(parts))
    if quotient is None:
        text = " * ".join(map(str, parts))
        raise ShapeError(
            f"{what}: {channels} channels are no multiple of {text} = {math.prod(parts)}",
            hint="the channels are axis 1 of (batch, channels, *spatial)",
        )
    return quotient


def sliding_window(
    what: str,
    spatial: Shape,
    size: Sequence[int],
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> Window:
    """The window that a user describes.

    Parameters
    ----------
    what : str
        Name of the operation, for errors.
    spatial : tuple of sizes
        Sizes of the spatial axes.
    size : sequence of int
        Size of the window along each.
    stride, dilation : int or sequence of int
        One for all axes, or one for each.
    padding : str, int or sequence
        ``"valid"``: none. ``"same"``: so much that the window fits ``ceil(n / stride)`` times,
        the odd element behind. ``"full"``: so much that it sees every element wherever it
        touches. Or numbers of elements: one for all sides, one for each axis, or a pair
        ``(before, behind)`` for each axis.

    Raises
    ------
    ShapeError, ArgumentError
    """
    ndim = len(spatial)
    strides = per_axis(what, "stride", stride, ndim)
    dilations = per_axis(what, "dilation", dilation, ndim)
    window = Window(tuple(size), strides, dilations, (0,) * ndim, (0,) * ndim)
    pairs = _paddings(what, spatial, window, padding)
    low, high = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    return Window(tuple(size), strides, dilations, low, high)


def _paddings(what: str, spatial: Shape, window: Window, padding: Any) -> Sequence[tuple[int, int]]:
    ndim, extent = len(spatial), window.extent
    if isinstance(padding, str):
        if padding not in PADDINGS:
            raise ArgumentError(
                f"{what}: no padding {padding!r}",
                hint='"valid", "same", "full", or numbers of elements',
            )
        if padding == "valid":
            return [(0, 0)] * ndim
        if padding == "full":
            return [(each - 1, each - 1) for each in extent]
        return [_same(what, *each) for each in zip(spatial, extent, window.stride, strict=True)]
    given = listed(padding)
    if any(isinstance(each, tuple | list) for each in given):
        if len(given) != ndim:
            raise ShapeError(
                f"{what}: {len(given)} pairs of padding for {ndim} spatial axes",
                hint="one pair (before, behind) for each, or one number for all sides",
            )
        return [_pair(what, each) for each in given]
    return [(each, each) for each in per_axis(what, "padding", padding, ndim, least=0)]


def _pair(what: str, given: Any) -> tuple[int, int]:
    before, behind = per_axis(what, "padding", given, 2, least=0)
    return before, behind


def _same(what: str, size: Size, extent: int, stride: int) -> tuple[int, int]:
    """The padding with which a window fits ``ceil(size / stride)`` times."""
    if stride == 1:
        total = extent - 1
    elif isinstance(size, int):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    else:
        raise ShapeError(
            f'{what}: padding "same" with stride {stride} depends on the size {size}, '
            "which is not known yet",
            hint="give numbers of elements, or the input a fixed size",
        )
    return total // 2, total - total // 2


def window_count(what: str, window: Window, spatial: Shape) -> Shape:
    """How often a window fits along every axis.

    Raises
    ------
    ShapeError
        If it does not fit once, with the formula and the numbers.
    """
    return tuple(
        slide(what, axis, n, window.size[axis], window.stride[axis], window.dilation[axis],
              window.low[axis], window.high[axis])
        for axis, n in enumerate(spatial)
    )  # fmt: skip


def slide(
    what: str, axis: int, n: Size, size: int, stride: int, dilation: int, low: int, high: int
) -> Size:
    """How often a window fits along one spatial axis of ``n`` elements."""
    room = n + (low + high - (dilation * (size - 1) + 1))
    if isinstance(room, int) and room < 0:
        raise ShapeError(
            f"{what}: the window does not fit along spatial axis {axis}: "
            f"(n + padding - (dilation * (window - 1) + 1)) // stride + 1 = "
            f"({n} + {low + high} - ({dilation} * ({size} - 1) + 1)) // {stride} + 1 "
            "is less than 1",
            hint="pad the array, or take a smaller window",
        )
    return room // stride + 1
