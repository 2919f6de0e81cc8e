"""Norms of vectors and matrices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graphnn.core.dtypes import is_complex, real_dtype
from graphnn.core.errors import DTypeError, ShapeError, UnsupportedOpError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import abs, add, square
from graphnn.ops.axes import listed, normalize_axes, normalize_axis
from graphnn.ops.broadcasting import sum, with_kept_axes
from graphnn.ops.complex_numbers import imag, real
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.logic import not_equal
from graphnn.ops.matrices import regular
from graphnn.ops.movement import permute
from graphnn.ops.operands import as_node, as_real, cast_to, require_inexact, widened
from graphnn.ops.reduction import REDUCTION_REJECTS, max, min
from graphnn.ops.spectral import singular_values
from graphnn.ops.statistics import safe_power, safe_sqrt

__all__ = ["norm"]


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    x = x if np.iscomplexobj(x) else x.astype(np.float64)
    if ord is None:
        return np.sqrt(np.sum(np.abs(x) ** 2, axis=axis, keepdims=keepdims))
    return np.linalg.norm(x, ord, axis, keepdims)


_AWAY_FROM_0 = Arg((2, 3), low=0.3, distinct=True)
_BY_SIZE = ["fro", 1, -1, np.inf, -np.inf]
_BY_SINGULAR_VALUES = ["nuc", 2, -2]


def _real(*shape: int) -> Arg:
    return replace(regular(*shape), kind="real")


@operation(
    reference=_norm,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), axis=-1),
        Sample(Arg((2, 3, 4)), axis=(0, 2), keepdims=True),
        Sample(Arg((2, 3, 4))),
        Sample(_AWAY_FROM_0, 1, axis=0),
        Sample(_AWAY_FROM_0, np.inf, axis=-1),
        Sample(Arg((5,), low=0.3, distinct=True), -np.inf),
        Sample(_AWAY_FROM_0, 3, axis=1),
        Sample(_AWAY_FROM_0, np.float32(0.5), axis=(1,), keepdims=True),
        Sample(Arg((3,), values=(0.0, 2.0, 0.0)), 0),
        Sample(Arg((4,)), 2),
        Sample(Arg((0, 3)), axis=0),
        Sample(Arg(low=0.3)),
        *(Sample(regular(3, 2), ord) for ord in _BY_SIZE),
        *(Sample(regular(2, 3, 4), ord, axis=(2, -2)) for ord in _BY_SIZE),
        *(Sample(_real(3, 2), ord) for ord in _BY_SINGULAR_VALUES),
        *(Sample(_real(2, 3, 4), ord, axis=(2, -2)) for ord in _BY_SINGULAR_VALUES),
        Sample(Arg((2, 2, 3), low=0.3, distinct=True), 1, axis=(0, 1)),
        Sample(_real(2, 3, 2), "nuc", axis=(0, 2), keepdims=True),
        Sample(Arg((0, 3), kind="real"), "nuc"),
        Sample(Arg((0, 3)), 1),
    ],
    rejects=[
        *(
            Reject(reject.error, reject.words, reject.args[0], None, reject.args[1])
            for reject in REDUCTION_REJECTS
        ),
        Reject(UnsupportedOpError, "order -1 of vectors", Arg((3,)), -1),
        Reject(UnsupportedOpError, "order 'fro' of vectors", Arg((3,)), "fro"),
        Reject(UnsupportedOpError, "order 3 of matrices", Arg((3, 4)), 3),
        Reject(UnsupportedOpError, "order 'frob' of matrices", Arg((3, 4)), "frob"),
        Reject(ShapeError, "max of empty", Arg((0,)), np.inf),
        Reject(ShapeError, "max of empty", Arg((0, 3)), 2),
        Reject(ShapeError, "order 2 of (2, 3, 4), along 3 axes", Arg((2, 3, 4)), 2),
        Reject(ShapeError, "an axis is given twice", Arg((3, 4)), "fro", (1, -1)),
        Reject(DTypeError, "by singular values: complex64", np.ones((3, 4), "complex64"), 2),
        Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 1, (0, 2)),
    ],
    dtypes="bifc",
    corner="derivative 0 at zero for order 2 of vectors and fro, as in PyTorch; ties of the "
    "largest or smallest share it equally; nuc, 2, -2 at equal singular values or 0: a subgradient",
)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Node:
    """Length of vectors, ``sum(abs(x)**ord) ** (1/ord)``, or norm of matrices.

    Parameters
    ----------
    x : array_like or Node
        Integers become float32; half floats are computed in float32. Of complex numbers the
        absolute values count, and the norm is real; orders by singular values refuse them.
    ord : float or {"fro", "nuc"}, optional
        Which norm, as in :func:`numpy.linalg.norm`. Default: the square root of the sum of all
        squares. Of vectors: 2 is the Euclidean norm; 1, any positive number, ``inf`` (the largest
        absolute value), ``-inf`` (the smallest) and 0 (how many are not 0). Of matrices: "fro"
        (the default again), "nuc" (the sum of singular values), 2 and -2 (the largest and
        smallest of them), 1 and -1 (the largest and smallest sum of absolute values of a
        column), ``inf`` and ``-inf`` (of a row).
    axis : int or tuple of int, optional
        One axis along which vectors lie, or a pair, the rows and columns of matrices. Default:
        all. Without ``ord`` there may be any number.
    keepdims : bool, default False
        Keep these axes with size one.

    Returns
    -------
    Node

    Raises
    ------
    UnsupportedOpError
        For other orders.
    ShapeError
        If an order is given and neither vectors nor matrices are.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.norm(gn.input("x", shape=("batch", 3)), axis=-1).shape
    (Dim(batch),)
    >>> gn.evaluate(gn.norm([[1.0, -2.0], [3.0, 4.0]], 1))
    array(6., dtype=float32)
    """
    x = require_inexact(as_node(x))
    axes = normalize_axes("norm", axis, x.ndim)
    wide = widened(x)
    if ord is None:
        result = safe_sqrt(sum(_squared_size(wide), axes))
    elif len(axes) == 1:
        result = _of_vectors(wide, ord, axes[0])
    elif len(axes) == 2:
        given = axes if axis is None else listed(axis)
        rows, columns = (normalize_axis("norm", each, x.ndim) for each in given)
        others = [each for each in range(x.ndim) if each not in axes]
        result = _of_matrices(permute(wide, [*others, rows, columns]), ord)
    else:
        raise ShapeError(
            f"norm: order {ord!r} of {shape_text(x.shape)}, along {len(axes)} axes",
            hint="give one axis for vectors or two for matrices, or ravel the array",
        )
    result = cast_to(result, real_dtype(x.dtype))
    return with_kept_axes(result, x.shape, axes, keepdims)


def _unsupported(ord: Any, of: str, hint: str) -> UnsupportedOpError:
    return UnsupportedOpError(f"norm: order {ord!r} of {of} is not supported", hint=hint)


def _of_vectors(x: Node, ord: Any, axis: int) -> Node:
    is_number = isinstance(ord, int | float | np.number) and not isinstance(ord, bool)
    if not is_number or not (ord >= 0 or ord == -np.inf):
        raise _unsupported(ord, "vectors", "0, a positive number, inf or -inf")
    if ord == 2:
        return safe_sqrt(sum(_squared_size(x), axis))
    if ord == 0:
        return sum(cast_to(not_equal(x, 0.0), real_dtype(x.dtype)), axis)
    size = abs(x)
    if ord == 1:
        return sum(size, axis)
    if ord == np.inf:
        return max(size, axis)
    if ord == -np.inf:
        return min(size, axis)
    return safe_power(sum(safe_power(size, float(ord)), axis), 1.0 / float(ord))


def _of_matrices(x: Node, ord: Any) -> Node:
    if isinstance(ord, str):
        if ord == "fro":
            return safe_sqrt(sum(_squared_size(x), (-2, -1)))
        if ord == "nuc":
            return sum(singular_values(as_real("norm by singular values", x)), -1)
    elif ord in (2, -2):
        return _extreme(singular_values(as_real("norm by singular values", x)), ord)
    elif ord in (1, -1):
        return _extreme(sum(abs(x), -2), ord)
    elif ord in (np.inf, -np.inf):
        return _extreme(sum(abs(x), -1), ord)
    raise _unsupported(ord, "matrices", "'fro', 'nuc', 2, -2, 1, -1, inf or -inf")


def _squared_size(x: Node) -> Node:
    """``abs(x)**2``, with a derivative that is smooth at 0."""
    if not is_complex(x.dtype):
        return square(x)
    return add(square(real(x)), square(imag(x)))


def _extreme(x: Node, ord: float) -> Node:
    """The largest along the last axis, or the smallest for a negative order."""
    return max(x, -1) if ord > 0 else min(x, -1)
