"""What the families of linear algebra share: a matrix is the last two axes of an array.

Axes before the last two are batch axes: everything is done to every matrix by itself. For
:mod:`graphnn.ops` alone; users meet the families that build on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.ops.contract import Arg, Reject, Sample
from graphnn.ops.creation import iota
from graphnn.ops.logic import equal
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node, require_floating

__all__ = [
    "SQUARE_REJECTS",
    "SQUARE_SAMPLES",
    "each_or_nan",
    "float_matrices",
    "is_diagonal",
    "matrices",
    "matrix_transpose",
    "regular",
    "require_square",
    "smaller_size",
    "square_matrices",
    "symmetric_part",
]


def matrices(what: str, x: Any) -> Node:
    """A node with rows and columns.

    Raises
    ------
    ShapeError
        If it has fewer than two axes.
    """
    node = as_node(x)
    if node.ndim < 2:
        raise ShapeError(f"{what}: at least two axes are needed, not {shape_text(node.shape)}")
    return node


def float_matrices(what: str, x: Any) -> Node:
    """Matrices of floats: integers and bools become float32."""
    return require_floating(what, matrices(what, x))


def square_matrices(what: str, x: Any) -> Node:
    """Matrices of floats with as many rows as columns.

    Raises
    ------
    ShapeError
    """
    node = float_matrices(what, x)
    require_square(what, node)
    return node


def require_square(what: str, x: Node) -> None:
    """Refuse matrices with more rows than columns, or fewer.

    Raises
    ------
    ShapeError
    """
    rows, columns = x.shape[-2:]
    if rows != columns:
        raise ShapeError(
            f"{what}: the matrix must be square, but {shape_text(x.shape)} has {rows} rows and "
            f"{columns} columns",
            hint="matrices are the last two axes; those before them are batch axes",
        )


def smaller_size(what: str, rows: Size, columns: Size) -> Size:
    """The smaller of two sizes.

    Raises
    ------
    ShapeError
        If that is not known.
    """
    if rows == columns:
        return rows
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(
            f"{what}: it is not known which of {rows} and {columns} is smaller",
            hint="give rows and columns fixed sizes, or one name; batch axes may have any names",
        )
    return min(rows, columns)


def matrix_transpose(x: Node) -> Node:
    """The matrices transposed: the last two axes change places. A view."""
    return permute(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def symmetric_part(x: Node) -> Node:
    """``(x + x') / 2``: the matrix itself if it is symmetric."""
    return (x + matrix_transpose(x)) * 0.5


def is_diagonal(x: Node) -> Node:
    """Where the diagonal of matrices is, as a mask for one matrix."""
    return equal(iota(x.shape[-2:], 0), iota(x.shape[-2:], 1))


def each_or_nan(function: Callable[..., Any], first: Array, *others: Array) -> Any:
    """A batched routine of NumPy, with NaN for every matrix of ``first`` that it refuses.

    NumPy raises an error for a whole batch if one matrix has no result.
    """
    try:
        return function(first, *others)
    except np.linalg.LinAlgError:
        pass

    count = int(np.prod(first.shape[:-2]))
    stacks = [array.reshape(count, *array.shape[-2:]) for array in (first, *others)]
    refused = _refused(function, stacks).reshape(first.shape[:-2])
    harmless = np.eye(*first.shape[-2:], dtype=first.dtype)
    results = function(np.where(refused[..., None, None], harmless, first), *others)
    for result in results if isinstance(results, tuple) else (results,):
        result[refused] = np.nan
    return results


def _refused(function: Callable[..., Any], stacks: list[Array]) -> Array:
    """Which matrices of stacks have no result, found by halving: few among many cost little."""
    refused = np.zeros(len(stacks[0]), bool)
    suspects = [(0, len(refused))]
    while suspects:
        start, stop = suspects.pop()
        try:
            function(*(stack[start:stop] for stack in stacks))
        except np.linalg.LinAlgError:
            middle = (start + stop) // 2
            if middle == start:
                refused[start] = True
            else:
                suspects += [(start, middle), (middle, stop)]
    return refused


def regular(*shape: int) -> Arg:
    """Small whole numbers with a large diagonal, for samples.

    Matrices like that are far from singular, their symmetric part is positive definite, and
    their singular values lie apart.
    """
    *_, rows, columns = shape
    values = (1.0 + np.arange(np.prod(shape)) % 5 % 2).reshape(shape)
    along = np.arange(min(rows, columns))
    values[..., along, along] = 6.0 + 3.0 * along
    return Arg(shape, values=tuple(values.ravel().tolist()))


SQUARE_SAMPLES = [
    Sample(regular(3, 3)),
    Sample(regular(2, 1, 3, 3)),
    Sample(regular(4, 4)),
    Sample(regular(1, 1)),
    Sample(Arg((0, 0))),
    Sample(Arg((0, 2, 2))),
]
SQUARE_REJECTS = [
    Reject(ShapeError, "must be square, but (2, 3) has 2 rows and 3 columns", Arg((2, 3))),
    Reject(ShapeError, "at least two axes", Arg((3,))),
]
