"""Matrix decompositions into triangles: Cholesky and QR.

Each has one forward-mode rule, from the source that its function names; reverse mode is that
rule transposed. Eigenvalues and singular values are in :mod:`graphnn.ops.spectral`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.errors import ArgumentError, ShapeError, UnsupportedOpError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec, shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import project
from graphnn.ops.diagonals import tril
from graphnn.ops.joining import concatenate, slice_axis
from graphnn.ops.matrices import (
    SQUARE_REJECTS,
    SQUARE_SAMPLES,
    each_or_nan,
    float_matrices,
    is_diagonal,
    matrix_transpose,
    regular,
    smaller_size,
    square_matrices,
    symmetric_part,
)
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.products import matmul
from graphnn.ops.solving import triangular

__all__ = ["cholesky", "qr"]


class CholeskyOp(Op):
    """The lower triangular ``l`` with ``l @ l' = a``, for a symmetric matrix."""

    name = "cholesky"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TensorSpec:
        return a

    def evaluate(self, a: Array) -> Array:
        result: Array = each_or_nan(np.linalg.cholesky, a)
        return result

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        if tangent is None:
            return None
        half = matrix_transpose(triangular(node, tangent, lower=True))
        middle = matrix_transpose(triangular(node, half, lower=True))
        lower = where(is_diagonal(middle), 0.5 * middle, tril(middle))
        return matmul(node, lower)


class QROp(Op):
    """``q @ r = a`` for matrices with at least as many rows as columns."""

    name = "qr"
    axis_attrs = ()

    def infer(self, a: TensorSpec, *, complete: bool) -> TupleSpec:
        *batch, rows, columns = a.shape
        kept = rows if complete else columns
        shapes = (*batch, rows, kept), (*batch, kept, columns)
        return TupleSpec(tuple(TensorSpec(shape, a.dtype) for shape in shapes))

    def evaluate(self, a: Array, *, complete: bool) -> tuple[Array, ...]:
        return tuple(np.linalg.qr(a, mode="complete" if complete else "reduced"))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        (tangent,) = tangents
        if tangent is None:
            return [None, None]
        if node.attrs["complete"]:
            raise UnsupportedOpError(
                f"qr: a complete decomposition of {shape_text(node.inputs[0].shape)} has no "
                "derivative: its last columns are not determined by the matrix",
                hint='mode="reduced"',
            )
        q, r = project(node, 0), project(node, 1)
        change = matrix_transpose(
            triangular(matrix_transpose(r), matrix_transpose(tangent), lower=True)
        )  # da @ inv(r)
        inside = matmul(matrix_transpose(q), change)
        below = tril(inside, -1)
        rotation = below - matrix_transpose(below)
        upper = inside - rotation
        return [change - matmul(q, upper), matmul(upper, r)]


CHOLESKY, QR = CholeskyOp(), QROp()
register(CHOLESKY)
register(QR)


# ------------------------------------------------------------------------------- what users call


def _cholesky(a: Any, *, upper: bool = False) -> Any:
    """Row by row, as in a textbook."""
    a = np.asarray(a, np.float64)
    a = (a + a.mT) / 2
    factor = np.zeros_like(a)
    for i in range(a.shape[-1]):
        for j in range(i + 1):
            rest = a[..., i, j] - np.sum(factor[..., i, :j] * factor[..., j, :j], -1)
            factor[..., i, j] = np.sqrt(rest) if i == j else rest / factor[..., j, j]
    return factor.mT if upper else factor


@operation(
    reference=_cholesky,
    samples=[*SQUARE_SAMPLES, Sample(regular(3, 3), upper=True)],
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner="NaN for a matrix that is not positive definite, and for no other of the batch",
)
def cholesky(a: Any, *, upper: bool = False) -> Node:
    """The lower triangular ``l`` with ``l @ l' = (a + a') / 2``, with a positive diagonal.

    Parameters
    ----------
    a : array_like or Node
        Symmetric and positive definite, of shape ``(..., n, n)``. The symmetric part is taken,
        as in JAX, so that derivatives are those of a function of all elements. Integers become
        float32; half floats are computed in float32.
    upper : bool, default False
        Give ``l'``.

    Returns
    -------
    Node
        Of the shape of ``a``, with zeros in the other triangle. NaN where the matrix is not
        positive definite: a program does not stop for one matrix of a batch
        (``debug="nan"`` finds it).

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    ``dl = l @ phi(inv(l) @ da @ inv(l'))``, where phi takes the lower triangle and halves the
    diagonal (Murray, "Differentiation of the Cholesky decomposition", 2016).

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.cholesky([[4.0, 2.0], [2.0, 10.0]]))
    array([[2., 0.],
           [1., 3.]], dtype=float32)
    """
    a = square_matrices("cholesky", a)
    lower = make_node(CHOLESKY, (symmetric_part(widened(a)),))
    return cast_to(matrix_transpose(lower) if upper else lower, a.dtype)


@operation(
    reference=lambda a, mode="reduced": np.linalg.qr(np.asarray(a, np.float64), mode),
    samples=[
        Sample(regular(3, 3)),
        Sample(regular(4, 2)),
        Sample(regular(2, 4)),
        Sample(regular(2, 1, 4, 3)),
        Sample(regular(2, 3, 3), mode="complete"),
        Sample(regular(2, 3), mode="complete"),
        Sample(Arg((3, 2), -2, 2, kind="int"), mode="complete"),
        Sample(regular(1, 1)),
        Sample(Arg((3, 0))),
        Sample(Arg((0, 3))),
        Sample(Arg((0, 3, 2))),
    ],
    rejects=[
        Reject(ShapeError, "at least two axes", Arg((3,))),
        Reject(ArgumentError, "mode must be 'reduced' or 'complete', not 'r'", Arg((3, 3)), "r"),
    ],
    dtypes="if",
    corner="derivative inf or NaN if the first min(m, n) columns are not independent",
)
def qr(a: Any, mode: str = "reduced") -> tuple[Node, Node]:
    """``q, r`` with ``q @ r = a``: orthonormal columns times an upper triangle.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., m, n)``. Integers become float32; half floats are computed in float32.
    mode : {"reduced", "complete"}, default "reduced"
        Whether ``q`` has ``k = min(m, n)`` columns or all ``m``. A complete decomposition with
        ``m > n`` has no derivative.

    Returns
    -------
    q : Node
        Of shape ``(..., m, k)``.
    r : Node
        Of shape ``(..., k, n)``. Signs on its diagonal are LAPACK's.

    Raises
    ------
    ShapeError
        If it is not known which of ``m`` and ``n`` is smaller.
    ArgumentError
        For another mode.

    Notes
    -----
    With ``c = da @ inv(r)`` and ``w = q' c`` the columns turn by the antisymmetric part that
    the lower triangle of ``w`` determines (Walter and Lehmann, "Algorithmic differentiation of
    linear algebra functions", 2010). If ``m < n`` the first ``m`` columns are decomposed, and
    the others are ``q' a``.

    Examples
    --------
    >>> import graphnn as gn
    >>> q, r = gn.qr(gn.input("a", shape=("batch", 5, 3)))
    >>> q.shape, r.shape
    ((Dim(batch), 5, 3), (Dim(batch), 3, 3))
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"qr: mode must be 'reduced' or 'complete', not {mode!r}")
    a = float_matrices("qr", a)
    rows, columns = a.shape[-2:]
    smaller = smaller_size("qr", rows, columns)
    wide = widened(a)
    first = slice_axis(wide, a.ndim - 1, 0, smaller)
    complete = mode == "complete" and rows != smaller
    node = make_node(QR, (first,), {"complete": complete})
    q, r = project(node, 0), project(node, 1)
    if columns != smaller:
        others = slice_axis(wide, a.ndim - 1, smaller, columns - smaller)
        r = concatenate([r, matmul(matrix_transpose(q), others)], -1)
    return cast_to(q, a.dtype), cast_to(r, a.dtype)
