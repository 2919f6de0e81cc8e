"""Arithmetic: sums, products, quotients, powers, extremes and choices, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dtypes import DType, DTypeLike, as_dtype, is_complex, is_inexact
from graphnn.core.errors import DTypeError
from graphnn.core.node import Node
from graphnn.core.op import Array, Op, output_size, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.constants import CONSTANT
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.elementwise import Partial, elementwise
from graphnn.ops.linear_tier import to_domain
from graphnn.ops.logic import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
)
from graphnn.ops.operands import as_node, cast_to

__all__ = [
    "abs",
    "add",
    "cast",
    "clip",
    "divide",
    "floor_divide",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "negative",
    "positive",
    "power",
    "reciprocal",
    "sign",
    "square",
    "subtract",
    "where",
]

_PAIRS = ((0.0, 0.0), (1.0, -0.0), (np.inf, 1.0), (np.inf, -np.inf), (np.nan, 1.0))


@elementwise(kernel=np.add, reference=np.add, accepts="bifc", special=_PAIRS, commutative=True)
def add(x: Node, y: Node) -> None:
    """Sum, ``x + y``; for bools, "or"."""


@add.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return 1, 1


@elementwise(kernel=np.subtract, reference=np.subtract, accepts="ifc", special=_PAIRS)
def subtract(x: Node, y: Node) -> None:
    """Difference, ``x - y``."""


@subtract.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return 1, -1


@elementwise(
    kernel=np.multiply, reference=np.multiply, accepts="bifc", special=_PAIRS, commutative=True
)
def multiply(x: Node, y: Node) -> None:
    """Product, ``x * y``; for bools, "and"."""


@multiply.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return y, x


@elementwise(
    kernel=np.divide,
    reference=np.divide,
    accepts="fc",
    domain=((-2.0, 2.0), (0.5, 2.0)),
    special=(*_PAIRS, (1.0, 0.0), (-1.0, 0.0), (1.0, np.inf)),
    corner="x/0 is ±inf, 0/0 is NaN; integers are divided in float32",
)
def divide(x: Node, y: Node) -> None:
    """Quotient, ``x / y``."""


@divide.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return reciprocal(y), -result / y


@elementwise(kernel=np.negative, reference=np.negative, accepts="ifc")
def negative(x: Node) -> None:
    """Negation, ``-x``."""


@negative.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (-1,)


@elementwise(
    kernel=np.where,
    reference=np.where,
    accepts="bifc",
    masks=(0,),
    special=((True, 1.0, np.nan), (False, np.nan, 2.0), (True, np.inf, 0.0)),
    rejects=[Reject(DTypeError, "must be bool", Arg((3,)), Arg((3,)), Arg((3,)))],
    corner="the operand not taken gets derivative exactly 0, even where it is inf or NaN; 0 times "
    "an infinite derivative further back is NaN: make its argument safe first",
)
def where(condition: Node, x: Node, y: Node) -> None:
    """``x`` where the condition holds, else ``y``."""


@where.partials
def _(condition: Node, x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return None, condition, logical_not(condition)


@elementwise(
    kernel=np.absolute,
    reference=np.abs,
    accepts="ifc",
    result="real",
    corner="derivative 0 at 0",
)
def abs(x: Node) -> None:
    """Absolute value; of a complex number it is real."""


@abs.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    if not is_complex(x.dtype):
        return (sign(x),)
    from graphnn.ops.complex_numbers import conj

    return (divide(conj(x), where(equal(result, 0.0), 1.0, result)),)


@elementwise(kernel=np.sign, reference=np.sign, accepts="if", corner="derivative 0 everywhere")
def sign(x: Node) -> None:
    """-1, 0 or 1; NaN stays NaN."""


@elementwise(
    kernel=np.maximum,
    reference=np.maximum,
    accepts="bif",
    special=_PAIRS,
    corner="at a tie each operand gets half of the derivative; NaN wins",
    commutative=True,
)
def maximum(x: Node, y: Node) -> None:
    """The larger of both; NaN if either is."""


@maximum.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return _share(greater(x, y), x, y), _share(less(x, y), x, y)


@elementwise(
    kernel=np.minimum,
    reference=np.minimum,
    accepts="bif",
    special=_PAIRS,
    corner="at a tie each operand gets half of the derivative; NaN wins",
    commutative=True,
)
def minimum(x: Node, y: Node) -> None:
    """The smaller of both; NaN if either is."""


@minimum.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return _share(less(x, y), x, y), _share(greater(x, y), x, y)


def _share(wins: Node, x: Node, y: Node) -> Node:
    """1 where an operand wins, half at a tie, else 0."""
    tie = where(equal(x, y), as_node(0.5, x.dtype), as_node(0.0, x.dtype))
    return where(wins, as_node(1.0, x.dtype), tie)


@elementwise(
    reference=np.clip,
    accepts="if",
    domain=((-2.0, 2.0), (-1.5, -0.5), (0.5, 1.5)),
    special=((5.0, 0.0, 1.0), (-5.0, 0.0, 1.0), (np.nan, 0.0, 1.0), (np.inf, 0.0, 1.0)),
    corner="derivative 1 at the bounds; if low > high the result is high",
)
def clip(x: Node, low: Node, high: Node) -> Node:
    """``x`` moved into ``[low, high]``."""
    return minimum(maximum(x, low), high)


@clip.partials
def _(x: Node, low: Node, high: Node, result: Node) -> Sequence[Partial]:
    inside = logical_and(less_equal(low, x), less_equal(x, high))
    return inside, logical_and(less(x, low), less_equal(low, high)), greater(maximum(x, low), high)


@elementwise(reference=np.square, accepts="ifc", keeps_float32=True)
def square(x: Node) -> Node:
    """``x * x``."""
    return multiply(x, x)


@square.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (2.0 * x,)


@elementwise(
    reference=np.reciprocal,
    accepts="fc",
    domain=(0.5, 2.0),
    corner="1/±0 is ±inf if it is real",
    keeps_float32=True,
)
def reciprocal(x: Node) -> Node:
    """``1 / x``."""
    return divide(as_node(1.0, x.dtype), x)


@reciprocal.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (negative(multiply(result, result)),)


@elementwise(
    kernel=np.power,
    reference=np.power,
    accepts="fc",
    domain=((0.5, 2.0), (-2.0, 2.0)),
    special=((0.0, 0.0), (0.0, 2.0), (0.0, -1.0), (-2.0, 3.0), (-2.0, 0.5), (np.inf, 0.0)),
    corner="0**0 is 1; the derivative of x**0 is 0, that of 0**y by y is 0 for y >= 0; "
    "a complex power has its cut along the negative real axis",
    keeps_float32=True,
)
def power(x: Node, y: Node) -> None:
    """``x`` to the power ``y``; integers are raised in float32."""


@power.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    from graphnn.ops.exponential import log

    # Two choices each: an infinity in the branch not taken would spoil the second derivative.
    is_flat = equal(y, 0.0)
    by_x: Partial = where(is_flat, 0.0, y * power(x, where(is_flat, 1.0, y - 1.0)))
    exponent = y.attrs["value"].array if y.op is CONSTANT else None
    if exponent is not None and exponent.size == 1:
        by_x = _slope_of_power(x, exponent.item())
    is_zero = equal(x, 0.0)
    if not is_complex(y.dtype):
        is_zero = logical_and(is_zero, greater_equal(y, 0.0))
    by_y = where(is_zero, 0.0, result * log(where(is_zero, 1.0, x)))
    return by_x, by_y


def _slope_of_power(x: Node, exponent: complex) -> Partial:
    """The derivative of ``x`` to a power that is known."""
    if exponent in (0, 1):
        return 1 if exponent else None
    return 2.0 * x if exponent == 2 else exponent * power(x, exponent - 1.0)


@elementwise(
    kernel=np.floor_divide,
    reference=np.floor_divide,
    accepts="if",
    domain=((-9.0, 9.0), (1.0, 4.0)),
    special=((7.0, 2.0), (-7.0, 2.0), (7.0, -2.0), (1.0, np.inf)),
    differentiable=False,
    corner="derivative 0 everywhere; an integer divided by 0 is 0, as in NumPy",
)
def floor_divide(x: Node, y: Node) -> None:
    """The largest integer not above ``x / y``."""


@elementwise(
    kernel=np.remainder,
    reference=np.remainder,
    accepts="if",
    domain=((-9.0, 9.0), (1.3, 4.0)),
    special=((7.0, 2.0), (-7.0, 2.0), (7.0, -2.0), (1.0, np.inf)),
    corner="the sign is that of y; derivative by x is 1, also at multiples of y",
)
def mod(x: Node, y: Node) -> None:
    """The remainder ``x - y * floor(x / y)``, with the sign of ``y``."""


@mod.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    return 1, negative(floor_divide(x, y))


@operation(reference=lambda x: x, samples=[Sample(Arg((3,))), Sample(Arg())], dtypes="bifc")
def positive(x: Any) -> Node:
    """``+x``: the node itself."""
    return as_node(x)


class CastOp(Op):
    """Conversion to another dtype; linear between floats, flat to and from integers.

    A complex number can only become another one: real numbers lack a place for its other part.
    """

    name = "cast"
    autocast = "follow"
    axis_attrs = ()
    is_elementwise = True
    instruction = "kernel"

    def infer(self, x: TensorSpec, *, dtype: DType, weak: bool = False) -> TensorSpec:
        if is_complex(x.dtype) and not is_complex(dtype):
            raise DTypeError(
                f"cast: {x.dtype.name} to {dtype.name} would lose the imaginary part",
                hint="gn.real(x), gn.abs(x), or for truth gn.not_equal(x, 0)",
            )
        return TensorSpec(x.shape, dtype, weak)

    def evaluate(self, x: Array, *, dtype: DType, weak: bool = False) -> Array:
        return x.astype(dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return cast(tangent, node.dtype) if tangent is not None and is_inexact(node.dtype) else None

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        (x,) = node.inputs
        both = is_inexact(x.dtype) and is_inexact(node.dtype)
        return [to_domain(cotangent, x.dtype) if both else None]

    def flops(self, node: Node) -> int:
        return output_size(node)


register(CastOp())


@operation(
    reference=lambda x, dtype: np.asarray(x).astype(as_dtype(dtype)),
    samples=[
        Sample(Arg((3, 4)), "float64"),
        Sample(Arg((3, 4)), "float32"),
        Sample(Arg((0, 2)), "float64"),
        Sample(Arg(()), "float64"),
        Sample(Arg((3, 4)), "complex64"),
        Sample(Arg((2,)), "complex128"),
    ],
    rejects=[Reject(DTypeError, "not supported", Arg((3,)), "object")],
    dtypes="bif",
    corner="floats to integers truncate toward zero; anything but 0 is True",
)
def cast(x: Any, dtype: DTypeLike) -> Node:
    """Convert to another dtype.

    Parameters
    ----------
    x : array_like or Node
    dtype : str, type or numpy.dtype

    Returns
    -------
    Node
        The node itself if it has the dtype already.

    Raises
    ------
    DTypeError
        If a complex number should become a real one.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.cast(gn.input("x", shape=(3,)), "float64").dtype
    dtype('float64')
    """
    return cast_to(as_node(x), as_dtype(dtype))
