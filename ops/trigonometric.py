"""Trigonometric and hyperbolic functions, in radians, and their inverses.

Every function has NumPy's classic name. The names that NumPy 2 and PyTorch have besides are
bound to the same objects:

======== =========
alias    function
======== =========
acos     arccos
acosh    arccosh
asin     arcsin
asinh    arcsinh
atan     arctan
atan2    arctan2
atanh    arctanh
======== =========
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphnn.core.node import Node
from graphnn.ops.arithmetic import negative, reciprocal, square, where
from graphnn.ops.elementwise import Partial, elementwise
from graphnn.ops.exponential import hypot, rsqrt
from graphnn.ops.logic import equal

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
]

_ANGLES = (0.0, -0.0, 1.0, 1e4, np.inf, np.nan)
_UNIT = (0.0, -0.0, 1.0, -1.0, 1.5, np.nan)
_LARGE = (0.0, -0.0, 1e-12, 1e4, -1e4, np.inf, -np.inf, np.nan)


@elementwise(kernel=np.sin, reference=np.sin, accepts="fc", special=_ANGLES, corner="NaN at ±inf")
def sin(x: Node) -> None:
    """Sine of an angle in radians."""


@sin.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (cos(x),)


@elementwise(kernel=np.cos, reference=np.cos, accepts="fc", special=_ANGLES, corner="NaN at ±inf")
def cos(x: Node) -> None:
    """Cosine of an angle in radians."""


@cos.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (negative(sin(x)),)


@elementwise(
    kernel=np.tan,
    reference=np.tan,
    accepts="fc",
    domain=(-1.2, 1.2),
    special=_ANGLES,
    corner="NaN at ±inf",
    keeps_float32=True,
)
def tan(x: Node) -> None:
    """Tangent of an angle in radians."""


@tan.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (square(result) + 1.0,)


@elementwise(
    kernel=np.arcsin,
    reference=np.arcsin,
    domain=(-0.9, 0.9),
    special=_UNIT,
    corner="NaN outside [-1, 1]; derivative inf at ±1",
)
def arcsin(x: Node) -> None:
    """Inverse sine, in ``[-pi/2, pi/2]``."""


@arcsin.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (rsqrt(_one_minus_square(x)),)


@elementwise(
    kernel=np.arccos,
    reference=np.arccos,
    domain=(-0.9, 0.9),
    special=_UNIT,
    corner="NaN outside [-1, 1]; derivative -inf at ±1",
)
def arccos(x: Node) -> None:
    """Inverse cosine, in ``[0, pi]``."""


@arccos.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (negative(rsqrt(_one_minus_square(x))),)


@elementwise(kernel=np.arctan, reference=np.arctan, special=_LARGE)
def arctan(x: Node) -> None:
    """Inverse tangent, in ``[-pi/2, pi/2]``."""


@arctan.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(square(x) + 1.0),)


@elementwise(
    kernel=np.arctan2,
    reference=np.arctan2,
    domain=((-2.0, 2.0), (0.3, 2.0)),
    special=(
        (0.0, 0.0),
        (-0.0, 0.0),
        (0.0, -0.0),
        (1.0, 0.0),
        (0.0, -1.0),
        (-1.0, -np.inf),
        (np.inf, np.inf),
        (np.nan, 1.0),
    ),
    corner="signed zeros and infinities as in C; derivative 0 at (0, 0), as in PyTorch",
)
def arctan2(y: Node, x: Node) -> None:
    """Angle of the point ``(x, y)``, in ``[-pi, pi]``; note the order of the operands."""


@arctan2.partials
def _(y: Node, x: Node, result: Node) -> Sequence[Partial]:
    radius = hypot(x, y)
    length = where(equal(radius, 0.0), 1.0, radius)  # divided by twice: its square may overflow
    return x / length / length, negative(y) / length / length


@elementwise(kernel=np.sinh, reference=np.sinh, accepts="fc", special=_LARGE, keeps_float32=True)
def sinh(x: Node) -> None:
    """Hyperbolic sine."""


@sinh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (cosh(x),)


@elementwise(kernel=np.cosh, reference=np.cosh, accepts="fc", special=_LARGE, keeps_float32=True)
def cosh(x: Node) -> None:
    """Hyperbolic cosine."""


@cosh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (sinh(x),)


@elementwise(kernel=np.tanh, reference=np.tanh, accepts="fc", special=_LARGE)
def tanh(x: Node) -> None:
    """Hyperbolic tangent, the activation of plain recurrent nets."""


@tanh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (1.0 - square(result),)


@elementwise(kernel=np.arcsinh, reference=np.arcsinh, special=_LARGE)
def arcsinh(x: Node) -> None:
    """Inverse hyperbolic sine."""


@arcsinh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(hypot(x, 1.0)),)


@elementwise(
    kernel=np.arccosh,
    reference=np.arccosh,
    domain=(1.1, 3.0),
    special=(1.0, 0.5, -2.0, 1e4, np.inf, np.nan),
    corner="NaN below 1; derivative inf at 1",
)
def arccosh(x: Node) -> None:
    """Inverse hyperbolic cosine."""


@arccosh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (rsqrt(x - 1.0) * rsqrt(x + 1.0),)


@elementwise(
    kernel=np.arctanh,
    reference=np.arctanh,
    domain=(-0.9, 0.9),
    special=_UNIT,
    corner="±inf at ±1 with derivative inf, NaN beyond",
)
def arctanh(x: Node) -> None:
    """Inverse hyperbolic tangent."""


@arctanh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(_one_minus_square(x)),)


def _one_minus_square(x: Node) -> Node:
    """``1 - x**2`` to full precision near -1 and 1."""
    return (1.0 - x) * (1.0 + x)


acos, asin, atan, atan2 = arccos, arcsin, arctan, arctan2
acosh, asinh, atanh = arccosh, arcsinh, arctanh
