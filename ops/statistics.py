"""Means, variances and standard deviations over axes, also axes of named size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Size, as_size, product
from graphnn.core.dtypes import FLOAT32, DType, DTypeLike, as_dtype
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import divide, multiply, power, square, subtract, where
from graphnn.ops.axes import normalize_axes, whole_number
from graphnn.ops.broadcasting import SUM, sum, with_kept_axes
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.elementwise import Partial, elementwise
from graphnn.ops.exponential import sqrt
from graphnn.ops.logic import equal
from graphnn.ops.operands import as_node, cast_to, require_floating, require_inexact, widened
from graphnn.ops.reduction import REDUCTION_REJECTS, reduction_samples
from graphnn.ops.weighted import WeightedReduction

__all__ = ["mean", "safe_sqrt", "size_of", "std", "var"]


class SizeOfOp(Op):
    """A size as a value; a number once the program is specialised."""

    name = "size_of"

    def infer(self, *, size: Size, dtype: DType) -> TensorSpec:
        return TensorSpec((), dtype)

    def evaluate(self, *, size: int, dtype: DType) -> Array:
        return np.asarray(size, dtype)


class VarOp(WeightedReduction):
    """Mean square distance from the mean.

    It has rules of its own because its expansion's would sum the deviations, which is 0.
    """

    name = "var"

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...], ddof: int) -> TensorSpec:
        return SUM.infer(x, axes=axes)

    def expand(self, x: Node, *, axes: tuple[int, ...], ddof: int) -> Node:
        total = sum(square(_deviations(x, axes)), axes)
        return cast_to(divide(total, _freedom(x, axes, ddof)), x.dtype)

    def weights(self, node: Node) -> Node:
        """Twice the deviations, over the degrees of freedom."""
        (x,), axes = node.inputs, node.attrs["axes"]
        freedom = _freedom(x, axes, node.attrs["ddof"])
        return multiply(_deviations(x, axes), divide(2.0, freedom))


SIZE_OF, VAR = SizeOfOp(), VarOp()
register(SIZE_OF)
register(VAR)


def _deviations(x: Node, axes: tuple[int, ...]) -> Node:
    """Distances from the mean."""
    wide = widened(x)
    return subtract(wide, mean(wide, axes, keepdims=True))


def _freedom(x: Node, axes: tuple[int, ...], ddof: int) -> Node:
    """The number of elements, less ``ddof``, as a value; 0 if there are not that many."""
    count = product(x.shape[axis] for axis in axes) - ddof
    return size_of(0 if isinstance(count, int) and count < 0 else count, widened(x).dtype)


@operation(
    reference=lambda size, dtype: np.asarray(size, as_dtype(dtype)),
    samples=[Sample(3, "float64")],
    rejects=[Reject(ShapeError, "is not a size", 2.5, "float64")],
    differentiable=False,
)
def size_of(size: Any, dtype: DTypeLike = FLOAT32) -> Node:
    """A size as a 0-d value, to compute with.

    Parameters
    ----------
    size : int, str or Dim
        ``x.shape[0]``, or the name of a dimension.
    dtype : optional

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3))
    >>> mean = gn.sum(x, axis=0) / gn.size_of(x.shape[0])
    """
    known, kind = as_size(size), as_dtype(dtype)
    if isinstance(known, int):
        return constant(known, kind)
    return make_node(SIZE_OF, (), {"size": known, "dtype": kind})


@operation(
    reference=np.mean,
    samples=reduction_samples(empty=False),
    rejects=REDUCTION_REJECTS,
    dtypes="bifc",
    corner="the mean of nothing is NaN",
)
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Mean over axes.

    Parameters
    ----------
    x : array_like or Node
        Integers and booleans become float32; half floats are summed in float32.
    axis : int or tuple of int, optional
        Default: all. Axes may have named sizes.
    keepdims : bool, default False
        Keep the reduced axes with size one.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.mean(gn.input("x", shape=("batch", 4)), axis=0)
    <Node divide (4,) float32>
    """
    given = require_inexact(as_node(x))
    axes = normalize_axes("mean", axis, given.ndim)
    if not axes:
        return given
    wide = widened(given)
    count = size_of(product(given.shape[each] for each in axes), wide.dtype)
    return cast_to(divide(sum(wide, axes, keepdims), count), given.dtype)


_DDOF_SAMPLES = [*reduction_samples(empty=False), Sample(Arg((3, 4)), -1, ddof=1)]
_DDOF_REJECTS = [
    *REDUCTION_REJECTS,
    Reject(ShapeError, "ddof must be an integer", Arg((3,)), ddof=0.5),
]


@operation(
    reference=np.var,
    samples=_DDOF_SAMPLES,
    rejects=_DDOF_REJECTS,
    dtypes="bif",
    corner="NaN or inf where there are not more than ddof elements",
)
def var(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Node:
    """Variance over axes: the mean square distance from the mean.

    Parameters
    ----------
    x : array_like or Node
        Integers and booleans become float32; half floats are summed in float32.
    axis : int or tuple of int, optional
        Default: all.
    keepdims : bool, default False
        Keep the reduced axes with size one.
    ddof : int, default 0
        The sum of squares is divided by the number of elements less ``ddof``: 0 as in NumPy
        and JAX, 1 (unbiased) as PyTorch does by default.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.var(gn.input("x", shape=("batch", 4)), axis=0)
    <Node var (4,) float32>
    """
    x = require_floating("var", as_node(x))
    return _variance("var", x, axis, keepdims, ddof)


def _variance(what: str, x: Node, axis: Any, keepdims: bool, ddof: Any) -> Node:
    axes, less = normalize_axes(what, axis, x.ndim), whole_number(what, "ddof", ddof)
    variance = make_node(VAR, (x,), {"axes": axes, "ddof": less})
    return with_kept_axes(variance, x.shape, axes, keepdims)


@elementwise(
    reference=np.sqrt,
    domain=(0.1, 3.0),
    special=(0.0, -0.0, 1.0, -1.0, np.inf, np.nan),
    corner="derivative 0 at 0, as in PyTorch's std and norm",
)
def safe_sqrt(x: Node) -> Node:
    """Square root whose derivative at 0 is 0 and not inf: for sums of squares."""
    return sqrt(x)


@safe_sqrt.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (safe_divide(0.5, result),)


def safe_divide(x: Node | float, y: Node) -> Node:
    """The quotient, 0 where ``y`` is 0; its derivatives are 0 there too, to any order."""
    is_zero = equal(y, 0.0)
    # Two choices: a quotient by 0 in the branch not taken would spoil the derivatives.
    return where(is_zero, 0.0, divide(x, where(is_zero, 1.0, y)))


def safe_power(base: Node, exponent: float) -> Node:
    """A positive power of a number that is not negative; its derivative at 0 is 0, to any order."""
    is_zero = equal(base, 0.0)
    return where(is_zero, 0.0, power(where(is_zero, 1.0, base), exponent))


@operation(
    reference=np.std,
    samples=_DDOF_SAMPLES,
    rejects=_DDOF_REJECTS,
    dtypes="bif",
    corner="derivative 0 where all elements are equal, as in PyTorch",
)
def std(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Node:
    """Standard deviation over axes, the square root of :func:`var`.

    Parameters
    ----------
    x : array_like or Node
        Integers and booleans become float32; half floats are computed in float32.
    axis : int or tuple of int, optional
        Default: all.
    keepdims : bool, default False
        Keep the reduced axes with size one.
    ddof : int, default 0
        See :func:`var`.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.std(gn.input("x", shape=("batch", 4)), axis=0).shape
    (4,)
    """
    x = require_floating("std", as_node(x))
    variance = _variance("std", widened(x), axis, keepdims, ddof)
    return cast_to(safe_sqrt(variance), x.dtype)
