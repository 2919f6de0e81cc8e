"""Transposed convolution, which makes arrays larger: the derivative of one by its array."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Shape
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.conv_primitive import conv_of, with_axes
from graphnn.ops.convolution import (
    check_axes,
    computed,
    parts_of,
    window_of,
    with_bias,
)
from graphnn.ops.geometry import Window, per_axis
from graphnn.ops.window_references import dilated, padding_pairs, whole_numbers

__all__ = ["conv_transpose"]


def _conv_transpose(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Every element puts the kernel, times itself, around its place; the padding is cut off."""
    ndim = x.ndim - 2
    strides = whole_numbers(stride, ndim)
    kernel = dilated(kernel, whole_numbers(dilation, ndim))
    extent = kernel.shape[2:]
    pairs = padding_pairs(padding, x.shape[2:], extent, strides)
    more = whole_numbers(output_padding, ndim)
    channels, filters = len(kernel) // groups, kernel.shape[1]
    sizes = [
        (n - 1) * s + e + a for n, s, e, a in zip(x.shape[2:], strides, extent, more, strict=True)
    ]
    y = np.zeros((len(x), groups * filters, *sizes), x.dtype)
    for g, *place in np.ndindex(groups, *x.shape[2:]):
        mine = slice(g * channels, (g + 1) * channels)
        around = [slice(p * s, p * s + e) for p, s, e in zip(place, strides, extent, strict=True)]
        put = np.tensordot(x[(slice(None), mine, *place)], kernel[mine], 1)
        y[(slice(None), slice(g * filters, (g + 1) * filters), *around)] += put
    inside = [slice(a, n - b) for n, (a, b) in zip(sizes, pairs, strict=True)]
    y = y[(slice(None), slice(None), *inside)]
    return y if bias is None else y + bias.reshape(-1, *[1] * ndim)


_TX, _TK = Arg((2, 3, 4, 3)), Arg((3, 2, 3, 2))


@operation(
    reference=_conv_transpose,
    samples=[
        Sample(_TX, _TK),
        Sample(_TX, _TK, Arg((2,)), stride=2, padding=1),
        Sample(_TX, _TK, stride=(2, 3), padding=(1, 0), output_padding=(0, 2)),
        Sample(_TX, _TK, padding="full"),
        Sample(_TX, _TK, stride=3, padding=((0, 2), (1, 1)), output_padding=1),
        Sample(_TX, _TK, dilation=(1, 3), output_padding=(0, 2)),
        Sample(Arg((2, 4, 5)), Arg((4, 3, 3)), Arg((6,)), stride=2, groups=2),
        Sample(Arg((2, 3, 4)), Arg((3, 1, 3)), groups=3, padding=4, stride=2, dilation=2),
        Sample(Arg((1, 2, 2, 3, 2)), Arg((2, 2, 2, 1, 3)), Arg((2,)), stride=2, padding=(1, 0, 1)),
        Sample(Arg((0, 2, 4)), Arg((2, 3, 2)), Arg((3,))),
        Sample(Arg((2, 0, 4)), Arg((0, 3, 2))),
    ],
    rejects=[
        Reject(ShapeError, "has 3 axes, the kernel (3, 2, 3, 2) 4", Arg((3, 4, 3)), _TK),
        Reject(ShapeError, "the kernel is for 4 channels, the array has 3", _TX, Arg((4, 2, 3, 2))),
        Reject(ShapeError, "3 channels do not divide into 2 groups", _TX, _TK, groups=2),
        Reject(ShapeError, "the bias must have shape (6,)", _TX, _TK, Arg((2,)), groups=3),
        Reject(ShapeError, "the kernel has window (0, 2)", _TX, Arg((3, 2, 0, 2))),
        Reject(
            ShapeError,
            "output_padding 2 along spatial axis 0 must be smaller than stride 2 or dilation 1",
            _TX,
            _TK,
            stride=2,
            output_padding=2,
        ),
        Reject(
            ShapeError,
            "(n - 1) * stride + dilation * (window - 1) + 1 - padding + output_padding = "
            "(3 - 1) * 1 + 1 * (2 - 1) + 1 - 4 + 0",
            _TX,
            _TK,
            padding=(0, 2),
        ),
        Reject(ArgumentError, "padding 'same'", _TX, _TK, padding="same"),
    ],
    dtypes="if",
    corner="beyond the array are zeros, which are multiplied: an infinite weight there gives NaN",
)
def conv_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Node:
    """``y[n, f, stride*i + dilation*j - before] += x[n, c, i] * kernel[c, f, j]``; ``+ bias[f]``.

    The transpose of :func:`conv` with the same stride, padding, dilation and groups, of which
    it is the derivative by the array. It makes pictures larger.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; floats or integers.
    kernel : array_like or Node
        Of shape ``(channels, filters // groups, *window)``, as in PyTorch: that of the
        convolution from ``filters`` to ``channels`` of which this is the transpose.
    bias : array_like or Node, optional
        Of shape ``(filters,)``.
    stride : int or sequence of int, default 1
        Distance of the elements of ``x`` in the result.
    padding : {"valid", "full"}, int or sequence, default "valid"
        What the convolution of which this is the transpose pads; here it is cut off.
    output_padding : int or sequence of int, default 0
        How many elements the result is longer behind: with a stride, convolutions of arrays of
        several sizes give the size of ``x``. Smaller than stride or dilation.
    dilation : int or sequence of int, default 1
    groups : int, default 1
        As in :func:`conv`.

    Returns
    -------
    Node
        Of shape ``(batch, filters, *places)``, with ``(n - 1) * stride +
        dilation * (window - 1) + 1 - padding + output_padding`` places along an axis.

    Raises
    ------
    ShapeError
        If axes, channels, groups, bias or output padding do not fit, or nothing is left.
    ArgumentError
        For padding "same", which does not tell the size of the result, or ``groups`` that are no
        positive integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 16, 8, 8))
    >>> kernel = gn.input("kernel", shape=(16, 3, 4, 4))
    >>> gn.conv_transpose(x, kernel, stride=2, padding=1).shape
    (Dim(batch), 3, 16, 16)
    """
    x, kernel, bias, dtype = computed("conv_transpose", x, kernel, bias)
    check_axes("conv_transpose", x, kernel, "(channels, filters // groups, *window)")
    channels = parts_of("conv_transpose", "channels", x.shape[1], groups)
    if kernel.shape[0] != x.shape[1]:
        raise ShapeError(
            f"conv_transpose: the kernel is for {kernel.shape[0]} channels, "
            f"the array has {x.shape[1]}",
            hint="they are axis 1 of (batch, channels, *spatial) "
            "and axis 0 of (channels, filters // groups, *window)",
        )
    if isinstance(padding, str) and padding == "same":
        raise ArgumentError(
            "conv_transpose: padding 'same' does not tell the size of the result",
            hint="give numbers of elements",
        )
    window = window_of("conv_transpose", x, kernel.shape[2:], stride, padding, dilation)
    size = _transposed_size(x.shape[2:], window, output_padding)
    filters = kernel.shape[1]
    y = conv_of(
        to_shape(x, (x.shape[0], groups, channels, *x.shape[2:])),
        with_axes(to_shape(kernel, (groups, channels, filters, *window.size)), 0, 2, 1),
        stride=(1,) * len(size),
        low=window.low,
        size=size,
        x_dilation=window.stride,
        dilation=window.dilation,
        flip=True,
    )
    y = to_shape(y, (x.shape[0], groups * filters, *size))
    return with_bias("conv_transpose", y, bias, dtype)


def _transposed_size(spatial: Shape, window: Window, output_padding: Any) -> Shape:
    """How many places the transpose has along every axis."""
    more = per_axis("conv_transpose", "output_padding", output_padding, len(spatial), least=0)
    sizes = []
    for axis, (n, extra) in enumerate(zip(spatial, more, strict=True)):
        k, s, d = window.size[axis], window.stride[axis], window.dilation[axis]
        if extra >= max(s, d):
            raise ShapeError(
                f"conv_transpose: output_padding {extra} along spatial axis {axis} must be "
                f"smaller than stride {s} or dilation {d}",
                hint="a larger one would add places that no element of the array reaches",
            )
        cut = window.low[axis] + window.high[axis]
        size = (n - 1) * s + (d * (k - 1) + 1 - cut + extra)
        if isinstance(size, int) and size < 1:
            raise ShapeError(
                f"conv_transpose: nothing is left along spatial axis {axis}: "
                "(n - 1) * stride + dilation * (window - 1) + 1 - padding + output_padding = "
                f"({n} - 1) * {s} + {d} * ({k} - 1) + 1 - {cut} + {extra} is less than 1",
                hint="take less padding",
            )
        sizes.append(size)
    return tuple(sizes)
