"""The primitive of all convolutions, ``conv``, which is closed under differentiation and batching.

What users call is in :mod:`graphnn.ops.convolution`. Along every spatial axis, the primitive pairs
the elements ``q`` of the array, ``i`` of the result and ``j`` of the kernel for which

    x_dilation * q = stride * i + dilation * j - low        (``flip=False``)
    x_dilation * q = stride * i - dilation * j + low        (``flip=True``)

A derivative asks for another one of the three: it is the same equation with ``stride``,
``dilation`` and ``x_dilation`` in other roles, and so the same primitive, to any order. No number
in it depends on a size, so all sizes may be named dimensions. (For pictures see V. Dumoulin and
F. Visin, "A guide to convolution arithmetic for deep learning", 2016.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphnn.core.dims import Shape, Size, product
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, output_size, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.movement import permute

__all__ = ["CONV"]

Numbers = tuple[int, ...]
"""One for every spatial axis."""

COPIED_BYTES = 2**24
"""About how much of what windows see is copied at a time: of whole examples, at least one."""


class ConvOp(LinearOp):
    """Sums of products of a kernel with what it sees of an array, place by place.

    From ``x (N, G, C, *spatial)`` and ``kernel (G, O, C, *window)`` to ``(N, G, O, *size)``:
    examples, groups, channels, filters. The module says which elements meet; beyond the ends
    of ``x`` and between its elements are zeros. ``low`` is the padding before ``x`` (negative:
    as many elements are not seen); ``size`` says where it ends behind.
    """

    name = "conv"
    autocast = "half"
    is_multilinear = True

    def infer(
        self,
        x: TensorSpec,
        kernel: TensorSpec,
        *,
        stride: Numbers,
        low: Numbers,
        size: Shape,
        x_dilation: Numbers,
        dilation: Numbers,
        flip: bool,
    ) -> TensorSpec:
        if x.dtype != kernel.dtype:
            raise DTypeError(f"conv: {x.dtype.name} and {kernel.dtype.name} do not mix")
        (examples, *groups_x), (groups, filters, channels) = x.shape[:3], kernel.shape[:3]
        if groups_x != [groups, channels] or x.ndim != kernel.ndim:
            raise ShapeError(
                f"conv: arrays {shape_text(x.shape)} and {shape_text(kernel.shape)} are not "
                "(examples, groups, channels, *spatial) and (groups, filters, channels, *window)"
            )
        return TensorSpec((examples, groups, filters, *size), x.dtype)

    def evaluate(self, x: Array, kernel: Array, *, size: Numbers, **attrs: Any) -> Array:
        out = np.empty((*x.shape[:2], kernel.shape[1], *size), x.dtype)
        self.evaluate_into(out, x, kernel, size=size, **attrs)
        return out

    def evaluate_into(
        self,
        out: Array,
        x: Array,
        kernel: Array,
        *,
        stride: Numbers,
        low: Numbers,
        size: Numbers,
        x_dilation: Numbers,
        dilation: Numbers,
        flip: bool,
    ) -> None:
        if 0 in (x.size, kernel.size, out.size):
            out[...] = 0
            return
        if is_half(out.dtype):
            x, kernel = x.astype(FLOAT32), kernel.astype(FLOAT32)
        if flip:
            kernel = np.flip(kernel, tuple(range(3, kernel.ndim)))
            reach = [(k - 1) * d for k, d in zip(kernel.shape[3:], dilation, strict=True)]
            low = tuple(far - before for far, before in zip(reach, low, strict=True))
        if max(x_dilation) > 1:
            out[...] = 0
        axes = zip(stride, low, x_dilation, dilation, strict=True)
        for parts in itertools.product(*itertools.starmap(_phases, axes)):
            whole = [slice(None)] * 3
            places = tuple(whole + [part.places for part in parts])
            taps = tuple(whole + [part.taps for part in parts])
            if out[places].size and kernel[taps].size:
                lows, gaps = [part.low for part in parts], [part.dilation for part in parts]
                _correlate(out[places], x, kernel[taps], stride, lows, gaps)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        x, kernel = node.inputs
        attrs, flip = node.attrs, node.attrs["flip"]
        stride, dilation, x_dilation = (
            attrs[each] for each in ("stride", "dilation", "x_dilation")
        )
        if index == 0:
            turned = {"stride": x_dilation, "dilation": dilation, "x_dilation": stride}
            attrs = {**attrs, **turned, "size": x.shape[3:], "flip": not flip}
            return conv_of(cotangent, with_axes(kernel, 0, 2, 1), **attrs)
        # Channels and filters become examples and filters, and the sum runs over the examples.
        if flip:
            array, window, order = cotangent, x, (1, 0, 2)
            turned = {"stride": dilation, "dilation": x_dilation, "x_dilation": stride}
        else:
            array, window, order = x, cotangent, (1, 2, 0)
            turned = {"stride": dilation, "dilation": stride, "x_dilation": x_dilation}
        attrs = {**attrs, **turned, "size": kernel.shape[3:], "flip": False}
        gradient = conv_of(with_axes(array, 2, 1, 0), with_axes(window, 1, 2, 0), **attrs)
        return with_axes(gradient, *order)

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """Examples of ``vmap`` are more examples, more filters or more groups."""
        (x, kernel), (x_mapped, kernel_mapped) = inputs, mapped
        examples, groups, filters = node.shape[:3]
        if not kernel_mapped:
            merged = conv_of(_merge(x, 0), kernel, **node.attrs)
            return _divide(merged, 0, x.shape[0], examples)
        if not x_mapped:
            merged = conv_of(x, _merge(with_axes(kernel, 1, 0), 1), **node.attrs)
            return with_axes(_divide(merged, 2, kernel.shape[0], filters), 2, 0, 1)
        merged = conv_of(_merge(with_axes(x, 1, 0), 1), _merge(kernel, 0), **node.attrs)
        return with_axes(_divide(merged, 1, x.shape[0], groups), 1, 0)

    def flops(self, node: Node) -> int:
        seen: int = int(product(node.inputs[1].shape[2:])) // math.prod(node.attrs["x_dilation"])
        return 2 * output_size(node) * seen

    def label(self, node: Node) -> str:
        """With the number of spatial axes: ``conv2d``."""
        return f"conv{node.ndim - 3}d"

    def shown_attrs(self, node: Node) -> Mapping[str, Any]:
        """Those that are not as in a plain convolution; the shape tells ``size``."""
        ndim = node.ndim - 3
        plain = {"low": (0,) * ndim, "size": node.shape[3:], "flip": False}
        return {
            name: value
            for name, value in node.attrs.items()
            if value != plain.get(name, (1,) * ndim)
        }


CONV = ConvOp()
register(CONV)


class Phase(NamedTuple):
    """Places of the result along one axis, and what of the kernel sees something there."""

    places: slice
    taps: slice
    low: int
    dilation: int


def _phases(stride: int, low: int, x_dilation: int, dilation: int) -> list[Phase]:
    """An axis without the zeros between the elements of the array, which are not worth multiplying.

    Where ``x_dilation`` is 3, every third place of the result sees the elements of the array by
    the same elements of the kernel: by themselves, these are a convolution without ``x_dilation``.
    """
    common = math.gcd(x_dilation, dilation)
    step = x_dilation // common
    phases = []
    for place, tap in itertools.product(range(x_dilation), range(step)):
        before, rest = divmod(low - stride * place - dilation * tap, x_dilation)
        if rest == 0:
            every = slice(place, None, x_dilation), slice(tap, None, step)
            phases.append(Phase(*every, before, dilation // common))
    return phases


def _correlate(
    out: Array,
    x: Array,
    kernel: Array,
    stride: Sequence[int],
    low: Sequence[int],
    dilation: Sequence[int],
) -> None:
    """``out[i] = sum_j(x[stride * i + dilation * j - low] * kernel[j])``."""
    size, window = out.shape[3:], kernel.shape[3:]
    ends = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(size, stride, window, dilation, strict=True)
    ]
    padded = _padded(x, low, ends)
    steps = padded.strides[3:]
    seen = as_strided(
        padded,
        (*padded.shape[:3], *window, *size),
        (
            *padded.strides[:3],
            *(d * step for d, step in zip(dilation, steps, strict=True)),
            *(s * step for s, step in zip(stride, steps, strict=True)),
        ),
        writeable=False,
    )
    _multiply(out, kernel, seen)


def _padded(x: Array, low: Sequence[int], ends: Sequence[int]) -> Array:
    """``low`` zeros before the elements of every spatial axis, and what follows up to ``ends``.

    The array itself if it begins with that.
    """
    spatial = x.shape[3:]
    if not any(low) and all(n >= end for n, end in zip(spatial, ends, strict=True)):
        return x
    padded = np.zeros((*x.shape[:3], *ends), x.dtype)
    sources, targets = [slice(None)] * 3, [slice(None)] * 3
    for n, before, end in zip(spatial, low, ends, strict=True):
        first = max(0, -before)
        stop = max(first, min(n, end - before))
        sources.append(slice(first, stop))
        targets.append(slice(first + before, stop + before))
    padded[tuple(targets)] = x[tuple(sources)]
    return padded


def _multiply(out: Array, kernel: Array, seen: Array) -> None:
    """Multiply what is ``seen (N, G, C, *window, *size)`` by the kernel and sum, by matmul.

    That copies what is seen, once for every element of the window that sees it: so some examples
    at a time.
    """
    one = math.prod(seen.shape[1:]) * seen.itemsize
    together = max(1, COPIED_BYTES // one)
    for first in range(0, len(seen), together):
        some = slice(first, first + together)
        _multiply_copy(out[some], kernel, seen[some])


def _multiply_copy(out: Array, kernel: Array, seen: Array) -> None:
    """`_multiply` with one copy of all that is seen.

    The larger ones of windows and places come last, so that long rows are copied.
    """
    ndim = kernel.ndim - 3
    examples, groups = seen.shape[:2]
    size = seen.shape[3 + ndim :]
    summed, places = math.prod(kernel.shape[2:]), math.prod(size)
    matrices = kernel.reshape(groups, -1, summed)
    if places > math.prod(kernel.shape[3:]):
        columns = seen.reshape(examples, groups, summed, places)
        if out.flags.c_contiguous and not is_half(out.dtype):
            np.matmul(matrices, columns, out=out.reshape(examples, groups, -1, places))
        else:
            out[...] = np.matmul(matrices, columns).reshape(out.shape)
    else:
        of_window, of_place = range(3, 3 + ndim), range(3 + ndim, 3 + 2 * ndim)
        rows = seen.transpose(1, 0, *of_place, 2, *of_window)
        rows = rows.reshape(groups, examples * places, summed)
        sums = np.matmul(matrices, rows.swapaxes(1, 2)).reshape(groups, -1, examples, *size)
        out[...] = np.moveaxis(sums, 2, 0)


def conv_of(x: Node, kernel: Node, **attrs: Any) -> Node:
    """The primitive on arrays that are known to fit; see `ConvOp`."""
    return make_node(CONV, (x, kernel), attrs)


def with_axes(x: Node, *order: int) -> Node:
    """The first axes in another order."""
    return permute(x, (*order, *range(len(order), x.ndim)))


def _merge(x: Node, axis: int) -> Node:
    """An axis and the next one as one axis."""
    shape = x.shape
    return to_shape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def _divide(x: Node, axis: int, *sizes: Size) -> Node:
    """An axis as several: the inverse of :func:`_merge`."""
    return to_shape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))
