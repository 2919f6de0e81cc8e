"""Rounding to whole numbers. The derivative is 0 everywhere, also at the jumps."""

from __future__ import annotations

import numpy as np

from graphnn.core.node import Node
from graphnn.ops.elementwise import elementwise

__all__ = ["ceil", "floor", "round", "trunc"]

_HALVES = (0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e9, np.inf, -np.inf, np.nan)
_CORNER = "derivative 0 everywhere; integers stay as they are"


@elementwise(kernel=np.floor, reference=np.floor, accepts="if", special=_HALVES, corner=_CORNER)
def floor(x: Node) -> None:
    """The largest whole number not above ``x``."""


@elementwise(kernel=np.ceil, reference=np.ceil, accepts="if", special=_HALVES, corner=_CORNER)
def ceil(x: Node) -> None:
    """The smallest whole number not below ``x``."""


@elementwise(
    kernel=np.round,
    reference=np.round,
    accepts="if",
    special=_HALVES,
    corner=f"halves go to the even neighbour, as in IEEE 754 and NumPy; {_CORNER}",
)
def round(x: Node) -> None:
    """The nearest whole number, the even one of two equally near."""


@elementwise(kernel=np.trunc, reference=np.trunc, accepts="if", special=_HALVES, corner=_CORNER)
def trunc(x: Node) -> None:
    """The nearest whole number toward 0."""
