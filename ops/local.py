"""Convolution with a kernel of its own at every place."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.contraction import dot_of
from graphnn.ops.convolution import computed, window_of, with_bias
from graphnn.ops.geometry import window_count
from graphnn.ops.movement import permute
from graphnn.ops.operands import cast_to
from graphnn.ops.window_references import dilated, padding_pairs, whole_numbers
from graphnn.ops.windows import windows

__all__ = ["locally_connected"]


def _locally_connected(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> Array:
    """Place by place, with the kernel of that place."""
    ndim = x.ndim - 2
    strides, gaps = whole_numbers(stride, ndim), whole_numbers(dilation, ndim)
    places, summed = kernel.shape[2 + ndim :], list(range(1, ndim + 2))
    y = np.zeros((len(x), len(kernel), *places), x.dtype)
    for place in np.ndindex(*places):
        here = dilated(kernel[(..., *place)], gaps)
        extent = here.shape[2:]
        pairs = padding_pairs(padding, x.shape[2:], extent, strides)
        padded = np.pad(x, ((0, 0), (0, 0), *pairs))
        around = [slice(p * s, p * s + e) for p, s, e in zip(place, strides, extent, strict=True)]
        y[(..., *place)] = np.tensordot(
            padded[(slice(None), slice(None), *around)], here, (summed, summed)
        )
    if bias is None:
        return y
    return y + (bias.reshape(-1, *[1] * ndim) if bias.ndim == 1 else bias)


_X, _K = Arg((2, 3, 4, 5)), Arg((4, 3, 2, 3, 3, 3))


@operation(
    reference=_locally_connected,
    samples=[
        Sample(_X, _K),
        Sample(_X, _K, Arg((4, 3, 3))),
        Sample(_X, Arg((2, 3, 3, 2, 2, 2)), Arg((2,)), stride=(2, 3), padding="same"),
        Sample(_X, Arg((2, 3, 2, 2, 3, 4)), dilation=(2, 3), padding=((1, 0), (2, 0))),
        Sample(Arg((2, 3, 6)), Arg((2, 3, 3, 2)), stride=3, padding=(1,)),
        Sample(Arg((1, 2, 3, 2, 3)), Arg((2, 2, 2, 1, 3, 2, 2, 1))),
        Sample(Arg((0, 2, 3)), Arg((3, 2, 2, 2)), Arg((3, 2))),
    ],
    rejects=[
        Reject(ShapeError, "the kernel must have 6, not 4", _X, Arg((4, 3, 2, 3))),
        Reject(ShapeError, "has 2 axes", Arg((3, 4)), Arg((3, 4))),
        Reject(
            ShapeError,
            "the kernel is for 2 channels, the array has 3",
            _X,
            Arg((4, 2, 2, 3, 3, 3)),
        ),
        Reject(
            ShapeError, "the kernel is for (3, 3) places, the window fits (2, 2)", _X, _K, stride=2
        ),
        Reject(ShapeError, "the window does not fit along spatial axis 0", _X, _K, dilation=4),
        Reject(ShapeError, "the bias must have shape (4,)", _X, _K, Arg((3,))),
        Reject(ShapeError, "or (4, 3, 3)", _X, _K, Arg((4, 3))),
    ],
    dtypes="if",
)
def locally_connected(
    x: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
) -> Node:
    """``y[n, f, i] = sum_cj(x[n, c, stride*i + dilation*j - before] * kernel[f, c, j, i])``.

    A convolution that does not share its weights: every place ``i`` has a kernel of its own.
    The bias is added, if there is one.

    Parameters
    ----------
    x : array_like or Node
        Of shape ``(batch, channels, *spatial)``; floats or integers. Half floats are summed in
        float32.
    kernel : array_like or Node
        Of shape ``(filters, channels, *window, *places)``: ``kernel[..., i]`` is the kernel that
        :func:`conv` would use, at place ``i``.
    bias : array_like or Node, optional
        Of shape ``(filters,)``, or ``(filters, *places)``.
    stride, padding, dilation
        As in :func:`conv`; the padding is zeros.

    Returns
    -------
    Node
        Of shape ``(batch, filters, *places)``, with
        ``(n + padding - (dilation * (window - 1) + 1)) // stride + 1`` places along an axis.

    Raises
    ------
    ShapeError
        If axes, channels, places or bias do not belong together, or the window does not fit.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3, 28, 28))
    >>> kernel = gn.input("kernel", shape=(16, 3, 5, 5, 24, 24))
    >>> gn.locally_connected(x, kernel).shape
    (Dim(batch), 16, 24, 24)
    """
    x, kernel, bias, dtype = computed("locally_connected", x, kernel, bias)
    ndim = x.ndim - 2
    if ndim < 1 or kernel.ndim != 2 + 2 * ndim:
        raise ShapeError(
            f"locally_connected: the array {shape_text(x.shape)} has {x.ndim} axes, "
            f"the kernel must have {2 + 2 * ndim}, not {kernel.ndim}",
            hint="they are (batch, channels, *spatial) and (filters, channels, *window, *places)",
        )
    if kernel.shape[1] != x.shape[1]:
        raise ShapeError(
            f"locally_connected: the kernel is for {kernel.shape[1]} channels, "
            f"the array has {x.shape[1]}",
            hint="they are axis 1 of (batch, channels, *spatial) "
            "and of (filters, channels, *window, *places)",
        )
    filters, places = kernel.shape[0], kernel.shape[2 + ndim :]
    shape = kernel.shape[2 : 2 + ndim]
    window = window_of("locally_connected", x, shape, stride, padding, dilation)
    fits = window_count("locally_connected", window, x.shape[2:])
    if fits != places:
        raise ShapeError(
            f"locally_connected: the kernel is for {shape_text(places)} places, "
            f"the window fits {shape_text(fits)} times",
            hint="the kernel has the axes (filters, channels, *window, *places)",
        )
    inner, outer = tuple(range(2, 2 + ndim)), tuple(range(2 + ndim, 2 + 2 * ndim))
    sums = dot_of(windows(x, window), kernel, ((1, *outer), (1, *inner)), (inner, outer))
    y = permute(sums, (ndim, ndim + 1, *range(ndim)))
    if bias is not None and bias.ndim > 1:
        if bias.shape != (filters, *places):
            raise ShapeError(
                f"locally_connected: the bias must have shape ({filters},) "
                f"or {shape_text((filters, *places))}, not {shape_text(bias.shape)}",
                hint="one number for each filter, or for each filter and place",
            )
        return cast_to(y + bias, dtype)
    return with_bias("locally_connected", y, bias, dtype)
