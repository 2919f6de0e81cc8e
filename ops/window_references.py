"""What the references of convolution and pooling share: padding and windows, by indexing alone.

References are what operations are tested against, so nothing here may use the geometry that the
operations compute with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.op import Array

__all__ = ["dilated", "padding_pairs", "seen_windows", "whole_numbers"]


def whole_numbers(given: Any, ndim: int) -> list[int]:
    """One number for every spatial axis."""
    return [int(each) for each in np.broadcast_to(given, ndim)]


def padding_pairs(
    padding: Any, spatial: Sequence[int], extent: Sequence[int], stride: Sequence[int]
) -> list[tuple[int, int]]:
    """Elements of padding before and behind every axis, around windows of some extent."""
    if isinstance(padding, str):
        n, reach, step = np.array(spatial), np.array(extent) - 1, np.array(stride)
        same = np.maximum((-(-n // step) - 1) * step + reach + 1 - n, 0)
        total = {"valid": 0 * reach, "same": same, "full": 2 * reach}[padding]
        return [(int(each) // 2, int(each) - int(each) // 2) for each in total]
    rows = np.reshape(padding, (-1, 2 if np.ndim(padding) == 2 else 1))
    return [(int(a), int(b)) for a, b in np.broadcast_to(rows, (len(spatial), 2))]


def dilated(x: Array, steps: Sequence[int]) -> Array:
    """Zeros between the elements of the spatial axes."""
    sizes = [(n - 1) * step + 1 for n, step in zip(x.shape[2:], steps, strict=True)]
    apart = np.zeros((*x.shape[:2], *sizes), x.dtype)
    apart[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] = x
    return apart


def seen_windows(
    x: Any,
    window: Any,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    ceil_mode: bool = False,
    fill: Any = 0,
    beyond: Any = 0,
) -> Array:
    """What windows see as ``(batch, channels, *places, *window)``.

    ``fill`` is in the padding, ``beyond`` behind it where ``ceil_mode`` lets windows reach.
    """
    n = np.array(np.shape(x)[2:])
    size, stride, dilation = (np.broadcast_to(each, n.shape) for each in (window, stride, dilation))
    reach = (size - 1) * dilation
    pairs = np.array(padding_pairs(padding, n.tolist(), reach + 1, stride))
    count = (n + pairs.sum(1) - reach - 1) // stride + 1
    if ceil_mode:  # in the words of PyTorch's documentation
        count = -(-(n + pairs.sum(1) - reach - 1) // stride) + 1
        count -= (count - 1) * stride >= n + pairs[:, 0]
    behind = np.maximum((count - 1) * stride + reach + 1 - (n + pairs.sum(1)), 0)
    seen = np.pad(x, [(0, 0), (0, 0), *map(tuple, pairs)], constant_values=fill)
    seen = np.pad(seen, [(0, 0), (0, 0), *((0, each) for each in behind)], constant_values=beyond)
    for axis in range(len(n)):
        starts = np.arange(count[axis]) * stride[axis]
        taps = np.arange(size[axis]) * dilation[axis]
        seen = np.take(seen, np.add.outer(starts, taps), axis=2 + 2 * axis)
    return np.moveaxis(seen, range(3, seen.ndim, 2), range(-len(n), 0))
