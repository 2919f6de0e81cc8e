"""Linear systems with a square matrix: solve, triangular solve, inverse.

The two solvers are closed under differentiation: a tangent solves the same system with another
right-hand side, a cotangent the system with the transposed matrix. So they never form an inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.dtypes import FLOAT64
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes, shape_text
from graphnn.ops.arithmetic import negative
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.diagonals import tril, triu
from graphnn.ops.linear_tier import sum_tangents
from graphnn.ops.matrices import (
    SQUARE_REJECTS,
    SQUARE_SAMPLES,
    each_or_nan,
    matrices,
    matrix_transpose,
    regular,
    require_square,
    square_matrices,
)
from graphnn.ops.movement import expand_dims, inverse_permutation, permute, squeeze
from graphnn.ops.operands import cast_to, operands, widened
from graphnn.ops.products import matmul

__all__ = ["cholesky_solve", "inv", "solve", "solve_triangular"]


class SolverOp(Op):
    """``x`` with ``a @ x = b``: matrices of the same batch axes, in float32 or float64."""

    def infer(self, a: TensorSpec, b: TensorSpec, **attrs: Any) -> TensorSpec:
        if a.shape[:-1] != b.shape[:-1]:
            raise ShapeError(f"{self.name}: {a} and {b} differ before the last axis")
        return TensorSpec((*a.shape[:-2], a.shape[-1], b.shape[-1]), b.dtype)

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """Examples that share a matrix are columns of one right-hand side."""
        a, b = inputs
        if mapped[0] and not mapped[1]:
            b = broadcast_to(b, (a.shape[0], *b.shape))
        return solved(self, a, b, **node.attrs)


class SolveOp(SolverOp):
    """By an LU decomposition with partial pivoting."""

    name = "solve"

    def evaluate(self, a: Array, b: Array) -> Array:
        result: Array = each_or_nan(np.linalg.solve, a, b)
        return result

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        a, _ = node.inputs
        change = _right_side_tangent(node, *tangents)
        return None if change is None else make_node(self, (a, change))

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        a, _ = node.inputs
        arriving = make_node(self, (matrix_transpose(a), cotangent))
        return [negative(matmul(arriving, matrix_transpose(node))), arriving]


class SolveTriangularOp(SolverOp):
    """By substitution; of the matrix one triangle is read, with or without its diagonal."""

    name = "solve_triangular"

    def evaluate(self, a: Array, b: Array, *, lower: bool, unit_diagonal: bool) -> Array:
        x = np.array(b, order="C")
        size, count = a.shape[-1], math.prod(a.shape[:-2])
        # Of small matrices the calls would cost the most, of large ones what a call does.
        substitute = _by_rows if size <= _SMALL and size < count else _one_by_one
        if x.size:
            substitute(a, x, lower, unit_diagonal)
        return x

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (a, _), (tangent_a, tangent_b) = node.inputs, tangents
        of_triangle = None if tangent_a is None else _triangle(node, tangent_a)
        change = _right_side_tangent(node, of_triangle, tangent_b)
        return None if change is None else make_node(self, (a, change), node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        a, _ = node.inputs
        attrs = {**node.attrs, "lower": not node.attrs["lower"]}
        arriving = make_node(self, (matrix_transpose(a), cotangent), attrs)
        by_a = negative(matmul(arriving, matrix_transpose(node)))
        return [_triangle(node, by_a), arriving]


class InvOp(Op):
    """The inverse of every matrix."""

    name = "inv"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TensorSpec:
        return a

    def evaluate(self, a: Array) -> Array:
        result: Array = each_or_nan(np.linalg.inv, a)
        return result

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else negative(matmul(matmul(node, tangent), node))


_SMALL = 8
"""Up to this many rows, many triangular systems are solved row by row, all at once."""


def _by_rows(a: Array, x: Array, lower: bool, unit_diagonal: bool) -> None:
    """Substitute in place, a row of all systems after the other."""
    rows = range(a.shape[-1])
    for row in rows if lower else reversed(rows):
        known = slice(0, row) if lower else slice(row + 1, None)
        x[..., [row], :] -= a[..., [row], known] @ x[..., known, :]
        if not unit_diagonal:
            x[..., row, :] /= a[..., row, row, None]


def _one_by_one(a: Array, x: Array, lower: bool, unit_diagonal: bool) -> None:
    """Substitute in place by BLAS, in a system after the other."""
    from scipy.linalg import blas

    solve_in_place = blas.dtrsm if x.dtype == FLOAT64 else blas.strsm
    for matrix, columns in zip(
        a.reshape(-1, *a.shape[-2:]), x.reshape(-1, *x.shape[-2:]), strict=True
    ):
        # To BLAS, row-major arrays are their transposes: x' a' = b'.
        columns[...] = solve_in_place(
            1.0, matrix.T, columns.T, side=1, lower=not lower, diag=unit_diagonal
        ).T


SOLVE, SOLVE_TRIANGULAR, INV = SolveOp(), SolveTriangularOp(), InvOp()
for _op in (SOLVE, SOLVE_TRIANGULAR, INV):
    register(_op)


def _right_side_tangent(node: Node, tangent_a: Node | None, tangent_b: Node | None) -> Node | None:
    """``db - da @ x``: what the tangent of the solution ``x`` is the solution for."""
    by_a = None if tangent_a is None else negative(matmul(tangent_a, node))
    return sum_tangents([tangent_b, by_a])


def _triangle(node: Node, x: Node) -> Node:
    """What a triangular solve reads of its matrix."""
    beside = int(node.attrs["unit_diagonal"])
    return tril(x, -beside) if node.attrs["lower"] else triu(x, beside)


def triangular(a: Node, b: Node, *, lower: bool) -> Node:
    """:func:`solve_triangular` of nodes that fit, in float32 or float64."""
    return make_node(SOLVE_TRIANGULAR, (a, b), {"lower": lower, "unit_diagonal": False})


def solved(op: SolverOp, a: Node, b: Node, **attrs: Any) -> Node:
    """A solver applied to matrices whose batch axes broadcast.

    Batch axes that ``b`` alone has, in front, become columns of one right-hand side, so that
    every matrix is decomposed once.
    """
    extra = b.ndim - a.ndim
    if a.shape[:-2] == b.shape[:-2]:
        return make_node(op, (a, b), attrs)
    if extra > 0 and a.shape[:-2] == b.shape[extra:-2]:
        order = [*range(extra, b.ndim - 1), *range(extra), b.ndim - 1]
        columns = product(b.shape[:extra]) * b.shape[-1]
        side_by_side = to_shape(permute(b, order), (*b.shape[extra:-1], columns))
        x = make_node(op, (a, side_by_side), attrs)
        apart = to_shape(x, (*x.shape[:-1], *b.shape[:extra], b.shape[-1]))
        return permute(apart, inverse_permutation(order))
    batch = broadcast_shapes(op.name, a.shape[:-2], b.shape[:-2])
    a, b = (broadcast_to(each, (*batch, *each.shape[-2:])) for each in (a, b))
    return make_node(op, (a, b), attrs)


def solution(op: SolverOp, a: Any, b: Any, **attrs: Any) -> Node:
    """What users call a solver with: ``b`` is a vector if it is 1-D, else matrices.

    Raises
    ------
    ShapeError
    """
    given_a, given_b = operands(op.name, (a, b), "f")
    matrices(op.name, given_a)
    if given_b.ndim == 0:
        raise ShapeError(f"{op.name}: the right-hand side is 0-d")
    is_vector = given_b.ndim == 1
    columns = expand_dims(given_b, -1) if is_vector else given_b
    if given_a.shape[-2] != columns.shape[-2]:
        raise ShapeError(
            f"{op.name}: {shape_text(given_a.shape)} @ x = {shape_text(given_b.shape)}: the matrix "
            f"has {given_a.shape[-2]} rows, the right-hand side {columns.shape[-2]}",
            hint="only a 1-D right-hand side is a vector: give a stack of vectors as b[..., None]",
        )
    x = cast_to(solved(op, widened(given_a), widened(columns), **attrs), given_a.dtype)
    return squeeze(x, -1) if is_vector else x


# ------------------------------------------------------------------------------- what users call

SOLVER_REJECTS = [
    Reject(ShapeError, "has 3 rows, the right-hand side 2", Arg((3, 3)), Arg((2,))),
    Reject(ShapeError, "has 3 rows, the right-hand side 4", Arg((2, 3, 3)), Arg((4, 3))),
    Reject(ShapeError, "right-hand side is 0-d", Arg((3, 3)), Arg()),
    Reject(ShapeError, "at least two axes", Arg((3,)), Arg((3,))),
    Reject(ShapeError, "do not broadcast: 2 != 4", Arg((2, 3, 3)), Arg((4, 3, 1))),
]


@operation(
    reference=np.linalg.solve,
    samples=[
        Sample(regular(3, 3), Arg((3,))),
        Sample(regular(4, 4), Arg((4, 2))),
        Sample(regular(2, 3, 3), Arg((3,))),
        Sample(regular(2, 3, 3), Arg((2, 3, 2))),
        Sample(regular(3, 3), Arg((2, 4, 3, 2))),
        Sample(regular(2, 3, 3), Arg((4, 2, 3, 1))),
        Sample(regular(2, 1, 2, 2), Arg((3, 2, 2))),
        Sample(regular(1, 1), Arg((1, 3))),
        Sample(Arg((0, 0)), Arg((0, 2))),
        Sample(Arg((0, 2, 2)), Arg((0, 2, 3))),
    ],
    rejects=[
        *SOLVER_REJECTS,
        Reject(ShapeError, "must be square, but (3, 2) has 3 rows", Arg((3, 2)), Arg((3,))),
    ],
    dtypes="if",
    corner="NaN for a singular matrix, and for no other matrix of the batch",
)
def solve(a: Any, b: Any) -> Node:
    """``x`` with ``a @ x = b``, by an LU decomposition.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers become float32; half floats are computed in float32.
    b : array_like or Node
        A vector if it is 1-D, otherwise matrices ``(..., n, k)``, as in NumPy 2. Leading axes
        are broadcast; right-hand sides that share a matrix are solved with one decomposition.

    Returns
    -------
    Node
        Of shape ``(..., n)`` for a vector, else ``(..., n, k)``.

    Raises
    ------
    ShapeError
        If the matrix is not square or the right-hand side does not fit it.

    Notes
    -----
    ``dx = solve(a, db - da @ x)``; the cotangent of ``b`` is ``y = solve(a', c)``, that of ``a``
    is ``-y x'`` (Giles, "Collected matrix derivative results", 2008).

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.solve([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0]))
    array([1., 2.], dtype=float32)
    """
    a = matrices("solve", a)
    require_square("solve", a)
    return solution(SOLVE, a, b)


def _solve_triangular(
    a: Any,
    b: Any,
    *,
    lower: bool = False,
    trans: bool = False,
    unit_diagonal: bool = False,
    left: bool = True,
) -> Any:
    a = np.tril(a) if lower else np.triu(a)
    size = a.shape[-1]
    if unit_diagonal:
        a = a * (1.0 - np.eye(size)) + np.eye(size)
    inverse = np.linalg.inv(a.mT if trans else a)
    return inverse @ b if left else b @ inverse


@operation(
    reference=_solve_triangular,
    samples=[
        Sample(regular(3, 3), Arg((3,))),
        Sample(regular(3, 3), Arg((3, 2)), lower=True),
        Sample(regular(2, 3, 3), Arg((3, 2)), lower=True, trans=True),
        Sample(regular(3, 3), Arg((2, 3, 2)), trans=True, unit_diagonal=True),
        Sample(Arg((3, 3)), Arg((3, 2)), lower=True, unit_diagonal=True),
        Sample(regular(3, 3), Arg((2, 3)), left=False),
        Sample(regular(2, 3, 3), Arg((2, 4, 3)), left=False, lower=True, trans=1),
        Sample(regular(1, 1), Arg((1,))),
        Sample(Arg((0, 0)), Arg((0, 2))),
        Sample(regular(2, 2), Arg((2, 0)), lower=True),
    ],
    rejects=[
        *SOLVER_REJECTS,
        Reject(ShapeError, "must be square", Arg((3, 2)), Arg((3,))),
        Reject(ShapeError, "x @ (3, 3) = (3, 2)", Arg((3, 3)), Arg((3, 2)), left=False),
        Reject(ShapeError, "x @ (3, 3) = (3,)", Arg((3, 3)), Arg((3,)), left=False),
        Reject(ArgumentError, "trans must be False or True", Arg((3, 3)), Arg((3,)), trans="T"),
    ],
    dtypes="if",
    corner="the other triangle is not read, and gets derivative 0; inf or NaN for a 0 on the "
    "diagonal",
)
def solve_triangular(
    a: Any,
    b: Any,
    *,
    lower: bool = False,
    trans: bool = False,
    unit_diagonal: bool = False,
    left: bool = True,
) -> Node:
    """``x`` with ``a @ x = b`` for a triangular matrix, by substitution.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Only the upper triangle is read, or the lower one.
    b : array_like or Node
        As in :func:`solve`.
    lower : bool, default False
        The matrix is lower triangular.
    trans : bool, default False
        Solve with the transposed matrix; ``lower`` is about the matrix as it is given.
    unit_diagonal : bool, default False
        The diagonal is not read either: it is 1.
    left : bool, default True
        Otherwise ``x @ a = b`` is solved, for matrices ``b``.

    Returns
    -------
    Node

    Raises
    ------
    ShapeError
        If the matrix is not square or the right-hand side does not fit it.
    ArgumentError
        If ``trans`` is one of SciPy's letters.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True))
    array([1., 2.], dtype=float32)
    """
    if trans not in (0, 1):
        raise ArgumentError(f"solve_triangular: trans must be False or True, not {trans!r}")
    a, b = operands("solve_triangular", (a, b), "f")
    require_square("solve_triangular", matrices("solve_triangular", a))
    if not left and (b.ndim < 2 or b.shape[-1] != a.shape[-2]):
        raise ShapeError(
            f"solve_triangular: x @ {shape_text(a.shape)} = {shape_text(b.shape)} does not fit",
            hint="with left=False the right-hand side is a matrix with as many columns",
        )
    if bool(trans) == bool(left):  # x @ a = b is a' @ x' = b'
        a, lower = matrix_transpose(a), not lower
    attrs = {"lower": bool(lower), "unit_diagonal": bool(unit_diagonal)}
    if left:
        return solution(SOLVE_TRIANGULAR, a, b, **attrs)
    return matrix_transpose(solution(SOLVE_TRIANGULAR, a, matrix_transpose(b), **attrs))


def _cholesky_solve(b: Any, factor: Any, *, upper: bool = False) -> Any:
    factor = np.asarray(factor, np.float64)
    factor = np.triu(factor).mT if upper else np.tril(factor)
    return np.linalg.solve(factor @ factor.mT, b)


@operation(
    reference=_cholesky_solve,
    samples=[
        Sample(Arg((3,)), regular(3, 3)),
        Sample(Arg((2, 3, 2)), regular(3, 3), upper=True),
        Sample(Arg((3, 2)), regular(2, 3, 3)),
    ],
    rejects=[Reject(ShapeError, "must be square", Arg((3,)), Arg((3, 2)))],
    dtypes="if",
    corner="inf or NaN for a 0 on the diagonal of the factor",
)
def cholesky_solve(b: Any, factor: Any, *, upper: bool = False) -> Node:
    """``x`` with ``l @ l' @ x = b``, from the Cholesky factor ``l`` of a matrix.

    Parameters
    ----------
    b : array_like or Node
        As in :func:`solve`. It comes first, as in PyTorch.
    factor : array_like or Node
        What :func:`cholesky` gives; only its triangle is read.
    upper : bool, default False
        The factor is upper triangular: ``l'``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> factor = gn.cholesky([[4.0, 0.0], [0.0, 9.0]])
    >>> gn.evaluate(gn.cholesky_solve([4.0, 9.0], factor))
    array([1., 1.], dtype=float32)
    """
    b, factor = operands("cholesky_solve", (b, factor), "f")
    require_square("cholesky_solve", matrices("cholesky_solve", factor))
    wide, triangle = widened(b), widened(factor)
    half = solve_triangular(triangle, wide, lower=not upper, trans=upper)
    return cast_to(solve_triangular(triangle, half, lower=not upper, trans=not upper), b.dtype)


@operation(
    reference=np.linalg.inv,
    samples=SQUARE_SAMPLES,
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner="NaN for a singular matrix, and for no other matrix of the batch",
)
def inv(a: Any) -> Node:
    """The inverse of matrices: ``a @ inv(a)`` is the identity.

    To solve a system, :func:`solve` is faster and more accurate than ``inv(a) @ b``.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers become float32; half floats are computed in float32.

    Returns
    -------
    Node
        Of the shape of ``a``.

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    ``dx = -x @ da @ x`` for the inverse ``x``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.inv([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    a = square_matrices("inv", a)
    return cast_to(make_node(INV, (widened(a),)), a.dtype)
