"""Functions of whole matrices: powers, the exponential, the Kronecker product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.axes import whole_number
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.constants import zeros_like
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.contraction import dot_of, numbers
from graphnn.ops.creation import eye
from graphnn.ops.joining import concatenate, slice_axis
from graphnn.ops.matrices import (
    SQUARE_REJECTS,
    matrices,
    matrix_transpose,
    regular,
    require_square,
    square_matrices,
)
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_real, cast_to, require_floating, widened
from graphnn.ops.products import matmul
from graphnn.ops.solving import INV

__all__ = ["expm", "kron", "matrix_power"]


class ExpmOp(Op):
    """The exponential of every matrix, by scaling and squaring."""

    name = "expm"
    axis_attrs = ()

    def infer(self, a: TensorSpec) -> TensorSpec:
        return a

    def evaluate(self, a: Array) -> Array:
        from scipy.linalg import expm

        return np.asarray(expm(a))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (a,), (tangent,) = node.inputs, tangents
        return None if tangent is None else _directional(a, tangent)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        (a,) = node.inputs
        return [_directional(matrix_transpose(a), cotangent)]


EXPM = ExpmOp()
register(EXPM)


def _directional(a: Node, direction: Node) -> Node:
    """The derivative of ``expm(a)`` in a direction, a block of a larger exponential.

    ``expm([[a, e], [0, a]])`` is ``[[expm(a), d], [0, expm(a)]]`` with the derivative ``d`` in
    direction ``e`` (Mathias, "A chain rule for matrix functions and applications", 1996).
    """
    size = a.shape[-1]
    above = concatenate([a, direction], -1)
    below = concatenate([zeros_like(a), a], -1)
    both = make_node(EXPM, (concatenate([above, below], -2),))
    first_rows = slice_axis(both, a.ndim - 2, 0, size)
    return slice_axis(first_rows, a.ndim - 1, size, size)


# ------------------------------------------------------------------------------- what users call


def _expm(a: Any) -> Any:
    """The power series of an eighth of the matrix, squared three times."""
    a = np.asarray(a, np.float64) / 8.0
    total = term = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    for n in range(1, 30):
        term = term @ a / n
        total = total + term
    for _ in range(3):
        total = total @ total
    return total


@operation(
    reference=_expm,
    samples=[
        Sample(Arg((3, 3))),
        Sample(Arg((2, 2, 2, 2), -1.0, 1.0)),
        Sample(Arg((2, 2), values=(0.0, 1.0, 0.0, 0.0))),
        Sample(Arg((3, 3), values=(0.0,) * 9)),
        Sample(Arg((1, 1))),
        Sample(Arg((0, 0))),
        Sample(Arg((0, 2, 2))),
    ],
    rejects=SQUARE_REJECTS,
    dtypes="if",
    corner="NaN for a matrix with NaN or inf",
)
def expm(a: Any) -> Node:
    """The matrix exponential, ``I + a + a @ a / 2 + a @ a @ a / 6 + ...``.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers become float32; half floats are computed in float32.

    Returns
    -------
    Node
        Of the shape of ``a``. (:func:`exp` is the exponential of every element.)

    Raises
    ------
    ShapeError
        If the matrices are not square.

    Notes
    -----
    By scaling and squaring (Al-Mohy and Higham, "A new scaling and squaring algorithm for the
    matrix exponential", 2009). A derivative is a block of the exponential of a matrix of twice
    the size, so it is as accurate as the value, to any order.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.expm([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    a = square_matrices("expm", a)
    return cast_to(make_node(EXPM, (widened(a),)), a.dtype)


def _matrix_power(a: Any, n: int) -> Any:
    return np.linalg.matrix_power(np.asarray(a, np.float64) if n < 0 else a, n)


@operation(
    reference=_matrix_power,
    samples=[
        Sample(Arg((3, 3)), 0),
        Sample(Arg((3, 3)), 1),
        Sample(Arg((2, 3, 3), -1.0, 1.0), 2),
        Sample(Arg((2, 2)), 3),
        Sample(Arg((2, 2), -1.0, 1.0), 7),
        Sample(Arg((2, 2), -1.0, 1.0), np.int64(8)),
        Sample(regular(3, 3), -1),
        Sample(regular(2, 2, 2), -3),
        Sample(Arg((0, 0)), 2),
        Sample(Arg((0, 2, 2)), -2),
    ],
    rejects=[
        Reject(ShapeError, "must be square", Arg((2, 3)), 2),
        Reject(ShapeError, "the exponent must be an integer, not 0.5", Arg((2, 2)), 0.5),
    ],
    dtypes="if",
    corner="NaN for a negative power of a singular matrix; the power 0 is the identity, always",
)
def matrix_power(a: Any, n: int) -> Node:
    """``a @ a @ ... @ a``, with ``n`` factors, or of the inverse if ``n`` is negative.

    Parameters
    ----------
    a : array_like or Node
        Of shape ``(..., n, n)``. Integers stay integers unless the exponent is negative; half
        floats are computed in float32.
    n : int
        Takes about ``2 * log2(abs(n))`` products.

    Returns
    -------
    Node
        Of the shape of ``a``.

    Raises
    ------
    ShapeError
        If the matrices are not square, or the exponent is not an integer.

    Examples
    --------
    Fibonacci's numbers:

    >>> import graphnn as gn
    >>> gn.evaluate(gn.matrix_power([[1.0, 1.0], [1.0, 0.0]], 10))
    array([[89., 55.],
           [55., 34.]], dtype=float32)
    """
    exponent = whole_number("matrix_power", "the exponent", n)
    (given,) = numbers("matrix_power", matrices("matrix_power", as_real("matrix_power", a)))
    require_square("matrix_power", given)
    if exponent < 0:
        given = require_floating("matrix_power", given)
        base = make_node(INV, (widened(given),))
    else:
        base = widened(given)
    return cast_to(_power(base, abs(exponent)), given.dtype)


def _power(base: Node, exponent: int) -> Node:
    """A power that is not negative, by squaring."""
    if exponent == 0:
        return broadcast_to(eye(base.shape[-1], dtype=base.dtype), base.shape)
    result: Node | None = None
    while True:
        if exponent % 2:
            result = base if result is None else matmul(result, base)
        exponent //= 2
        if not exponent:
            assert result is not None
            return result
        base = matmul(base, base)


@operation(
    reference=np.kron,
    samples=[
        Sample(Arg((2, 3)), Arg((4, 2))),
        Sample(Arg((3,)), Arg((2,))),
        Sample(Arg((2, 2, 3)), Arg((3, 2))),
        Sample(Arg((2,)), Arg((3, 2))),
        Sample(Arg(), Arg((2, 3))),
        Sample(Arg(), Arg()),
        Sample(Arg((0, 2)), Arg((2, 3))),
    ],
    rejects=[
        Reject(DTypeError, "bool is not supported", Arg((2,), kind="bool"), Arg((2,), kind="bool")),
    ],
    dtypes="ifc",
)
def kron(a: Any, b: Any) -> Node:
    """Kronecker product: every element of ``a`` times all of ``b``, as blocks.

    Parameters
    ----------
    a, b : array_like or Node
        Of any number of axes, as in :func:`numpy.kron`; the one with fewer gets axes of size 1
        in front. Integers are multiplied as integers.

    Returns
    -------
    Node
        The size of every axis is the product of the sizes.

    Raises
    ------
    DTypeError
        If both are bool, or they are different floats.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.kron([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]))
    array([[1., 0., 2., 0.],
           [0., 1., 0., 2.]], dtype=float32)
    """
    a, b = numbers("kron", a, b)
    ndim = max(a.ndim, b.ndim)
    a, b = (to_shape(each, (1,) * (ndim - each.ndim) + each.shape) for each in (a, b))
    products = dot_of(a, b, ((), ()))
    pairs = [axis for each in range(ndim) for axis in (each, ndim + each)]
    sizes = tuple(m * n for m, n in zip(a.shape, b.shape, strict=True))
    return to_shape(permute(products, pairs), sizes)
