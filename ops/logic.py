"""Comparisons, logic on bools, bits of integers, and questions about floats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphnn.core.errors import DTypeError
from graphnn.core.node import Node
from graphnn.ops.contract import Arg, Reject
from graphnn.ops.elementwise import ElementwiseOp, elementwise

__all__ = [
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
]

_PAIRS = ((0.0, 0.0), (0.0, -0.0), (1.0, np.nan), (np.nan, np.nan), (np.inf, -np.inf))
_BOOL_PAIRS = ((True, True), (True, False), (False, False))
_FLOAT_REFUSED = Reject(DTypeError, "not supported", Arg((3,)))
_FLOATS_REFUSED = Reject(DTypeError, "not supported", Arg((3,)), Arg((3,)))


def _as_numpy(function: np.ufunc, **facts: Any) -> Callable[[Callable[..., Any]], ElementwiseOp]:
    """Declare what one of NumPy's functions computes; it has no derivative."""
    return elementwise(kernel=function, reference=function, differentiable=False, **facts)


_comparison = partial(_as_numpy, accepts="bif", result="bool", special=_PAIRS)
_connective = partial(
    _as_numpy,
    accepts="b",
    result="bool",
    special=_BOOL_PAIRS,
    rejects=[_FLOATS_REFUSED],
    commutative=True,
)
_bits = partial(
    _as_numpy,
    accepts="bi",
    special=((6, 3), (-1, 5)),
    rejects=[_FLOATS_REFUSED],
    commutative=True,
)
_shift = partial(_as_numpy, accepts="i", domain=((-8, 8), (0, 3)), rejects=[_FLOATS_REFUSED])
_question = partial(_as_numpy, accepts="fc", result="bool")


@_comparison(np.less)
def less(x: Node, y: Node) -> None:
    """Whether ``x < y``; false where either is NaN."""


@_comparison(np.less_equal)
def less_equal(x: Node, y: Node) -> None:
    """Whether ``x <= y``; false where either is NaN."""


@_comparison(np.greater)
def greater(x: Node, y: Node) -> None:
    """Whether ``x > y``; false where either is NaN."""


@_comparison(np.greater_equal)
def greater_equal(x: Node, y: Node) -> None:
    """Whether ``x >= y``; false where either is NaN."""


@_comparison(np.equal, accepts="bifc", commutative=True)
def equal(x: Node, y: Node) -> None:
    """Whether ``x`` and ``y`` are equal element by element (``==`` on nodes asks for identity)."""


@_comparison(np.not_equal, accepts="bifc", commutative=True)
def not_equal(x: Node, y: Node) -> None:
    """Whether ``x`` and ``y`` differ element by element; true where either is NaN."""


@_connective(np.logical_and)
def logical_and(x: Node, y: Node) -> None:
    """Whether both hold."""


@_connective(np.logical_or)
def logical_or(x: Node, y: Node) -> None:
    """Whether one of both holds, or both."""


@_connective(np.logical_xor)
def logical_xor(x: Node, y: Node) -> None:
    """Whether exactly one of both holds."""


@_as_numpy(
    np.logical_not, accepts="b", result="bool", special=(True, False), rejects=[_FLOAT_REFUSED]
)
def logical_not(x: Node) -> None:
    """Whether it does not hold."""


@_bits(np.bitwise_and)
def bitwise_and(x: Node, y: Node) -> None:
    """Bits set in both; for bools, "and"."""


@_bits(np.bitwise_or)
def bitwise_or(x: Node, y: Node) -> None:
    """Bits set in either; for bools, "or"."""


@_bits(np.bitwise_xor)
def bitwise_xor(x: Node, y: Node) -> None:
    """Bits set in exactly one."""


@_as_numpy(np.bitwise_not, accepts="bi", special=(0, -1, 5), rejects=[_FLOAT_REFUSED])
def bitwise_not(x: Node) -> None:
    """Every bit flipped; for bools, "not"."""


@_shift(np.left_shift, special=((1, 3), (-1, 2)))
def left_shift(x: Node, y: Node) -> None:
    """Bits of ``x`` moved up by ``y`` places."""


@_shift(np.right_shift, special=((8, 3), (-8, 2)))
def right_shift(x: Node, y: Node) -> None:
    """Bits of ``x`` moved down by ``y`` places; the sign is kept."""


@_question(np.isnan)
def isnan(x: Node) -> None:
    """Whether it is not a number; of a complex number, whether a part of it is not."""


@_question(np.isinf)
def isinf(x: Node) -> None:
    """Whether it is infinite; of a complex number, whether a part of it is."""


@_question(np.isfinite)
def isfinite(x: Node) -> None:
    """Whether it, and of a complex number each part, is neither infinite nor NaN."""
