"""Determinants, whose derivatives are right for singular matrices too."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.ops.arithmetic import multiply, sign, where
from graphnn.ops.broadcasting import sum
from graphnn.ops.contract import Arg, Sample, operation
from graphnn.ops.control import project
from graphnn.ops.creation import iota
from graphnn.ops.cumulative import cumprod, shift
from graphnn.ops.diagonals import diagonal, triu
from graphnn.ops.logic import greater
from graphnn.ops.matrices import (
    SQUARE_REJECTS,
    SQUARE_SAMPLES,
    is_diagonal,
    matrix_transpose,
    square_matrices,
)
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.products import matmul
from graphnn.ops.solving import INV
from graphnn.ops.spectral import SVD

__all__ = ["det", "slogdet"]


class DetOp(Op):
    """The determinant, by an LU decomposition."""

    name = "det"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TensorSpec:
        return TensorSpec(a.shape[:-2], a.dtype)

    def evaluate(self, a: Array) -> Array:
        return np.asarray(np.linalg.det(a))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """Jacobi's formula, with cofactors in place of the inverse that may not exist."""
        (a,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return None
        return sum(multiply(make_node(COFACTOR, (a,)), tangent), (-2, -1))


class CofactorOp(Op):
    """The matrix of cofactors, ``det(a) * inv(a)'``: the derivative of the determinant.

    From the singular values, as products without a division. Its own rule is the second
    derivative of a determinant of singular values, turned into their basis; so first and second
    derivatives are right for matrices of any rank, and with equal singular values.
    """

    name = "cofactor"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TensorSpec:
        return a

    def expand(self, a: Node) -> Node:
        u, s, vh = _singular(a)
        before, behind = _products_around(s)
        return _orientation(u, vh) * matmul(u * expand_dims(before * behind, -2), vh)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """``det`` of the others for two elements, less the exchange of rows and columns."""
        (a,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return None
        u, s, vh = _singular(a)
        change = matmul(matmul(matrix_transpose(u), tangent), matrix_transpose(vh))
        others = _products_without_two(s)
        on_diagonal = matmul(others, expand_dims(diagonal(change, 0, -2, -1), -1))
        beside = multiply(others, matrix_transpose(change))
        inner = where(is_diagonal(a), on_diagonal, -beside)
        return _orientation(u, vh) * matmul(matmul(u, inner), vh)


class SlogdetOp(Op):
    """The sign of the determinant and the logarithm of its absolute value."""

    name = "slogdet"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TupleSpec:
        spec = TensorSpec(a.shape[:-2], a.dtype)
        return TupleSpec((spec, spec))

    def evaluate(self, a: Array) -> tuple[Array, ...]:
        return tuple(np.asarray(each) for each in np.linalg.slogdet(a))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        (a,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return [None, None]
        inverse = make_node(INV, (a,))
        return [None, sum(multiply(matrix_transpose(inverse), tangent), (-2, -1))]


DET, COFACTOR, SLOGDET = DetOp(), CofactorOp(), SlogdetOp()
for _op in (DET, COFACTOR, SLOGDET):
    register(_op)


def _singular(a: Node) -> tuple[Node, ...]:
    node = make_node(SVD, (a,), {"full_matrices": False})
    return tuple(project(node, index) for index in range(3))


def _orientation(u: Node, vh: Node) -> Node:
    """The determinant of ``u @ vh``, which is 1 or -1: a factor of every matrix."""
    turned = sign(make_node(DET, (matmul(u, vh),)))
    return expand_dims(turned, (-2, -1))


def _products_around(s: Node) -> tuple[Node, Node]:
    """For every element, the product of those before it and of those behind it."""
    return (
        shift(cumprod(s, -1), 1, -1, fill=1.0),
        shift(cumprod(s, -1, reverse=True), -1, -1, fill=1.0),
    )


def _products_without_two(s: Node) -> Node:
    """For every pair of different elements, the product of all others; 0 on the diagonal."""
    before, behind = _products_around(s)
    size = s.shape[-1]
    is_later = greater(iota((size, size), 1), iota((size, size), 0))
    from_next = cumprod(where(is_later, expand_dims(s, -2), 1.0), -1)
    between = shift(from_next, 1, -1, fill=1.0)
    above = triu(expand_dims(before, -1) * between * expand_dims(behind, -2), 1)
    return above + matrix_transpose(above)


# ------------------------------------------------------------------------------- what users call


def _det(a: Any) -> Any:
    """Leibniz's sum over all permutations."""
    a = np.asarray(a, np.float64)
    size = a.shape[-1]
    total = np.zeros(a.shape[:-2])
    for order in permutations(range(size)):
        swaps = builtins.sum(order[i] > order[j] for j in range(size) for i in range(j))
        total += (-1.0) ** swaps * np.prod(a[..., range(size), list(order)], -1)
    return total


def _slogdet(a: Any) -> Any:
    value = _det(a)
    return np.sign(value), np.log(np.abs(value))


@operation(
    reference=_det,
    samples=[
        *SQUARE_SAMPLES,
        Sample(Arg((3, 3))),
        Sample(Arg((2, 2), values=(1.0, 2.0, 2.0, 4.0))),
        Sample(Arg((4, 4), values=(*range(1, 9), *range(8)))),
        Sample(Arg((3, 3), values=(0.0,) * 9)),
        Sample(Arg((3, 3), values=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))),
    ],
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner="first and second derivatives are right for singular matrices too; beyond, singular "
    "values must be distinct",
)
def det(a: Any) -> Node:
    """The determinant of matrices.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers become float32; half floats are computed in float32.

    Returns
    -------
    Node
        Of shape ``(...)``. It overflows soon for large ``n``: see :func:`slogdet`.

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    The derivative is the matrix of cofactors (Jacobi's formula), ``det(a) inv(a)'`` where that
    exists. It is computed by singular values, and costs several times as much as a determinant.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.det([[2.0, 1.0], [1.0, 3.0]]))
    array(5., dtype=float32)
    """
    a = square_matrices("det", a)
    return cast_to(make_node(DET, (widened(a),)), a.dtype)


@operation(
    reference=_slogdet,
    samples=[*SQUARE_SAMPLES, Sample(Arg((3, 3))), Sample(Arg((2, 2), kind="int", high=1, low=1))],
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner="(0, -inf) for a singular matrix, with derivative NaN",
)
def slogdet(a: Any) -> tuple[Node, Node]:
    """``sign(det(a)), log(abs(det(a)))``, without overflow.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers become float32; half floats are computed in float32.

    Returns
    -------
    sign : Node
        1, -1 or 0, of shape ``(...)``.
    logabsdet : Node
        Of shape ``(...)``.

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    The derivative of the logarithm is ``inv(a)'``; that of the sign is 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> sign, logabsdet = gn.slogdet([[0.0, 1.0], [1.0, 0.0]])
    >>> gn.evaluate(sign), gn.evaluate(logabsdet)
    (array(-1., dtype=float32), array(0., dtype=float32))
    """
    a = square_matrices("slogdet", a)
    node = make_node(SLOGDET, (widened(a),))
    return cast_to(project(node, 0), a.dtype), cast_to(project(node, 1), a.dtype)
