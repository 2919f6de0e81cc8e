"""Sparse matrices times dense ones. The entries are nodes, where they stand is known.

``csr_matmul`` and ``sampled_matmul`` (products of rows and columns at the entries alone) are each
other's transposes, so derivatives of any order are made of these two. The notation is that of
compressed sparse rows (CSR), as in scipy.sparse: the entries of row ``i`` are number
``indptr[i]`` to ``indptr[i + 1]``, in columns ``indices``. Read as compressed columns, the same
three arrays are the transposed matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, product
from graphnn.core.dtypes import FLOAT32, INT32, INT64, DType, is_half
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.literal import Literal
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import multiply
from graphnn.ops.axes import as_shape
from graphnn.ops.broadcasting import broadcast_to, sum, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import zeros
from graphnn.ops.indexing import take
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.movement import moveaxis, swapaxes
from graphnn.ops.operands import as_node, operands
from graphnn.ops.scattering import scatter_add

__all__ = ["CSR", "csr", "csr_matmul"]


@dataclass(frozen=True)
class Pattern:
    """Where the entries of a sparse matrix are: the columns row by row, and where rows begin."""

    indices: Literal
    indptr: Literal
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        """How many entries there are."""
        return int(self.indices.array.size)

    @property
    def rows(self) -> Array:
        """The row of every entry."""
        indptr = self.indptr.array
        return np.repeat(np.arange(self.shape[0], dtype=indptr.dtype), np.diff(indptr))

    def repeated(self, count: int) -> tuple[Array, Array]:
        """Columns and row ends of the matrix with ``count`` of these along its diagonal."""
        indices, indptr = self.indices.array, self.indptr.array
        if count == 1:
            return indices, indptr
        block = np.arange(count)[:, None]
        starts = indptr[:-1] + self.count * block
        return (
            (indices + self.shape[1] * block).ravel(),
            np.append(starts.ravel(), count * self.count),
        )

    def __repr__(self) -> str:
        return f"{self.count} of {self.shape[0]} x {self.shape[1]}"


# ------------------------------------------------------------------------------------- the ops


class CsrMatmulOp(LinearOp):
    """A sparse matrix, or its transpose, times a dense one; side by side along leading axes.

    Inputs are the entries ``(*batch, entries)`` and the dense ``(*batch, inner, columns)``. Half
    floats are summed in float32.
    """

    name = "csr_matmul"
    is_multilinear = True

    def infer(
        self, data: TensorSpec, dense: TensorSpec, *, pattern: Pattern, transposed: bool
    ) -> TensorSpec:
        rows, columns = pattern.shape[::-1] if transposed else pattern.shape
        batch = dense.shape[:-2]
        if data.shape != (*batch, pattern.count) or dense.shape[-2] != columns:
            raise ShapeError(
                f"csr_matmul: entries {shape_text(data.shape)} at {pattern!r} "
                f"and {shape_text(dense.shape)} do not fit"
            )
        return TensorSpec((*batch, rows, dense.shape[-1]), dense.dtype)

    def evaluate(self, data: Array, dense: Array, *, pattern: Pattern, transposed: bool) -> Array:
        from scipy.sparse import csc_array, csr_array

        *batch, inner, width = dense.shape
        rows, columns = pattern.shape
        count = int(np.prod(batch, dtype=np.int64))
        wide = FLOAT32 if is_half(dense.dtype) else dense.dtype
        entries = (data.astype(wide, copy=False).ravel(), *pattern.repeated(count))
        if transposed:
            matrix = csc_array(entries, shape=(count * columns, count * rows))
        else:
            matrix = csr_array(entries, shape=(count * rows, count * columns))
        flat = dense.astype(wide, copy=False).reshape(count * inner, width)
        result = np.asarray(matrix @ flat).astype(dense.dtype, copy=False)
        return result.reshape(*batch, columns if transposed else rows, width)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        data, dense = node.inputs
        pattern, transposed = node.attrs["pattern"], node.attrs["transposed"]
        if index == 1:
            return _matmul(data, cotangent, pattern, not transposed)
        sides = (dense, cotangent) if transposed else (cotangent, dense)
        return make_node(SAMPLED_MATMUL, sides, {"pattern": pattern})

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """Examples of the dense matrix alone are more columns of it."""
        data, dense = inputs
        if mapped[0]:
            if not mapped[1]:
                dense = broadcast_to(dense, (data.shape[0], *dense.shape))
            return make_node(self, (data, dense), node.attrs)
        return _by_columns(dense, 1, lambda wide: make_node(self, (data, wide), node.attrs))

    def flops(self, node: Node) -> int:
        data, dense = node.inputs
        return 2 * int(data.size) * int(dense.shape[-1])

    def shown_attrs(self, node: Node) -> Mapping[str, Any]:
        """The flag only if it is set."""
        shown = dict(node.attrs)
        if not shown["transposed"]:
            del shown["transposed"]
        return shown


class SampledMatmulOp(LinearOp):
    """``out[e] = sum over k of a[row of e, k] * b[column of e, k]``, for the entries alone."""

    name = "sampled_matmul"
    is_multilinear = True
    axis_attrs = ()

    def infer(self, a: TensorSpec, b: TensorSpec, *, pattern: Pattern) -> TensorSpec:
        rows, columns = pattern.shape
        *batch, _, width = a.shape
        if a.shape != (*batch, rows, width) or b.shape != (*batch, columns, width):
            raise ShapeError(
                f"sampled_matmul: {shape_text(a.shape)} and {shape_text(b.shape)} "
                f"do not fit {pattern!r}"
            )
        return TensorSpec((*batch, pattern.count), a.dtype)

    def expand(self, a: Node, b: Node, *, pattern: Pattern) -> Node:
        left, right = take(a, pattern.rows, -2), take(b, pattern.indices.array, -2)
        return sum(multiply(left, right), -1)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return _matmul(cotangent, node.inputs[1 - index], node.attrs["pattern"], index == 1)

    def flops(self, node: Node) -> int:
        return 2 * int(node.size) * int(node.inputs[0].shape[-1])


CSR_MATMUL, SAMPLED_MATMUL = CsrMatmulOp(), SampledMatmulOp()
register(CSR_MATMUL)
register(SAMPLED_MATMUL)


def _matmul(data: Node, dense: Node, pattern: Pattern, transposed: bool) -> Node:
    return make_node(CSR_MATMUL, (data, dense), {"pattern": pattern, "transposed": transposed})


def _by_columns(dense: Node, lead: int, times: Callable[[Node], Node]) -> Node:
    """One product with the matrices along the first ``lead`` axes, side by side as columns."""
    front, behind = tuple(range(lead)), tuple(range(-1 - lead, -1))
    moved = moveaxis(dense, front, behind)
    rows, columns = moved.shape[: -1 - lead], moved.shape[-1 - lead :]
    result = times(to_shape(moved, (*rows, product(columns))))
    return moveaxis(to_shape(result, (*result.shape[:-1], *columns)), behind, front)


# ------------------------------------------------------------------------------- what users call


class CSR:
    """A sparse matrix whose entries are a node, made by :func:`csr`.

    It multiplies with ``@`` from either side: vectors, matrices and stacks of matrices, arrays
    and nodes.

    Attributes
    ----------
    data : Node
        The entries: an input, a parameter, a constant or computed.
    pattern : Pattern
        Where they stand.
    transposed : bool
        Whether the matrix is the transpose of what the pattern says.
    """

    __slots__ = ("data", "pattern", "transposed")
    __array_ufunc__ = None  # so that ndarray @ CSR asks the CSR

    def __init__(self, data: Node, pattern: Pattern, transposed: bool = False) -> None:
        # No dataclass: gn.function would take it for a structure of arrays.
        self.data = data
        self.pattern = pattern
        self.transposed = transposed

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.pattern.shape
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def dtype(self) -> DType:
        """The dtype of the entries."""
        return self.data.dtype

    @property
    def nnz(self) -> int:
        """How many entries are stored; the name is SciPy's."""
        return self.pattern.count

    @property
    def T(self) -> CSR:
        """The transposed matrix, of the same entries."""
        return CSR(self.data, self.pattern, not self.transposed)

    def todense(self) -> Node:
        """All elements; entries for one place add up."""
        places = (self.pattern.rows, self.pattern.indices.array)
        if self.transposed:
            places = places[::-1]
        return scatter_add(zeros(self.shape, self.dtype), places, self.data)

    def __matmul__(self, dense: Any) -> Node:
        if isinstance(dense, CSR):
            raise ArgumentError(
                f"csr_matmul: two sparse matrices, {self!r} and {dense!r}",
                hint="a @ b.todense()",
            )
        data, right = operands("csr_matmul", [self.data, dense], "if")
        _check_inner(self.shape, right.shape)

        def times(columns: Node) -> Node:
            return _matmul(data, columns, self.pattern, self.transposed)

        if right.ndim == 1:
            return to_shape(times(to_shape(right, (*right.shape, 1))), self.shape[:1])
        return _by_columns(right, right.ndim - 2, times)

    def __rmatmul__(self, dense: Any) -> Node:
        left = as_node(dense)
        _check_inner(left.shape, self.shape)
        if left.ndim == 1:
            return self.T @ left
        return swapaxes(self.T @ swapaxes(left, -1, -2), -1, -2)

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"<CSR ({rows}, {columns}) {self.dtype.name}, {self.nnz} entries>"


def _check_inner(left: Shape, right: Shape) -> None:
    """The last axis of one is as long as the last but one (of a vector: the one) of the other."""
    if not left or not right:
        raise ShapeError("csr_matmul: a 0-d array is no matrix", hint="multiply the entries by it")
    inner = left[-1], right[-2:][0]
    if inner[0] != inner[1]:
        raise ShapeError(
            f"csr_matmul: inner dimensions differ: {shape_text(left)} @ {shape_text(right)}, "
            f"{inner[0]} != {inner[1]}"
        )


def csr(entries: Any, shape: Any = None) -> CSR:
    """A sparse matrix in compressed rows: ``data[e]`` stands in column ``indices[e]``.

    Parameters
    ----------
    entries : (data, indices, indptr) or scipy.sparse matrix
        ``data`` is an array or a Node of shape (entries,); derivatives by it have that shape.
        ``indices``, of the same shape, are the columns: in a row they need not be sorted, and
        entries for one place add up. Row ``i`` has the entries ``indptr[i]`` to
        ``indptr[i + 1]``. Both are integer arrays, not nodes: where entries stand is fixed.
    shape : (int, int)
        Rows and columns; a SciPy matrix knows its own.

    Returns
    -------
    CSR

    Raises
    ------
    ArgumentError
        If the entries are none of the above.
    ShapeError
        If lengths do not fit, ``indptr`` decreases, or a column is out of range.
    DTypeError
        If indices are not integers, or the entries are bool.

    Examples
    --------
    >>> import graphnn as gn
    >>> weights = gn.input("weights", shape=(3,))
    >>> a = gn.csr((weights, [0, 2, 1], [0, 2, 3]), shape=(2, 3))
    >>> a
    <CSR (2, 3) float32, 3 entries>
    >>> y = a @ gn.constant([1.0, 10.0, 100.0])
    >>> gn.evaluate([y, gn.grad(gn.sum(y), weights)], {weights: [1.0, 2.0, 3.0]})
    [array([201.,  30.], dtype=float32), array([  1., 100.,  10.], dtype=float32)]
    """
    if hasattr(entries, "tocsr"):
        matrix = entries.tocsr()
        entries = (matrix.data, matrix.indices, matrix.indptr)
        shape = matrix.shape if shape is None else shape
    if not isinstance(entries, tuple | list) or len(entries) != 3:
        raise ArgumentError(
            f"csr: (data, indices, indptr) or a scipy.sparse matrix is needed, not {entries!r}",
            hint="gn.csr((data, indices, indptr), shape=(rows, columns))",
        )
    sizes = as_shape("csr", () if shape is None else shape)
    if len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
        raise ShapeError(
            f"csr: the shape must be two numbers, not {shape_text(sizes)}",
            hint="shape=(rows, columns)",
        )
    rows, columns = map(int, sizes)
    (data,) = operands("csr", entries[:1], "if")
    indices, indptr = _known("indices", entries[1]), _known("indptr", entries[2])
    _check_pattern(data.shape, indices, indptr, rows, columns)
    if max(indices.size, rows, columns) < 2**31:  # SciPy would narrow both at every product
        indices, indptr = indices.astype(INT32), indptr.astype(INT32)
    return CSR(data, Pattern(Literal(indices), Literal(indptr), (rows, columns)))


def _known(word: str, given: Any) -> Array:
    """A 1-D integer array."""
    if isinstance(given, Node):
        raise ArgumentError(
            f"csr: {word} are a node, but where the entries stand must be known",
            hint="else gather, multiply and sum: gn.segment_sum(data * x[columns], rows, count)",
        )
    array = np.asarray(given)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise DTypeError(f"csr: {word} must be integers, not {array.dtype.name}")
    if array.ndim != 1:
        raise ShapeError(f"csr: {word} must have one axis, not shape {shape_text(array.shape)}")
    return array.astype(INT64)


def _check_pattern(entries: Shape, indices: Array, indptr: Array, rows: int, columns: int) -> None:
    if entries != indices.shape:
        raise ShapeError(
            f"csr: data of shape {shape_text(entries)} at {indices.size} places",
            hint="data and indices have one element for every entry",
        )
    if indptr.size != rows + 1:
        raise ShapeError(
            f"csr: indptr has {indptr.size} elements, {rows} rows need {rows + 1}",
            hint="it says where every row begins, and where the last one ends",
        )
    if indptr[0] != 0 or indptr[-1] != indices.size:
        raise ShapeError(
            f"csr: indptr runs from {indptr[0]} to {indptr[-1]}, the entries from 0 "
            f"to {indices.size}"
        )
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if falls.size:
        row = int(falls[0])
        raise ShapeError(f"csr: row {row} begins at {indptr[row]} and ends at {indptr[row + 1]}")
    outside = indices[(indices < 0) | (indices >= columns)]
    if outside.size:
        raise ShapeError(f"csr: column {outside[0]} is out of range for {columns} columns")


def _csr_matmul(data: Any, indices: Any, indptr: Any, dense: Any, shape: Any) -> Any:
    matrix = np.zeros(shape, np.asarray(data).dtype)
    for row in range(shape[0]):
        for entry in range(indptr[row], indptr[row + 1]):
            matrix[row, indices[entry]] += data[entry]
    return matrix @ dense


def _refuses(
    error: type[Exception],
    words: str,
    indices: Any,
    indptr: Any,
    shape: Any,
    *,
    entries: int = 1,
    dense: tuple[int, ...] = (2,),
) -> Reject:
    return Reject(error, words, Arg((entries,)), indices, indptr, Arg(dense), shape)


_INDICES, _INDPTR = [2, 0, 1, 1, 3, 1], [0, 2, 2, 6]  # not sorted; two for one place; empty row


@operation(
    reference=_csr_matmul,
    samples=[
        Sample(Arg((6,)), _INDICES, _INDPTR, Arg((4, 3)), (3, 4)),
        Sample(Arg((6,)), _INDICES, _INDPTR, Arg((4,)), (3, 4)),
        Sample(Arg((6,)), _INDICES, _INDPTR, Arg((2, 4, 3)), (3, 4)),
        Sample(Arg((6,)), _INDICES, _INDPTR, Arg((2, 1, 4, 1)), (3, 4)),
        Sample(Arg((6,)), _INDICES, _INDPTR, Arg((4, 0)), (3, 4)),
        Sample(Arg((0,)), [], [0, 0, 0], Arg((3, 2)), (2, 3)),
        Sample(Arg((0,)), [], [0], Arg((3, 2)), (0, 3)),
        Sample(Arg((0,)), [], [0, 0], Arg((0, 2)), (1, 0)),
    ],
    rejects=[
        _refuses(ShapeError, "data of shape (2,) at 1 places", [0], [0, 1], (1, 2), entries=2),
        _refuses(ShapeError, "indptr has 2 elements, 2 rows need 3", [0], [0, 1], (2, 2)),
        _refuses(ShapeError, "runs from 0 to 2, the entries from 0 to 1", [0], [0, 2], (1, 2)),
        _refuses(ShapeError, "runs from 1 to 1", [0], [1, 1], (1, 2)),
        _refuses(ShapeError, "row 1 begins at 1 and ends at 0", [0], [0, 1, 0, 1], (3, 2)),
        _refuses(ShapeError, "column 2 is out of range for 2 columns", [2], [0, 1], (1, 2)),
        _refuses(ShapeError, "column -1 is out of range", [-1], [0, 1], (1, 2)),
        _refuses(ShapeError, "indices must have one axis", [[0]], [0, 1], (1, 2)),
        _refuses(ShapeError, "must be two numbers", [0], [0, 1], (2,)),
        _refuses(ShapeError, "must be two numbers", [0], [0, 1], ("n", 2)),
        _refuses(ShapeError, "size -1 is negative", [0], [0, 1], (1, -1)),
        _refuses(DTypeError, "indices must be integers, not float", [0.5], [0, 1], (1, 2)),
        _refuses(ArgumentError, "indptr are a node", [0], Arg((2,), 0, 1, kind="int"), (1, 2)),
        _refuses(ShapeError, "(1, 3) @ (2,), 3 != 2", [0], [0, 1], (1, 3)),
        _refuses(ShapeError, "(1, 2) @ (3, 4), 2 != 3", [0], [0, 1], (1, 2), dense=(3, 4)),
        _refuses(ShapeError, "a 0-d array", [0], [0, 1], (1, 2), dense=()),
    ],
    dtypes="if",
)
def csr_matmul(data: Any, indices: Any, indptr: Any, dense: Any, shape: Any) -> Node:
    """A sparse matrix in compressed rows times a dense one: ``csr(...) @ dense``.

    Parameters
    ----------
    data, indices, indptr, shape
        The matrix; see :func:`csr`.
    dense : array_like or Node
        Of shape (columns,) or (..., columns, n). Half floats are summed in float32.

    Returns
    -------
    Node
        Of shape (rows,) or (..., rows, n).

    Raises
    ------
    ShapeError
        If the inner dimensions differ, and as :func:`csr`.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3, "n"))
    >>> y = gn.csr_matmul([1.0, 2.0, 3.0], [0, 2, 1], [0, 2, 3], x, shape=(2, 3))
    >>> gn.evaluate(y, {x: [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    array([[11., 14.],
           [ 9., 12.]], dtype=float32)
    """
    result: Node = csr((data, indices, indptr), shape) @ dense
    return result
