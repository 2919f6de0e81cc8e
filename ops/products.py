"""The products of vectors, matrices and arrays, by their familiar names."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import broadcast_shapes, shape_text
from graphnn.ops.arithmetic import multiply
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.contraction import (
    axis_labels,
    axis_pairs,
    check_sizes,
    dot_of,
    labelled_product,
    numbers,
)
from graphnn.ops.movement import permute, ravel

__all__ = ["dot", "inner", "matmul", "outer", "tensordot"]


def _check_inner(what: str, a: Node, b: Node, sign: str) -> None:
    """Both have axes, and the last of ``a`` fits the last but one (or only one) of ``b``."""
    for operand in (a, b):
        if operand.ndim == 0:
            raise ShapeError(
                f"{what}: a 0-d operand: {shape_text(a.shape)} {sign} {shape_text(b.shape)}",
                hint="multiply by a scalar with *",
            )
    left, right = a.shape[-1], b.shape[-2:][0]
    if left != right:
        raise ShapeError(
            f"{what}: inner dimensions differ: {shape_text(a.shape)} {sign} "
            f"{shape_text(b.shape)}, {left} != {right}",
            hint="the last axis of the left operand is summed with the last but one of the right; "
            "transpose one of them with gn.transpose or .T",
        )


@operation(
    reference=np.matmul,
    samples=[
        Sample(Arg((2, 3)), Arg((3, 4))),
        Sample(Arg((3,)), Arg((3,))),
        Sample(Arg((3,)), Arg((3, 4))),
        Sample(Arg((2, 3)), Arg((3,))),
        Sample(Arg((2, 5, 3)), Arg((2, 3, 4))),
        Sample(Arg((2, 5, 3)), Arg((3, 4))),
        Sample(Arg((5, 3)), Arg((2, 3, 4))),
        Sample(Arg((2, 1, 5, 3)), Arg((3, 3, 4))),
        Sample(Arg((2, 1, 2, 3)), Arg((1, 2, 3, 2))),
        Sample(Arg((2, 5, 3)), Arg((3,))),
        Sample(Arg((3,)), Arg((2, 3, 4))),
        Sample(Arg((2, 0)), Arg((0, 3))),
        Sample(Arg((0, 2)), Arg((2, 3))),
    ],
    rejects=[
        Reject(
            ShapeError,
            "matmul: inner dimensions differ: (4, 5) @ (6, 7), 5 != 6",
            Arg((4, 5)),
            Arg((6, 7)),
        ),
        Reject(ShapeError, "0-d", Arg(), Arg((3,))),
        Reject(ShapeError, "do not broadcast: 2 != 5", Arg((2, 3, 4)), Arg((5, 4, 3))),
        Reject(
            DTypeError, "bool is not supported", Arg((2, 2), kind="bool"), Arg((2, 2), kind="bool")
        ),
    ],
    dtypes="ifc",
)
def matmul(a: Any, b: Any) -> Node:
    """Matrix product, ``a @ b``.

    Parameters
    ----------
    a, b : array_like or Node
        1-D operands are a row on the left and a column on the right. Of more than two axes the
        last two are matrices, the others are broadcast. Integers are multiplied as integers;
        half floats are summed in float32.

    Returns
    -------
    Node
        ``(..., n, k) @ (..., k, m)`` is ``(..., n, m)``.

    Raises
    ------
    ShapeError
        If the inner dimensions differ, the others do not broadcast, or an operand is 0-d.
    DTypeError
        If both are bool, or they are different floats.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, w = gn.input("x", shape=("batch", 64)), gn.input("w", shape=(64, 32))
    >>> x @ w
    <Node matmul (batch, 32) float32>
    """
    a, b = numbers("matmul", a, b)
    _check_inner("matmul", a, b, "@")
    what = f"matmul: {shape_text(a.shape)} @ {shape_text(b.shape)}, leading axes"
    lead = axis_labels(len(broadcast_shapes(what, a.shape[:-2], b.shape[:-2])))
    row, column = "n" if a.ndim > 1 else "", "m" if b.ndim > 1 else ""
    labels_a = lead[len(lead) - len(a.shape[:-2]) :] + row + "k"
    labels_b = lead[len(lead) - len(b.shape[:-2]) :] + "k" + column
    wanted = lead + row + column
    result, labels = labelled_product(a, labels_a, b, labels_b, wanted)
    return permute(result, tuple(map(labels.index, wanted)))


@operation(
    reference=np.dot,
    samples=[
        Sample(Arg((3,)), Arg((3,))),
        Sample(Arg((2, 3)), Arg((3, 4))),
        Sample(Arg((2, 3)), Arg((3,))),
        Sample(Arg((2, 5, 3)), Arg((2, 3, 4))),
        Sample(Arg(), Arg((2, 3))),
    ],
    rejects=[
        Reject(
            ShapeError,
            "dot: inner dimensions differ: (4, 5) . (6,), 5 != 6",
            Arg((4, 5)),
            Arg((6,)),
        ),
    ],
    dtypes="ifc",
)
def dot(a: Any, b: Any) -> Node:
    """Inner product of vectors, matrix product of matrices; in general as :func:`numpy.dot`.

    Sums over the last axis of ``a`` and the last but one (or only) axis of ``b``; nothing is
    broadcast. A 0-d operand multiplies.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.dot(gn.input("x", shape=(3,)), gn.input("y", shape=(3,))).shape
    ()
    """
    a, b = numbers("dot", a, b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    _check_inner("dot", a, b, ".")
    return dot_of(a, b, ((a.ndim - 1,), (b.ndim - len(b.shape[-2:]),)))


@operation(
    reference=np.inner,
    samples=[
        Sample(Arg((3,)), Arg((3,))),
        Sample(Arg((2, 3)), Arg((4, 3))),
        Sample(Arg((2, 5, 3)), Arg((3,))),
        Sample(Arg(), Arg((2, 3))),
    ],
    rejects=[Reject(ShapeError, "inner: last sizes differ", Arg((2, 3)), Arg((3, 2)))],
    dtypes="ifc",
)
def inner(a: Any, b: Any) -> Node:
    """Sum of products over the last axis of both. A 0-d operand multiplies."""
    a, b = numbers("inner", a, b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    last = ((a.ndim - 1,), (b.ndim - 1,))
    check_sizes("inner: last", a.tensor, b.tensor, last)
    return dot_of(a, b, last)


@operation(
    reference=np.outer,
    samples=[
        Sample(Arg((3,)), Arg((2,))),
        Sample(Arg((2, 3)), Arg((2,))),
        Sample(Arg(), Arg((2,))),
        Sample(Arg((0,)), Arg((2,))),
    ],
    dtypes="ifc",
)
def outer(a: Any, b: Any) -> Node:
    """Every element of ``a`` (rows) times every element of ``b`` (columns)."""
    a, b = numbers("outer", a, b)
    return dot_of(ravel(a), ravel(b), ((), ()))


@operation(
    reference=np.tensordot,
    samples=[
        Sample(Arg((2, 3, 4)), Arg((3, 4, 2))),
        Sample(Arg((2, 3)), Arg((3, 4)), 1),
        Sample(Arg((2,)), Arg((3,)), 0),
        Sample(Arg((2, 3, 4)), Arg((4, 2, 5)), ((0, 2), (1, 0))),
        Sample(Arg((2, 3)), Arg((4, 3)), (1, -1)),
    ],
    rejects=[
        Reject(ShapeError, "tensordot: contracted sizes differ", Arg((2, 3)), Arg((2, 3)), 1),
        Reject(ShapeError, "3 axes of (2, 3)", Arg((2, 3)), Arg((2, 3)), 3),
        Reject(ShapeError, "a number of axes or a pair", Arg((2, 3)), Arg((2, 3)), (1, 2, 3)),
        Reject(ShapeError, "twice", Arg((2, 2)), Arg((2, 2)), ((0, 0), (0, 1))),
    ],
    dtypes="ifc",
)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Node:
    """Sum of products over several axes.

    Parameters
    ----------
    a, b : array_like or Node
    axes : int or (axes of a, axes of b), default 2
        An integer ``n``: the last ``n`` axes of ``a`` and the first ``n`` of ``b``, in order.

    Returns
    -------
    Node
        The other axes of ``a``, then the other axes of ``b``.

    Raises
    ------
    ShapeError
        If sizes of paired axes differ, or there are not that many axes.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, w = gn.input("x", shape=(2, 3, 4)), gn.input("w", shape=(3, 4, 5))
    >>> gn.tensordot(x, w).shape
    (2, 5)
    """
    a, b = numbers("tensordot", a, b)
    if isinstance(axes, int) and not isinstance(axes, bool):
        for operand in (a, b):
            if not 0 <= axes <= operand.ndim:
                raise ShapeError(f"tensordot: {axes} axes of {shape_text(operand.shape)}")
        given: Any = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    elif isinstance(axes, tuple | list) and len(axes) == 2:
        given = axes
    else:
        raise ShapeError(f"tensordot: axes must be a number of axes or a pair, not {axes!r}")
    pairs = axis_pairs("tensordot", "contracted", given, a, b)
    check_sizes("tensordot: contracted", a.tensor, b.tensor, pairs)
    return dot_of(a, b, pairs)
