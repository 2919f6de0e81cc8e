"""Comparisons, logic on bools, bits of integers, and questions about floats."""

from __future__ import annotations

import numpy as np

from graphnn.core.errors import DTypeError
from graphnn.core.node import Node
from graphnn.ops.contract import Arg, Reject
from graphnn.ops.elementwise import elementwise

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
_FLOAT_REFUSED = Reject(DTypeError, "not supported", Arg((3,)), Arg((3,)))


@elementwise(
    kernel=np.less,
    reference=np.less,
    accepts="bif",
    result="bool",
    special=_PAIRS,
    differentiable=False,
)
def less(x: Node, y: Node) -> None:
    """Whether ``x < y``; false where either is NaN."""


@elementwise(
    kernel=np.less_equal,
    reference=np.less_equal,
    accepts="bif",
    result="bool",
    special=_PAIRS,
    differentiable=False,
)
def less_equal(x: Node, y: Node) -> None:
    """Whether ``x <= y``; false where either is NaN."""


@elementwise(
    kernel=np.greater,
    reference=np.greater,
    accepts="bif",
    result="bool",
    special=_PAIRS,
    differentiable=False,
)
def greater(x: Node, y: Node) -> None:
    """Whether ``x > y``; false where either is NaN."""


@elementwise(
    kernel=np.greater_equal,
    reference=np.greater_equal,
    accepts="bif",
    result="bool",
    special=_PAIRS,
    differentiable=False,
)
def greater_equal(x: Node, y: Node) -> None:
    """Whether ``x >= y``; false where either is NaN."""


@elementwise(
    kernel=np.equal,
    reference=np.equal,
    accepts="bifc",
    result="bool",
    special=_PAIRS,
    differentiable=False,
    commutative=True,
)
def equal(x: Node, y: Node) -> None:
    """Whether ``x`` and ``y`` are equal element by element (``==`` on nodes asks for identity)."""


@elementwise(
    kernel=np.not_equal,
    reference=np.not_equal,
    accepts="bifc",
    result="bool",
    special=_PAIRS,
    differentiable=False,
    commutative=True,
)
def not_equal(x: Node, y: Node) -> None:
    """Whether ``x`` and ``y`` differ element by element; true where either is NaN."""


@elementwise(
    kernel=np.logical_and,
    reference=np.logical_and,
    accepts="b",
    result="bool",
    special=_BOOL_PAIRS,
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def logical_and(x: Node, y: Node) -> None:
    """Whether both hold."""


@elementwise(
    kernel=np.logical_or,
    reference=np.logical_or,
    accepts="b",
    result="bool",
    special=_BOOL_PAIRS,
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def logical_or(x: Node, y: Node) -> None:
    """Whether one of both holds, or both."""


@elementwise(
    kernel=np.logical_xor,
    reference=np.logical_xor,
    accepts="b",
    result="bool",
    special=_BOOL_PAIRS,
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def logical_xor(x: Node, y: Node) -> None:
    """Whether exactly one of both holds."""


@elementwise(
    kernel=np.logical_not,
    reference=np.logical_not,
    accepts="b",
    result="bool",
    special=(True, False),
    differentiable=False,
    rejects=[Reject(DTypeError, "not supported", Arg((3,)))],
)
def logical_not(x: Node) -> None:
    """Whether it does not hold."""


@elementwise(
    kernel=np.bitwise_and,
    reference=np.bitwise_and,
    accepts="bi",
    special=((6, 3), (-1, 5)),
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def bitwise_and(x: Node, y: Node) -> None:
    """Bits set in both; for bools, "and"."""


@elementwise(
    kernel=np.bitwise_or,
    reference=np.bitwise_or,
    accepts="bi",
    special=((6, 3), (-1, 5)),
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def bitwise_or(x: Node, y: Node) -> None:
    """Bits set in either; for bools, "or"."""


@elementwise(
    kernel=np.bitwise_xor,
    reference=np.bitwise_xor,
    accepts="bi",
    special=((6, 3), (-1, 5)),
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
    commutative=True,
)
def bitwise_xor(x: Node, y: Node) -> None:
    """Bits set in exactly one."""


@elementwise(
    kernel=np.bitwise_not,
    reference=np.bitwise_not,
    accepts="bi",
    special=(0, -1, 5),
    differentiable=False,
    rejects=[Reject(DTypeError, "not supported", Arg((3,)))],
)
def bitwise_not(x: Node) -> None:
    """Every bit flipped; for bools, "not"."""


@elementwise(
    kernel=np.left_shift,
    reference=np.left_shift,
    accepts="i",
    domain=((-8, 8), (0, 3)),
    special=((1, 3), (-1, 2)),
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
)
def left_shift(x: Node, y: Node) -> None:
    """Bits of ``x`` moved up by ``y`` places."""


@elementwise(
    kernel=np.right_shift,
    reference=np.right_shift,
    accepts="i",
    domain=((-8, 8), (0, 3)),
    special=((8, 3), (-8, 2)),
    differentiable=False,
    rejects=[_FLOAT_REFUSED],
)
def right_shift(x: Node, y: Node) -> None:
    """Bits of ``x`` moved down by ``y`` places; the sign is kept."""


@elementwise(kernel=np.isnan, reference=np.isnan, accepts="fc", result="bool", differentiable=False)
def isnan(x: Node) -> None:
    """Whether it is not a number; of a complex number, whether a part of it is not."""


@elementwise(kernel=np.isinf, reference=np.isinf, accepts="fc", result="bool", differentiable=False)
def isinf(x: Node) -> None:
    """Whether it is infinite; of a complex number, whether a part of it is."""


@elementwise(
    kernel=np.isfinite, reference=np.isfinite, accepts="fc", result="bool", differentiable=False
)
def isfinite(x: Node) -> None:
    """Whether it, and of a complex number each part, is neither infinite nor NaN."""
