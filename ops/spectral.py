"""Eigenvalues and eigenvectors of symmetric matrices, and singular values and vectors.

Each has one forward-mode rule, from the source that its function names; reverse mode is that
rule transposed. Vectors have the sign that LAPACK gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphnn.core.errors import ShapeError, UnsupportedOpError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec, shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import project
from graphnn.ops.diagonals import diagonal
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
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.products import matmul

__all__ = ["eigh", "eigvalsh", "svd", "svdvals"]


class EighOp(Op):
    """Ascending eigenvalues and, as columns, the eigenvectors of a symmetric matrix."""

    name = "eigh"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TupleSpec:
        return TupleSpec((TensorSpec(a.shape[:-1], a.dtype), a))

    def evaluate(self, a: Array) -> tuple[Array, ...]:
        return _decomposed(np.linalg.eigh, a)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        (tangent,) = tangents
        if tangent is None:
            return [None, None]
        values, vectors = project(node, 0), project(node, 1)
        change = matmul(matrix_transpose(vectors), matmul(tangent, vectors))
        gaps = expand_dims(values, -2) - expand_dims(values, -1)
        rotation = _off_diagonal_inverse(gaps) * change
        return [diagonal(change, 0, -2, -1), matmul(vectors, rotation)]


class SVDOp(Op):
    """``u @ diag(s) @ vh = a``, with descending ``s``; columns of u and rows of vh orthonormal."""

    name = "svd"
    axis_attrs = ()

    def infer(self, a: TensorSpec, *, full_matrices: bool) -> TupleSpec:
        *batch, rows, columns = a.shape
        smaller = smaller_size("svd", rows, columns)
        left, right = (rows, columns) if full_matrices else (smaller, smaller)
        shapes = (*batch, rows, left), (*batch, smaller), (*batch, right, columns)
        return TupleSpec(tuple(TensorSpec(shape, a.dtype) for shape in shapes))

    def evaluate(self, a: Array, *, full_matrices: bool) -> tuple[Array, ...]:
        return _decomposed(partial(np.linalg.svd, full_matrices=full_matrices), a)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        (a,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return [None, None, None]
        if node.attrs["full_matrices"]:
            raise UnsupportedOpError(
                f"svd: the full matrices of {shape_text(a.shape)} have no derivative: some of "
                "their vectors are not determined by the matrix",
                hint="full_matrices=False",
            )
        u, s, vh = (project(node, index) for index in range(3))
        v, along_columns, along_rows = matrix_transpose(vh), expand_dims(s, -2), expand_dims(s, -1)
        change = matmul(matrix_transpose(u), matmul(tangent, v))
        gaps = (along_columns - along_rows) * (along_columns + along_rows)
        weights = _off_diagonal_inverse(gaps)
        by_columns, by_rows = change * along_columns, change * along_rows
        du = matmul(u, weights * (by_columns + matrix_transpose(by_columns)))
        dv = matmul(v, weights * (by_rows + matrix_transpose(by_rows)))
        rows, columns = a.shape[-2:]
        if rows != columns:
            if s.shape[-1] == columns:  # u has directions to move in outside its own span
                du = du + _outside(u, matmul(tangent, v)) / along_columns
            else:
                dv = dv + _outside(v, matmul(matrix_transpose(tangent), u)) / along_columns
        return [du, diagonal(change, 0, -2, -1), matrix_transpose(dv)]


EIGH, SVD = EighOp(), SVDOp()
register(EIGH)
register(SVD)


def _decomposed(function: Callable[..., Any], a: Array) -> tuple[Array, ...]:
    """A decomposition by LAPACK, which may give the vectors of an infinite matrix as numbers."""
    parts = tuple(each_or_nan(function, a))
    is_infinite = ~np.isfinite(a).all((-2, -1))
    for part in parts:
        part[is_infinite] = np.nan
    return parts


def _off_diagonal_inverse(gaps: Node) -> Node:
    """``1 / gaps`` off the diagonal, 0 on it; infinite where two values are equal."""
    # Two choices: an infinity in the branch not taken would spoil the second derivative.
    on_it = is_diagonal(gaps)
    return where(on_it, 0.0, 1.0 / where(on_it, 1.0, gaps))


def _outside(vectors: Node, x: Node) -> Node:
    """The part of ``x`` that is orthogonal to orthonormal vectors."""
    return x - matmul(vectors, matmul(matrix_transpose(vectors), x))


def _eigen(a: Node, part: int) -> Node:
    """Eigenvalues (part 0) or eigenvectors (part 1) of the symmetric part of matrices."""
    return project(make_node(EIGH, (symmetric_part(widened(a)),)), part)


def singular_values(a: Node) -> Node:
    """:func:`svdvals` of matrices in float32 or float64."""
    return project(make_node(SVD, (a,), {"full_matrices": False}), 1)


# ------------------------------------------------------------------------------- what users call


def _symmetric(a: Any) -> Any:
    a = np.asarray(a, np.float64)
    return (a + a.mT) / 2


_EIGH_CORNER = (
    "NaN for a matrix with NaN or inf; where eigenvalues are equal, their sum and all symmetric "
    "functions of them have the right derivative, the vectors inf or NaN"
)


@operation(
    reference=lambda a: np.linalg.eigh(_symmetric(a)),
    samples=SQUARE_SAMPLES,
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner=_EIGH_CORNER,
)
def eigh(a: Any) -> tuple[Node, Node]:
    """``w, v`` with ``v @ diag(w) @ v' = (a + a') / 2``: eigenvalues and eigenvectors.

    Parameters
    ----------
    a : array_like or Node
        Symmetric, of shape ``(..., n, n)``. The symmetric part is taken, as in JAX. Integers
        become float32; half floats are computed in float32.

    Returns
    -------
    values : Node
        Ascending, of shape ``(..., n)``.
    vectors : Node
        Orthonormal columns, of the shape of ``a``. Each has LAPACK's sign: a function of them
        has a meaning only if it does not depend on that.

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    ``dw = diag(c)`` and ``dv = v @ (f * c)`` with ``c = v' da v`` and ``f[i, j] = 1 / (w[j] -
    w[i])`` off the diagonal, 0 on it (Giles, "Collected matrix derivative results", 2008).

    Examples
    --------
    >>> import graphnn as gn
    >>> values, vectors = gn.eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> gn.evaluate(values)
    array([1., 3.], dtype=float32)
    """
    a = square_matrices("eigh", a)
    return cast_to(_eigen(a, 0), a.dtype), cast_to(_eigen(a, 1), a.dtype)


@operation(
    reference=lambda a: np.linalg.eigvalsh(_symmetric(a)),
    samples=SQUARE_SAMPLES,
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner=_EIGH_CORNER,
)
def eigvalsh(a: Any) -> Node:
    """Ascending eigenvalues of the symmetric part of matrices, ``eigh(a)[0]``.

    Parameters
    ----------
    a : array_like or Node
        As in :func:`eigh`.

    Returns
    -------
    Node
        Of shape ``(..., n)``.

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.eigvalsh([[2.0, 1.0], [1.0, 2.0]]))
    array([1., 3.], dtype=float32)
    """
    a = square_matrices("eigvalsh", a)
    return cast_to(_eigen(a, 0), a.dtype)


_SVD_SAMPLES = [
    Sample(regular(3, 3)),
    Sample(regular(4, 2)),
    Sample(regular(2, 4)),
    Sample(regular(2, 1, 3, 2)),
    Sample(regular(1, 1)),
    Sample(Arg((2, 0, 3))),
    Sample(Arg((0, 2, 3))),
]
_SVD_REJECTS = [Reject(ShapeError, "at least two axes", Arg((3,)))]
_SVD_CORNER = (
    "NaN for a matrix with NaN or inf; where singular values are equal, all symmetric functions "
    "of them have the right derivative, the vectors inf or NaN; vectors of a singular value 0 "
    "as well, unless the matrix is square"
)


def _svd(a: Any, full_matrices: bool = False) -> Any:
    return np.linalg.svd(np.asarray(a, np.float64), full_matrices=full_matrices)


@operation(
    reference=_svd,
    samples=[
        *_SVD_SAMPLES,
        Sample(regular(3, 3), full_matrices=True),
        Sample(Arg((3, 2), -2, 2, kind="int"), full_matrices=True),
        Sample(Arg((2, 3), -2, 2, kind="int"), full_matrices=True),
    ],
    rejects=_SVD_REJECTS,
    dtypes="if",
    corner=_SVD_CORNER,
)
def svd(a: Any, full_matrices: bool = False) -> tuple[Node, Node, Node]:
    """``u, s, vh`` with ``u @ diag(s) @ vh = a``: the singular value decomposition.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., m, n)``. Integers become float32; half floats are computed in float32.
    full_matrices : bool, default False
        Complete ``u`` and ``vh`` to square matrices. (NumPy does by default.) Then there is a
        derivative only if ``m = n``.

    Returns
    -------
    u : Node
        Orthonormal columns, of shape ``(..., m, k)`` with ``k = min(m, n)``.
    s : Node
        Singular values, descending and not negative, of shape ``(..., k)``.
    vh : Node
        Orthonormal rows, of shape ``(..., k, n)``. Each vector of ``u`` has LAPACK's sign and
        that of ``vh`` goes with it: a function of them has a meaning only if it does not depend
        on the sign.

    Raises
    ------
    ShapeError
        If it is not known which of ``m`` and ``n`` is smaller.

    Notes
    -----
    With ``c = u' da v``: ``ds = diag(c)``, and the vectors turn by ``f * (c s + s c')`` and
    ``f * (s c + c' s)`` with ``f[i, j] = 1 / (s[j]**2 - s[i]**2)`` off the diagonal (Townsend,
    "Differentiating the singular value decomposition", 2016).

    Examples
    --------
    >>> import graphnn as gn
    >>> u, s, vh = gn.svd([[3.0, 0.0], [0.0, -5.0], [0.0, 0.0]])
    >>> gn.evaluate(s), u.shape, vh.shape
    (array([5., 3.], dtype=float32), (3, 2), (2, 2))
    """
    a = float_matrices("svd", a)
    rows, columns = a.shape[-2:]
    full = bool(full_matrices) and rows != columns
    node = make_node(SVD, (widened(a),), {"full_matrices": full})
    u, s, vh = (cast_to(project(node, index), a.dtype) for index in range(3))
    return u, s, vh


@operation(
    reference=lambda a: _svd(a)[1],
    samples=_SVD_SAMPLES,
    rejects=_SVD_REJECTS,
    dtypes="if",
    corner=_SVD_CORNER,
)
def svdvals(a: Any) -> Node:
    """Descending singular values of matrices, ``svd(a)[1]``.

    Parameters
    ----------
    a : array_like or Node
        As in :func:`svd`.

    Returns
    -------
    Node
        Of shape ``(..., min(m, n))``.

    Raises
    ------
    ShapeError
        If it is not known which of ``m`` and ``n`` is smaller.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.svdvals([[3.0, 0.0], [0.0, -5.0]]))
    array([5., 3.], dtype=float32)
    """
    a = float_matrices("svdvals", a)
    return cast_to(singular_values(widened(a)), a.dtype)
