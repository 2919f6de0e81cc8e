"""Convolution along any number of spatial axes, and what its relatives check as it does.

It is one node of the primitive in :mod:`graphnn.ops.conv_primitive`, between reshapes that give
that its axis of groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.dims import Shape, Size, exact_quotient
from graphnn.core.dtypes import DType
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.conv_primitive import conv_of
from graphnn.ops.geometry import Window, sliding_window, window_count
from graphnn.ops.operands import cast_to, operands, widened
from graphnn.ops.padding import pad
from graphnn.ops.window_references import dilated, padding_pairs, whole_numbers

__all__ = ["conv"]

PADDING_MODES = {
    "constant": "constant",
    "edge": "edge",
    "reflect": "reflect",
    "wrap": "wrap",
    "zeros": "constant",
    "replicate": "edge",
    "circular": "wrap",
}
"""The words of :func:`graphnn.pad` and those of PyTorch, in those of :func:`graphnn.pad`."""


# --------------------------------------------------------------------- what its relatives share


def computed(what: str, x: Any, kernel: Any, bias: Any) -> tuple[Node, Node, Node | None, DType]:
    """Array, kernel and bias in the dtype to compute in, and the dtype of the result.

    Half floats with a bias are widened, so that the sum is rounded once.
    """
    if bias is None:
        x, kernel = operands(what, (x, kernel), "if")
        return x, kernel, None, x.dtype
    x, kernel, bias = operands(what, (x, kernel, bias), "if")
    return widened(x), widened(kernel), widened(bias), x.dtype


def check_axes(what: str, x: Node, kernel: Node, kernel_axes: str) -> None:
    """Array and kernel have the same number of axes, one of them spatial at least.

    Raises
    ------
    ShapeError
    """
    if x.ndim != kernel.ndim or x.ndim < 3:
        raise ShapeError(
            f"{what}: the array {shape_text(x.shape)} has {x.ndim} axes, the kernel "
            f"{shape_text(kernel.shape)} {kernel.ndim}; it must be the same number, 3 or more",
            hint=f"they are (batch, channels, *spatial) and {kernel_axes}",
        )


def parts_of(what: str, word: str, size: Size, groups: Any) -> Size:
    """How many channels or filters each group has.

    Raises
    ------
    ArgumentError
        If ``groups`` is no positive integer.
    ShapeError
        If it does not divide.
    """
    require_positive(what, groups=groups)
    part = exact_quotient(size, groups)
    if part is None:
        raise ShapeError(
            f"{what}: {size} {word} do not divide into {groups} groups",
            hint="groups must divide the channels and the filters",
        )
    return part


def window_of(what: str, x: Node, shape: Shape, stride: Any, padding: Any, dilation: Any) -> Window:
    """The window that a kernel slides over an array: its spatial ``shape`` must be known."""
    for size in shape:
        if not isinstance(size, int) or size < 1:
            raise ShapeError(
                f"{what}: the kernel has window {shape_text(shape)}",
                hint="its sizes must be numbers, at least 1",
            )
    return sliding_window(
        what, x.shape[2:], [int(size) for size in shape], stride, padding, dilation
    )


def with_bias(what: str, y: Node, bias: Node | None, dtype: DType) -> Node:
    """The sum with one number for every channel of ``(batch, channels, *spatial)``."""
    if bias is not None:
        if bias.shape != (y.shape[1],):
            raise ShapeError(
                f"{what}: the bias must have shape ({y.shape[1]},), one number for each filter, "
                f"not {shape_text(bias.shape)}"
            )
        y = y + to_shape(bias, (y.shape[1], *[1] * (y.ndim - 2)))
    return cast_to(y, dtype)


def _conv(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "constant",
    flip: bool = False,
) -> Array:
    """One picture, filter and channel after the other, by SciPy."""
    from scipy.signal import convolve, correlate

    ndim = x.ndim - 2
    strides = whole_numbers(stride, ndim)
    kernel = dilated(kernel, whole_numbers(dilation, ndim))
    pairs = padding_pairs(padding, x.shape[2:], kernel.shape[2:], strides)
    mode: Any = "wrap" if padding_mode == "circular" else padding_mode
    x = np.pad(x, ((0, 0), (0, 0), *pairs), mode)
    steps = tuple(slice(None, None, each) for each in strides)
    slide = convolve if flip else correlate
    filters, channels = kernel.shape[:2]
    places = [
        (n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel.shape[2:], strides, strict=True)
    ]
    y = np.zeros((len(x), filters, *places), x.dtype)
    for n, f, c in np.ndindex(len(x), filters, channels):
        seen = x[n, f // (filters // groups) * channels + c]
        y[n, f] += slide(seen, kernel[f, c], "valid", method="direct")[steps]
    return y if bias is None else y + bias.reshape(-1, *[1] * ndim)


# ------------------------------------------------------------------------------- what users call

_X, _K = Arg((2, 3, 5, 6)), Arg((4, 3, 2, 3))


@operation(
    reference=_conv,
    samples=[
        Sample(_X, _K),
        Sample(_X, _K, Arg((4,)), padding="same"),
        Sample(_X, _K, Arg((4,)), padding="same", stride=(2, 3), flip=True),
        Sample(_X, _K, padding="full", flip=True),
        Sample(_X, _K, stride=2, padding=((2, 0), (1, 3)), dilation=(3, 2)),
        Sample(_X, Arg((4, 3, 3, 3)), padding=1, padding_mode="reflect"),
        Sample(_X, Arg((4, 3, 3, 3)), padding=(2, 1), padding_mode="edge", stride=2),
        Sample(_X, Arg((4, 3, 3, 3)), padding=(2, 1), padding_mode="circular", dilation=2),
        Sample(_X, _K, padding=((1, 2), (0, 1)), padding_mode="wrap", stride=2, flip=True),
        Sample(Arg((2, 4, 5, 5)), Arg((6, 2, 2, 2)), Arg((6,)), groups=2, stride=2, padding=1),
        Sample(Arg((2, 3, 7)), Arg((6, 1, 3)), groups=3, padding="same", dilation=2),
        Sample(Arg((1, 2, 3, 4, 3)), Arg((2, 2, 2, 1, 3)), Arg((2,)), padding=(1, 0, 1), stride=2),
        Sample(Arg((3, 2, 1)), Arg((4, 2, 1)), Arg((4,))),
        Sample(Arg((2, 2, 2)), Arg((2, 2, 1)), padding=3),
        Sample(Arg((0, 2, 4)), Arg((3, 2, 2)), Arg((3,))),
        Sample(Arg((2, 0, 4)), Arg((3, 0, 2)), Arg((3,))),
        Sample(Arg((2, 2, 0)), Arg((3, 2, 3)), padding=2),
    ],
    rejects=[
        Reject(ShapeError, "has 3 axes, the kernel (4, 3, 2, 3) 4", Arg((3, 5, 6)), _K),
        Reject(ShapeError, "3 or more", Arg((2, 3)), Arg((4, 3))),
        Reject(ShapeError, "the kernel is for 2 channels, the array has 3", _X, Arg((4, 2, 2, 3))),
        Reject(
            ShapeError,
            "the kernel is for 3 channels, the array has 6 // 3 groups = 2",
            Arg((2, 6, 5)),
            Arg((3, 3, 2)),
            groups=3,
        ),
        Reject(ShapeError, "3 channels do not divide into 2 groups", _X, _K, groups=2),
        Reject(
            ShapeError, "4 filters do not divide into 3 groups", _X, Arg((4, 1, 2, 3)), groups=3
        ),
        Reject(ShapeError, "the bias must have shape (4,)", _X, _K, Arg((3,))),
        Reject(
            ShapeError,
            "(n + padding - (dilation * (window - 1) + 1)) // stride + 1 = "
            "(5 + 2 - (7 * (2 - 1) + 1)) // 2 + 1",
            _X,
            _K,
            padding=1,
            dilation=7,
            stride=2,
        ),
        Reject(ShapeError, "the kernel has window (0, 3)", _X, Arg((4, 3, 0, 3))),
        Reject(ShapeError, "3 values of stride for 2 spatial axes", _X, _K, stride=(1, 1, 1)),
        Reject(ShapeError, "dilation must be at least 1, not 0", _X, _K, dilation=0),
        Reject(ShapeError, "padding must be at least 0, not -1", _X, _K, padding=-1),
        Reject(ArgumentError, "no padding 'SAME'", _X, _K, padding="SAME"),
        Reject(ArgumentError, "no padding mode 'mirror'", _X, _K, padding_mode="mirror"),
        Reject(ArgumentError, "no padding mode ['wrap']", _X, _K, padding_mode=["wrap"]),
        Reject(ShapeError, "1 pairs of padding for 2 spatial axes", _X, _K, padding=((1, 2),)),
        Reject(ArgumentError, "groups must be a positive integer, not 0", _X, _K, groups=0),
        Reject(ShapeError, "pads at most 4", _X, _K, padding=(5, 0), padding_mode="reflect"),
    ],
    dtypes="if",
    corner="padding is zeros, which are multiplied: an infinite weight there gives NaN",
)
def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "constant",
    flip: bool = False,
) -> Node:
    """``y[n, f, i] = sum_cj(x[n, c, stride*i + dilation*j - before] * kernel[f, c, j]) + bias[f]``.

    Cross-correlation, which is what networks call convolution, in as many dimensions as there
    are spatial axes.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; floats or integers. Half floats are summed in
        float32. Batch and spatial sizes may be named dimensions.
    kernel : array_like or Node
        Of shape ``(filters, channels // groups, *window)``.
    bias : array_like or Node, optional
        Of shape ``(filters,)``.
    stride : int or sequence of int, default 1
        How many elements the window moves on; one for all axes, or one for each.
    padding : {"valid", "same", "full"}, int or sequence, default "valid"
        ``"valid"``: none. ``"same"``: so much that there are ``ceil(n / stride)`` places; an odd
        element of it stands behind. ``"full"``: so much that the window is everywhere where it
        touches ``x``. Or numbers of elements: one for all sides, one for each axis, or a pair
        ``(before, behind)`` for each axis.
    dilation : int or sequence of int, default 1
        Distance of the elements that a window sees.
    groups : int, default 1
        Channels and filters are divided into so many groups in order, and each group of filters
        sees its group of channels. With ``groups`` equal to the number of channels, this is the
        depthwise convolution.
    padding_mode : {"constant", "reflect", "edge", "wrap"}, default "constant"
        What the padding is: zeros, or as in :func:`pad`. PyTorch's ``"zeros"``, ``"replicate"``
        and ``"circular"`` are understood as well.
    flip : bool, default False
        Take the kernel in reverse order along the spatial axes, as in mathematics.

    Returns
    -------
    Node
        Of shape ``(batch, filters, *places)``, with
        ``(n + padding - (dilation * (window - 1) + 1)) // stride + 1`` places along an axis.

    Raises
    ------
    ShapeError
        If axes, channels, groups or bias do not belong together, or the window does not fit.
    ArgumentError
        For an unknown word, or ``groups`` that are no positive integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3, 32, 32))
    >>> kernel = gn.input("kernel", shape=(16, 3, 5, 5))
    >>> gn.conv(x, kernel, padding="same", stride=2).shape
    (Dim(batch), 16, 16, 16)

    A depthwise convolution, two filters for every channel:

    >>> kernel = gn.input("kernel", shape=(6, 1, 5, 5))
    >>> gn.conv(x, kernel, groups=3).shape
    (Dim(batch), 6, 28, 28)

    The change from each element to the next, along one axis:

    >>> gn.evaluate(gn.conv([[[1.0, 4.0, 9.0]]], [[[-1.0, 1.0]]]))
    array([[[3., 5.]]], dtype=float32)
    """
    x, kernel, bias, dtype = computed("conv", x, kernel, bias)
    check_axes("conv", x, kernel, "(filters, channels // groups, *window)")
    channels = parts_of("conv", "channels", x.shape[1], groups)
    filters = parts_of("conv", "filters", kernel.shape[0], groups)
    if kernel.shape[1] != channels:
        seen = channels if groups == 1 else f"{x.shape[1]} // {groups} groups = {channels}"
        raise ShapeError(
            f"conv: the kernel is for {kernel.shape[1]} channels, the array has {seen}",
            hint="they are axis 1 of (batch, channels, *spatial) "
            "and of (filters, channels // groups, *window)",
        )
    if padding_mode not in tuple(PADDING_MODES):  # which needs no hash of what is given
        raise ArgumentError(
            f"conv: no padding mode {padding_mode!r}",
            hint="one of " + ", ".join(map(repr, PADDING_MODES)),
        )
    window = window_of("conv", x, kernel.shape[2:], stride, padding, dilation)
    size, low = window_count("conv", window, x.shape[2:]), window.low
    if window.pads and PADDING_MODES[padding_mode] != "constant":
        widths = ((0, 0), (0, 0), *zip(window.low, window.high, strict=True))
        x, low = pad(x, widths, PADDING_MODES[padding_mode]), (0,) * len(low)
    if flip:
        low = tuple(reach - 1 - before for reach, before in zip(window.extent, low, strict=True))
    y = conv_of(
        to_shape(x, (x.shape[0], groups, channels, *x.shape[2:])),
        to_shape(kernel, (groups, filters, channels, *window.size)),
        stride=window.stride,
        low=low,
        size=size,
        x_dilation=(1,) * len(size),
        dilation=window.dilation,
        flip=bool(flip),
    )
    return with_bias("conv", to_shape(y, (x.shape[0], groups * filters, *size)), bias, dtype)
