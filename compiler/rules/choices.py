"""Choices and conversions of single elements: where, extremes, logic, casts."""

from __future__ import annotations

from graphnn.compiler.pattern import Exactness, Rule, Var, for_complex, op, rule
from graphnn.core.dtypes import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    DType,
    is_complex,
    is_integer,
    real_dtype,
)
from graphnn.core.node import Node
from graphnn.ops.arithmetic import where
from graphnn.ops.constants import constant
from graphnn.ops.operands import cast_to

__all__ = ["CHOICES", "DIGITS"]

EXACT, REASSOCIATING = Exactness.EXACT, Exactness.REASSOCIATING
x, y, z, condition = Var("x"), Var("y"), Var("z"), Var("condition")


@rule(EXACT, op("where", condition, x, x))
def where_same(condition: Node, x: Node) -> Node:
    """``where(c, x, x) -> x``."""
    return x


@rule(EXACT, op("where", op("logical_not", condition), x, y))
def where_not(condition: Node, x: Node, y: Node) -> Node:
    """``where(not c, x, y) -> where(c, y, x)``."""
    return where(condition, y, x)


@rule(EXACT, op("where", 1.0, x, y))
def where_true(x: Node, y: Node) -> Node:
    """``where(True, x, y) -> x``."""
    return x


@rule(EXACT, op("where", 0.0, x, y))
def where_false(x: Node, y: Node) -> Node:
    """``where(False, x, y) -> y``."""
    return y


@rule(EXACT, op("where", condition, op("where", condition, x, y), z))
def where_then_where(condition: Node, x: Node, y: Node, z: Node) -> Node:
    """``where(c, where(c, x, y), z) -> where(c, x, z)``."""
    return where(condition, x, z)


@rule(EXACT, op("where", condition, x, op("where", condition, y, z)))
def where_else_where(condition: Node, x: Node, y: Node, z: Node) -> Node:
    """``where(c, x, where(c, y, z)) -> where(c, x, z)``."""
    return where(condition, x, z)


@rule(
    EXACT,
    op("maximum", x, x),
    op("minimum", x, x),
    op("logical_and", x, x),
    op("logical_or", x, x),
)
def with_itself(x: Node) -> Node:
    """``maximum(x, x) -> x``, and so for ``minimum``, ``logical_and`` and ``logical_or``."""
    return x


@rule(REASSOCIATING, op("maximum", op("maximum", x, y), y), op("minimum", op("minimum", x, y), y))
def extreme_again(x: Node, y: Node, node: Node) -> Node:
    """``maximum(maximum(x, y), y) -> maximum(x, y)``; which of two zeros it is may change."""
    return next(each for each in node.inputs if each is not y)


@rule(EXACT, op("relu", op("relu", x)))
def relu_of_relu(x: Node, node: Node) -> Node:
    """``relu(relu(x)) -> relu(x)``."""
    return node.inputs[0]


@rule(EXACT, op("logical_not", op("logical_not", x)))
def not_not(x: Node) -> Node:
    """``not not x -> x``."""
    return x


@rule(EXACT, op("logical_and", x, 1.0), op("logical_or", x, 0.0))
def logical_neutral(x: Node) -> Node:
    """``x and True -> x``, ``x or False -> x``."""
    return x


@rule(EXACT, op("logical_and", x, 0.0), op("logical_or", x, 1.0))
def logical_decided(x: Node, node: Node) -> Node:
    """``x and False -> False``, ``x or True -> True``."""
    return constant(node.op.name == "logical_or")


@rule(EXACT, op("cast", x))
def cast_to_same(x: Node, node: Node) -> Node | None:
    """``cast(x, x.dtype) -> x``."""
    return x if x.dtype == node.dtype else None


@rule(EXACT, op("cast", op("cast", x)))
def cast_of_cast(x: Node, node: Node) -> Node | None:
    """``cast(cast(x, wide), dtype) -> cast(x, dtype)``, where ``wide`` holds all values of x.

    A float that an integer type cannot hold becomes some integer, which one depends on the type it
    comes from: such casts stay.
    """
    between = node.inputs[0].dtype
    is_undefined = is_integer(node.dtype) and not is_integer(between) and between != BOOL
    if is_undefined and not holds(node.dtype, x.dtype):
        return None
    return cast_to(x, node.dtype) if holds(between, x.dtype) else None


DIGITS = {BFLOAT16: 8, FLOAT16: 11, FLOAT32: 24, FLOAT64: 53}
"""Bits of a float's significand, the leading one included."""


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of a dtype is also one of another."""
    if wide == narrow or narrow == BOOL:
        return True
    if is_complex(wide):
        return holds(real_dtype(wide), real_dtype(narrow))
    if is_complex(narrow):
        return False
    if narrow in DIGITS:
        return wide in (FLOAT32, FLOAT64) and DIGITS[narrow] <= DIGITS[wide]
    bits = 8 * narrow.itemsize - (narrow != UINT8)
    if wide in DIGITS:
        return bits <= DIGITS[wide]
    if wide == UINT8:
        return False
    return wide in (INT8, INT16, INT32, INT64) and bits <= 8 * wide.itemsize - 1


_FOR_ALL = (
    where_same,
    where_not,
    where_true,
    where_false,
    where_then_where,
    where_else_where,
    cast_to_same,
    cast_of_cast,
)
_FOR_REALS = (
    with_itself,
    extreme_again,
    relu_of_relu,
    not_not,
    logical_neutral,
    logical_decided,
)

CHOICES: tuple[Rule, ...] = (*map(for_complex, _FOR_ALL), *_FOR_REALS)
