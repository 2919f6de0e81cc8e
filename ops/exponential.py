"""Exponentials, logarithms and roots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphnn.core.node import Node
from graphnn.ops.arithmetic import abs, divide, maximum, negative, reciprocal, where
from graphnn.ops.elementwise import Partial, elementwise
from graphnn.ops.logic import equal, isinf, logical_and

__all__ = [
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "rsqrt",
    "sqrt",
]

_LOG_SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, np.nan)


@elementwise(
    kernel=np.exp,
    reference=np.exp,
    accepts="fc",
    special=(0.0, -np.inf, np.inf, np.nan, 1e4, -1e4),
    keeps_float32=True,
)
def exp(x: Node) -> None:
    """``e**x``."""


@exp.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (result,)


@elementwise(
    kernel=np.exp2,
    reference=np.exp2,
    special=(0.0, -np.inf, np.inf, np.nan, 1e4, -1e4),
    keeps_float32=True,
)
def exp2(x: Node) -> None:
    """``2**x``."""


@exp2.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (result * math.log(2.0),)


@elementwise(
    kernel=np.expm1,
    reference=np.expm1,
    special=(0.0, -0.0, 1e-12, -np.inf, np.inf, np.nan, 1e4, -1e4),
    keeps_float32=True,
)
def expm1(x: Node) -> None:
    """``exp(x) - 1``, exact for small ``x``."""


@expm1.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (result + 1.0,)


@elementwise(
    kernel=np.log,
    reference=np.log,
    accepts="fc",
    domain=(0.1, 3.0),
    special=_LOG_SPECIAL,
    corner="-inf at 0, NaN below; for complex numbers the cut is the negative real axis",
    keeps_float32=True,
)
def log(x: Node) -> None:
    """Natural logarithm."""


@log.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(x),)


@elementwise(
    kernel=np.log1p,
    reference=np.log1p,
    domain=(-0.5, 3.0),
    special=(0.0, -0.0, 1e-12, -1.0, -2.0, np.inf, np.nan),
    corner="-inf at -1, NaN below",
    keeps_float32=True,
)
def log1p(x: Node) -> None:
    """``log(1 + x)``, exact for small ``x``."""


@log1p.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(x + 1.0),)


@elementwise(
    kernel=np.log2,
    reference=np.log2,
    domain=(0.1, 3.0),
    special=_LOG_SPECIAL,
    corner="-inf at 0, NaN below",
    keeps_float32=True,
)
def log2(x: Node) -> None:
    """Logarithm to base 2."""


@log2.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (divide(1.0 / math.log(2.0), x),)


@elementwise(
    kernel=np.log10,
    reference=np.log10,
    domain=(0.1, 3.0),
    special=_LOG_SPECIAL,
    corner="-inf at 0, NaN below",
    keeps_float32=True,
)
def log10(x: Node) -> None:
    """Logarithm to base 10."""


@log10.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (divide(1.0 / math.log(10.0), x),)


@elementwise(
    kernel=np.sqrt,
    reference=np.sqrt,
    accepts="fc",
    domain=(0.1, 3.0),
    special=(0.0, -0.0, -1.0, np.inf, np.nan),
    corner="derivative inf at 0, as in JAX and PyTorch; NaN below, but for complex numbers, "
    "whose cut is the negative real axis",
)
def sqrt(x: Node) -> None:
    """Square root."""


@sqrt.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (divide(0.5, result),)


@elementwise(
    reference=lambda x: 1.0 / np.sqrt(x),
    domain=(0.1, 3.0),
    special=(0.0, -0.0, -1.0, np.inf, np.nan),
    corner="±inf at ±0 with derivative ∓inf, as in JAX and PyTorch; NaN below",
    keeps_float32=True,
)
def rsqrt(x: Node) -> Node:
    """``1 / sqrt(x)``."""
    return reciprocal(sqrt(x))


@rsqrt.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (-0.5 * (result * result) * result,)


@elementwise(
    kernel=np.cbrt,
    reference=np.cbrt,
    domain=(0.1, 3.0),
    special=(0.0, -0.0, -8.0, 27.0, np.inf, -np.inf, np.nan),
    corner="derivative inf at 0, on both sides",
)
def cbrt(x: Node) -> None:
    """Real cube root, also of negative numbers."""


@cbrt.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (divide(1.0 / 3.0, result * result),)


@elementwise(
    kernel=np.hypot,
    reference=np.hypot,
    domain=(0.3, 2.0),
    special=((0.0, 0.0), (-3.0, 4.0), (1e30, 1e30), (np.inf, 1.0), (np.inf, np.nan)),
    corner="derivative 0 at (0, 0); an infinite operand wins over NaN",
    commutative=True,
)
def hypot(x: Node, y: Node) -> None:
    """``sqrt(x**2 + y**2)``, without overflow or underflow of the squares."""


@hypot.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    length = where(equal(result, 0.0), 1.0, result)
    return x / length, y / length


@elementwise(
    reference=np.logaddexp,
    special=(
        (0.0, 0.0),
        (1e4, 1e4),
        (-1e4, 1e4),
        (-np.inf, -np.inf),
        (-np.inf, 1.0),
        (np.inf, np.inf),
        (np.inf, -np.inf),
        (np.nan, 1.0),
    ),
    corner="-inf stands for the log of 0; between equal infinities each derivative is one half",
    commutative=True,
    keeps_float32=True,
)
def logaddexp(x: Node, y: Node) -> Node:
    """``log(exp(x) + exp(y))``, arranged so that nothing can overflow."""
    return maximum(x, y) + log1p(exp(negative(abs(_difference(x, y)))))


@logaddexp.partials
def _(x: Node, y: Node, result: Node) -> Sequence[Partial]:
    from graphnn.ops.activation import sigmoid

    difference = _difference(x, y)
    return sigmoid(difference), sigmoid(negative(difference))


def _difference(x: Node, y: Node) -> Node:
    """``x - y``, where equal infinities have the difference 0."""
    return where(logical_and(equal(x, y), isinf(x)), 0.0, x - y)
