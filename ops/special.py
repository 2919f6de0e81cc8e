"""Special functions: the error function and the gamma function, with their relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.errors import UnsupportedOpError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, output_size, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import square
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.elementwise import Partial, elementwise, scipy_special
from graphnn.ops.exponential import exp
from graphnn.ops.operands import as_node, require_floating

__all__ = ["digamma", "erf", "erfc", "erfinv", "lgamma", "polygamma"]

_LARGE = (0.0, -0.0, 1e-12, 1e4, -1e4, np.inf, -np.inf, np.nan)


@elementwise(kernel=scipy_special("erf"), reference=scipy_special("erf"), special=_LARGE)
def erf(x: Node) -> None:
    """Error function, ``2/sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to ``x``."""


@erf.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (2.0 / math.sqrt(math.pi) * exp(-square(x)),)


@elementwise(kernel=scipy_special("erfc"), reference=scipy_special("erfc"), special=_LARGE)
def erfc(x: Node) -> None:
    """``1 - erf(x)``, exact for large ``x``."""


@erfc.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (-2.0 / math.sqrt(math.pi) * exp(-square(x)),)


@elementwise(
    kernel=scipy_special("erfinv"),
    reference=scipy_special("erfinv"),
    domain=(-0.9, 0.9),
    special=(0.0, -0.0, 1e-12, 1.0, -1.0, 1.5, np.nan),
    corner="±inf at ±1 with derivative inf, NaN beyond",
    keeps_float32=True,
)
def erfinv(x: Node) -> None:
    """Inverse error function, ``erfinv(erf(x)) = x``."""


@erfinv.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (math.sqrt(math.pi) / 2.0 * exp(square(result)),)


def _lgamma(x: Any) -> Any:
    """SciPy's ``gammaln``, but inf at -inf, as in C, JAX and PyTorch."""
    return np.where(np.isneginf(x), np.inf, scipy_special("gammaln")(x))


@elementwise(
    kernel=_lgamma,
    reference=_lgamma,
    domain=(0.3, 4.0),
    special=(0.0, -0.0, 1.0, 2.0, -1.0, -1.5, 1e4, np.inf, -np.inf, np.nan),
    corner="inf at 0, -1, -2, … and at ±inf",
    keeps_float32=True,
)
def lgamma(x: Node) -> None:
    """Logarithm of the absolute value of the gamma function."""


@lgamma.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (digamma(x),)


@elementwise(
    kernel=scipy_special("psi"),
    reference=scipy_special("psi"),
    domain=(0.3, 4.0),
    special=(0.0, -0.0, 1.0, -1.0, -1.5, 1e4, np.inf, np.nan),
    corner="∓inf at ±0, NaN at -1, -2, …",
    keeps_float32=True,
)
def digamma(x: Node) -> None:
    """Derivative of `lgamma`."""


@digamma.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (polygamma(1, x),)


class PolygammaOp(Op):
    """A derivative of digamma; its own derivative is that of the next order."""

    name = "polygamma"
    axis_attrs = ()
    is_elementwise = True

    def infer(self, x: TensorSpec, *, order: int) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, order: int) -> Array:
        result = scipy_special("polygamma")(order, x.astype(np.float64))
        return np.asarray(result).astype(x.dtype)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else self._derivative(node) * tangent

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        return [self._derivative(node) * cotangent]

    def _derivative(self, node: Node) -> Node:
        return polygamma(node.attrs["order"] + 1, node.inputs[0])

    def flops(self, node: Node) -> int:
        return output_size(node)


POLYGAMMA = PolygammaOp()
register(POLYGAMMA)


@operation(
    reference=scipy_special("polygamma"),
    samples=[
        Sample(0, Arg((3, 4), 0.3, 4.0)),
        Sample(1, Arg((3, 4), 0.3, 4.0)),
        Sample(2, Arg((), 0.3, 4.0)),
        Sample(3, Arg((2, 0), 0.3, 4.0)),
        Sample(1, Arg((3,), -0.9, -0.6)),
    ],
    rejects=[
        Reject(UnsupportedOpError, "order -1", -1, Arg((3,))),
        Reject(UnsupportedOpError, "order 0.5", 0.5, Arg((3,))),
    ],
    corner="±inf at 0, -1, -2, …",
)
def polygamma(n: Any, x: Any) -> Node:
    """Derivative of order ``n`` of `digamma`.

    Parameters
    ----------
    n : int
        Not negative; 0 is `digamma` itself.
    x : array_like or Node

    Returns
    -------
    Node
        Computed in float64 and rounded to the dtype of ``x``; integers become float32.

    Raises
    ------
    UnsupportedOpError
        If ``n`` is negative or no integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.polygamma(1, gn.input("x", shape=(3,)))
    <Node polygamma (3,) float32>
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise UnsupportedOpError(
            f"polygamma: there is no order {n!r}",
            hint="the order is a Python integer, 0 (digamma) or more",
        )
    x = require_floating("polygamma", as_node(x))
    return make_node(POLYGAMMA, (x,), {"order": int(n)}) if n else digamma(x)
