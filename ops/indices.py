"""Arrays of indices, as the ops see them: one for each leading axis, all of one shape.

For :mod:`graphnn.ops` alone: gathers, scatters and chains are built on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphnn.core.dims import Shape
from graphnn.core.dtypes import INT32, INT64
from graphnn.core.errors import DTypeError, FeedError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.creation import iota
from graphnn.ops.movement import permute

__all__ = ["behind_axes", "check_indices", "flattened", "mapped_indices", "wrapped"]


def check_indices(name: str, x: TensorSpec, indices: Sequence[TensorSpec]) -> Shape:
    """The common shape of the indices of the leading axes."""
    shape = indices[0].shape
    for index in indices:
        if index.dtype not in (INT32, INT64):
            raise DTypeError(f"{name}: indices must be int32 or int64, not {index.dtype.name}")
        if index.shape != shape:
            raise ShapeError(
                f"{name}: indices of shapes {shape_text(shape)} and {shape_text(index.shape)}"
            )
    if len(indices) > len(x.shape):
        raise ShapeError(f"{name}: {len(indices)} indices for {len(x.shape)} axes")
    return shape


def wrapped(name: str, sizes: Shape, indices: Sequence[Array]) -> tuple[Array, ...]:
    """Indices of the leading axes, of ``sizes``, with negative ones counted from the end.

    Raises
    ------
    FeedError
        If one is out of range.
    """
    result = []
    for axis, (index, size) in enumerate(zip(indices, sizes, strict=False)):
        outside = (index < -size) | (index >= size)
        if outside.any():
            raise FeedError(
                f"{name}: index {index[outside][0]} is out of range for {size} elements"
                + (f" (index number {axis})" if len(indices) > 1 else ""),
                where="",
                hint=f"indices run from {-size} to {size - 1}" if size else "there are none",
            )
        result.append(np.where(index < 0, index + size, index))
    return tuple(result)


def flattened(sizes: Sequence[int], indices: Sequence[Array]) -> Array:
    """1-D positions, in row-major order, of what wrapped indices of axes of ``sizes`` point at."""
    place = np.zeros(indices[0].size, np.int64)
    for size, index in zip(sizes, indices, strict=True):
        place = place * size + index.ravel()
    return place


def behind_axes(x: Node, n_axes: int) -> Node:
    """The axis of examples moved behind the axes that are indexed."""
    return permute(x, (*range(1, n_axes + 1), 0, *range(n_axes + 1, x.ndim)))


def mapped_indices(
    indices: Sequence[Node], mapped: Sequence[bool], *, with_number: bool
) -> list[Node]:
    """Indices for every example, of one shape; if asked, with the example's number first."""
    shape = next(each.shape for each, is_mapped in zip(indices, mapped, strict=True) if is_mapped)
    spread = [broadcast_to(each, shape) for each in indices]
    return [iota(shape, 0, indices[0].dtype), *spread] if with_number else spread
