"""Exponentials, logarithms and roots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphnn.core.node import Node
from graphnn.ops.arithmetic import divide, reciprocal
from graphnn.ops.contract import as_node
from graphnn.ops.elementwise import Partial, elementwise

__all__ = ["exp", "log", "log1p", "sqrt"]


@elementwise(kernel=np.exp, reference=np.exp, special=(0.0, -np.inf, np.inf, np.nan, 1e4, -1e4))
def exp(x: Node) -> None:
    """``e**x``."""


@exp.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (result,)


@elementwise(
    kernel=np.log,
    reference=np.log,
    domain=(0.1, 3.0),
    special=(0.0, -0.0, 1.0, -1.0, np.inf, np.nan),
    corner="-inf at 0, NaN below",
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
)
def log1p(x: Node) -> None:
    """``log(1 + x)``, exact for small ``x``."""


@log1p.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (reciprocal(x + 1.0),)


@elementwise(
    kernel=np.sqrt,
    reference=np.sqrt,
    domain=(0.1, 3.0),
    special=(0.0, -0.0, -1.0, np.inf, np.nan),
    corner="derivative inf at 0, as in JAX and PyTorch",
)
def sqrt(x: Node) -> None:
    """Square root."""


@sqrt.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (divide(as_node(0.5, x.dtype), result),)
