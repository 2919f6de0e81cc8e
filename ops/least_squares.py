"""Systems that are not square: the pseudo-inverse, and the least-squares solution.

Both rest on the singular value decomposition, but are not differentiated through it: equal
singular values do no harm here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import add, negative, subtract
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.matrices import each_or_nan, float_matrices, matrix_transpose, regular
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.products import matmul
from graphnn.ops.solving import SOLVER_REJECTS, SolverOp, solution

__all__ = ["lstsq", "pinv"]


class PinvOp(Op):
    """The pseudo-inverse of matrices with at least as many rows as columns.

    (Of others it is right as well, but its derivative takes detours over large products.)
    """

    name = "pinv"
    axis_attrs = ()

    def infer(self, a: TensorSpec, *, rtol: float | None) -> TensorSpec:
        *batch, rows, columns = a.shape
        return TensorSpec((*batch, columns, rows), a.dtype)

    def evaluate(self, a: Array, *, rtol: float | None) -> Array:
        result: Array = each_or_nan(partial(_pseudo_inverse, rtol=rtol), a)
        return result

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """Golub and Pereyra (1973), theorem 4.3, for tangents that keep the rank."""
        (a,), (tangent,) = node.inputs, tangents
        if tangent is None:
            return None
        along, back = matrix_transpose(node), matrix_transpose(tangent)
        # The products are taken in an order in which none has rows x rows elements.
        inverse = negative(matmul(matmul(node, tangent), node))
        left = matmul(matmul(node, along), back)
        of_columns = subtract(left, matmul(matmul(left, a), node))
        right = matmul(matmul(back, along), node)
        of_rows = subtract(right, matmul(node, matmul(a, right)))
        return add(inverse, add(of_columns, of_rows))


class LstsqOp(SolverOp):
    """``pinv(a) @ b`` without the rounding of the pseudo-inverse; differentiated as that."""

    name = "lstsq"

    def evaluate(self, a: Array, b: Array, *, rtol: float | None) -> Array:
        result: Array = each_or_nan(partial(_least_squares, rtol=rtol), a, b)
        return result

    def expand(self, a: Node, b: Node, *, rtol: float | None) -> Node:
        return matmul(_pinv(a, rtol), b)


PINV, LSTSQ = PinvOp(), LstsqOp()
register(PINV)
register(LSTSQ)


def _pseudo_inverse(a: Array, rtol: float | None) -> Array:
    u, inverses, vh = _inverted(a, rtol)
    result: Array = vh.mT @ (inverses[..., None] * u.mT)
    return result


def _least_squares(a: Array, b: Array, rtol: float | None) -> Array:
    """The shortest of the best solutions."""
    u, inverses, vh = _inverted(a, rtol)
    result: Array = vh.mT @ (inverses[..., None] * (u.mT @ b))
    return result


def _inverted(a: Array, rtol: float | None) -> tuple[Array, Array, Array]:
    """The singular value decomposition, with the inverses of the values, or 0 for small ones."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    if rtol is None:
        rtol = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)
    is_small = s <= rtol * s[..., :1]  # so that NaN, of an infinite matrix, is not
    inverses = np.where(is_small, 0.0, 1.0 / np.where(is_small, 1.0, s)).astype(s.dtype)
    return u, inverses, vh


def _pinv(a: Node, rtol: float | None) -> Node:
    """The pseudo-inverse, of the transposed matrix where that has more rows."""
    rows, columns = a.shape[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and rows < columns:
        return matrix_transpose(make_node(PINV, (matrix_transpose(a),), {"rtol": rtol}))
    return make_node(PINV, (a,), {"rtol": rtol})


# ------------------------------------------------------------------------------- what users call


def _pinv_reference(a: Any, rtol: float | None = None) -> Any:
    """By the eigenvectors of ``a' a``."""
    a = np.asarray(a, np.float64)
    size = max(a.shape[-2:])
    values, vectors = np.linalg.eigh(a.mT @ a)
    largest = values[..., -1:] if values.shape[-1] else np.ones((*values.shape[:-1], 1))
    cutoff = size * 1e-8 if rtol is None else rtol
    counts = values > cutoff**2 * largest
    inverses = np.where(counts, 1.0 / np.where(counts, values, 1.0), 0.0)
    return vectors * inverses[..., None, :] @ vectors.mT @ a.mT


def _lstsq_reference(a: Any, b: Any, rtol: float | None = None) -> Any:
    x = _pinv_reference(a, rtol) @ (b[:, None] if np.ndim(b) == 1 else b)
    return x[..., 0] if np.ndim(b) == 1 else x


def _tolerance(what: str, rtol: Any) -> dict[str, float | None]:
    """The attribute of both operators; None is left to the kernel, which knows all sizes."""
    is_number = isinstance(rtol, int | float | np.number) and not isinstance(rtol, bool)
    if rtol is not None and not (is_number and 0 <= rtol < 1):
        raise ArgumentError(
            f"{what}: rtol must be a number in [0, 1), not {rtol!r}",
            hint="singular values below rtol times the largest count as 0",
        )
    return {"rtol": None if rtol is None else float(rtol)}


# Integers, which have no derivative: the rank does not stay as it is in all directions.
_OF_RANK_1 = Arg((3, 2), values=(1, 2, 2, 4, -1, -2), kind="int")
_ALMOST_OF_RANK_1 = Arg((3, 2), values=(5, 0, 0, 1, 0, 0), kind="int")


@operation(
    reference=_pinv_reference,
    samples=[
        Sample(regular(4, 2)),
        Sample(regular(2, 4)),
        Sample(regular(2, 3, 3)),
        Sample(regular(2, 1, 3, 2), rtol=1e-3),
        Sample(_OF_RANK_1),
        Sample(_ALMOST_OF_RANK_1, rtol=0.25),
        Sample(Arg((1, 3), low=0.5)),
        Sample(Arg((2, 3, 0))),
        Sample(Arg((0, 2, 3))),
    ],
    rejects=[
        Reject(ShapeError, "at least two axes", Arg((3,))),
        Reject(ArgumentError, "rtol must be a number in [0, 1), not -0.5", Arg((3, 2)), rtol=-0.5),
    ],
    dtypes="if",
    corner="singular values below rtol times the largest count as 0; the derivative takes the "
    "rank as constant; NaN for a matrix with NaN or inf",
)
def pinv(a: Any, *, rtol: float | None = None) -> Node:
    """The pseudo-inverse of matrices (Moore, Penrose), by singular values.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., m, n)``. Integers become float32; half floats are computed in float32.
    rtol : float, optional
        Singular values not above ``rtol`` times the largest count as 0. Default: ``max(m, n)``
        units in the last place.

    Returns
    -------
    Node
        Of shape ``(..., n, m)``.

    Raises
    ------
    ShapeError
        If there are fewer than two axes.
    ArgumentError
        If ``rtol`` is not in [0, 1).

    Notes
    -----
    The derivative is that of Golub and Pereyra, "The differentiation of pseudo-inverses and
    nonlinear least squares problems whose variables separate" (1973). It is right as long as the
    rank does not change, and does not mind equal singular values.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.pinv([[2.0, 0.0], [0.0, 0.0]]))
    array([[0.5, 0. ],
           [0. , 0. ]], dtype=float32)
    """
    attrs = _tolerance("pinv", rtol)
    a = float_matrices("pinv", a)
    return cast_to(_pinv(widened(a), attrs["rtol"]), a.dtype)


@operation(
    reference=_lstsq_reference,
    samples=[
        Sample(regular(5, 2), Arg((5,))),
        Sample(regular(2, 4), Arg((2, 3))),
        Sample(regular(3, 3), Arg((2, 3, 2))),
        Sample(regular(2, 4, 2), Arg((4, 1))),
        Sample(_OF_RANK_1, Arg((3,))),
        Sample(_ALMOST_OF_RANK_1, Arg((3,)), rtol=0.25),
        Sample(Arg((3, 0)), Arg((3,))),
        Sample(Arg((0, 3)), Arg((0, 2))),
    ],
    rejects=[
        *SOLVER_REJECTS,
        Reject(ArgumentError, "rtol must be a number", Arg((3, 2)), Arg((3,)), rtol=True),
    ],
    dtypes="if",
    corner="the shortest solution where there are several; the derivative takes the rank as "
    "constant; NaN for a matrix with NaN or inf",
)
def lstsq(a: Any, b: Any, *, rtol: float | None = None) -> Node:
    """``x`` with the least ``norm(b - a @ x)``, and of those the shortest.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., m, n)``, of any rank. Integers become float32; half floats are computed
        in float32.
    b : array_like or Node
        A vector if it is 1-D, otherwise matrices ``(..., m, k)``. Leading axes are broadcast;
        right-hand sides that share a matrix are solved with one decomposition.
    rtol : float, optional
        As in :func:`pinv`.

    Returns
    -------
    Node
        The solution alone, of shape ``(..., n)`` for a vector, else ``(..., n, k)``. The
        residuals are ``b - a @ x``.

    Raises
    ------
    ShapeError
        If the right-hand side does not fit the matrix.
    ArgumentError
        If ``rtol`` is not in [0, 1).

    Examples
    --------
    A line through three points:

    >>> import graphnn as gn
    >>> gn.evaluate(gn.lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0])).round(4)
    array([1., 2.], dtype=float32)
    """
    attrs = _tolerance("lstsq", rtol)
    return solution(LSTSQ, a, b, **attrs)
