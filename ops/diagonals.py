"""Diagonals and triangles of matrices; a diagonal's transpose puts a vector on one."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.axes import normalize_axis, whole_number
from graphnn.ops.broadcasting import sum
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import iota
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.logic import greater_equal, less_equal
from graphnn.ops.matrices import matrices
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node

__all__ = ["diag", "diagonal", "matrix_trace", "tril", "triu"]


def _diagonal_size(rows: Size, columns: Size, offset: int) -> Size:
    """How many elements a diagonal has."""
    if rows == columns:
        size = rows - abs(offset)
        return max(size, 0) if isinstance(size, int) else size
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(
            f"diagonal: it is not known which of {rows} and {columns} is smaller",
            hint="diagonals of a matrix with named dimensions need rows and columns of one name",
        )
    return max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)


class DiagonalOp(LinearOp):
    """A diagonal of the last two axes, along a new last axis."""

    name = "diagonal"
    autocast = "follow"
    axis_attrs = ()
    is_view = True

    def infer(self, x: TensorSpec, *, offset: int) -> TensorSpec:
        *batch, rows, columns = x.shape
        return TensorSpec((*batch, _diagonal_size(rows, columns, offset)), x.dtype)

    def evaluate(self, x: Array, *, offset: int) -> Array:
        return np.diagonal(x, offset, -2, -1)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        rows, columns = node.inputs[0].shape[-2:]
        attrs = {"rows": rows, "columns": columns, "offset": node.attrs["offset"]}
        return make_node(DIAGONAL_MATRIX, (cotangent,), attrs)


class DiagonalMatrixOp(LinearOp):
    """Matrices with the last axis on a diagonal, and zeros elsewhere."""

    name = "diagonal_matrix"
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, rows: Size, columns: Size, offset: int) -> TensorSpec:
        size = _diagonal_size(rows, columns, offset)
        if x.shape[-1:] != (size,):
            raise ShapeError(
                f"diagonal_matrix: {shape_text(x.shape)} does not fit on a diagonal of {size}"
            )
        return TensorSpec((*x.shape[:-1], rows, columns), x.dtype)

    def evaluate(self, x: Array, *, rows: int, columns: int, offset: int) -> Array:
        out = np.empty((*x.shape[:-1], rows, columns), x.dtype)
        self.evaluate_into(out, x, rows=rows, columns=columns, offset=offset)
        return out

    def evaluate_into(self, out: Array, x: Array, *, rows: int, columns: int, offset: int) -> None:
        out[...] = 0
        along = np.arange(x.shape[-1])
        out[..., along + max(-offset, 0), along + max(offset, 0)] = x

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return make_node(DIAGONAL, (cotangent,), {"offset": node.attrs["offset"]})


DIAGONAL, DIAGONAL_MATRIX = DiagonalOp(), DiagonalMatrixOp()
register(DIAGONAL)
register(DIAGONAL_MATRIX)


@operation(
    reference=np.diagonal,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), 1),
        Sample(Arg((3, 4)), -1),
        Sample(Arg((2, 3, 4)), 0, -1, 0),
        Sample(Arg((3, 3)), 5),
        Sample(Arg((0, 3))),
    ],
    rejects=[
        Reject(ShapeError, "at least two axes", Arg((3,))),
        Reject(ShapeError, "axis 1 is given twice", Arg((3, 4)), 0, 1, -1),
    ],
    dtypes="bifc",
)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """A diagonal of the matrices that two axes span, along a new last axis.

    Parameters
    ----------
    x : array_like or Node
    offset : int, default 0
        0 is the main diagonal, positive lies above it, negative below.
    axis1, axis2 : int
        Rows and columns.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.diagonal(gn.input("x", shape=(3, 4)), offset=1).shape
    (3,)
    """
    x = matrices("diagonal", x)
    rows = normalize_axis("diagonal", axis1, x.ndim)
    columns = normalize_axis("diagonal", axis2, x.ndim)
    if rows == columns:
        raise ShapeError(f"diagonal: axis {rows} is given twice")
    along = whole_number("diagonal", "the offset", offset)
    others = [axis for axis in range(x.ndim) if axis not in (rows, columns)]
    return make_node(DIAGONAL, (permute(x, [*others, rows, columns]),), {"offset": along})


@operation(
    reference=np.trace,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), -1),
        Sample(Arg((2, 3, 4)), 1, 1, 2),
        Sample(Arg((0, 0))),
    ],
    rejects=[Reject(ShapeError, "at least two axes", Arg((3,)))],
    dtypes="ifc",
)
def matrix_trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """Sum of a diagonal, ``numpy.trace``; see :func:`diagonal`."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


@operation(
    reference=np.diag,
    samples=[
        Sample(Arg((3,))),
        Sample(Arg((3,)), 1),
        Sample(Arg((3,)), -2),
        Sample(Arg((3, 4)), 1),
        Sample(Arg((0,))),
    ],
    rejects=[
        Reject(ShapeError, "one or two axes", Arg((2, 3, 4))),
        Reject(ShapeError, "k must be an integer", Arg((3,)), 0.5),
    ],
    dtypes="bifc",
)
def diag(x: Any, k: int = 0) -> Node:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.

    Parameters
    ----------
    x : array_like or Node
        With one or two axes.
    k : int, default 0
        0 is the main diagonal, positive lies above it, negative below.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.diag(gn.input("x", shape=(3,)), k=1).shape
    (4, 4)
    """
    x = as_node(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: one or two axes are needed, not {shape_text(x.shape)}")
    k = whole_number("diag", "k", k)
    size = x.shape[0] + abs(k)
    return make_node(DIAGONAL_MATRIX, (x,), {"rows": size, "columns": size, "offset": k})


_TRIANGLE_SAMPLES = [
    Sample(Arg((3, 4))),
    Sample(Arg((3, 4)), 1),
    Sample(Arg((2, 3, 3)), -1),
    Sample(Arg((0, 3))),
]


@operation(
    reference=np.tril,
    samples=_TRIANGLE_SAMPLES,
    rejects=[Reject(ShapeError, "at least two axes", Arg((3,)))],
    dtypes="bifc",
    corner="what is dropped may be inf or NaN",
)
def tril(x: Any, k: int = 0) -> Node:
    """The lower triangle of matrices, zeros above diagonal ``k``."""
    x, k = matrices("tril", x), whole_number("tril", "k", k)
    return where(less_equal(iota(x.shape[-2:], 1), iota(x.shape[-2:], 0) + k), x, _zero(x))


@operation(
    reference=np.triu,
    samples=_TRIANGLE_SAMPLES,
    rejects=[Reject(ShapeError, "at least two axes", Arg((3,)))],
    dtypes="bifc",
    corner="what is dropped may be inf or NaN",
)
def triu(x: Any, k: int = 0) -> Node:
    """The upper triangle of matrices, zeros below diagonal ``k``."""
    x, k = matrices("triu", x), whole_number("triu", "k", k)
    return where(greater_equal(iota(x.shape[-2:], 1), iota(x.shape[-2:], 0) + k), x, _zero(x))


def _zero(x: Node) -> Node:
    return constant(0, x.dtype)
