"""Algebra on single elements: neutral elements, signs, powers, chains of constants.

A rule that is exact for integers (and bools) but not for floats stands here twice, see
`exact_for_integers`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from graphnn.compiler.pattern import Exactness, Rule, Scalar, Var, for_complex, op, rule
from graphnn.core.dtypes import FLOAT16, FLOAT64, is_inexact
from graphnn.core.node import Node
from graphnn.ops.arithmetic import (
    abs,
    add,
    divide,
    multiply,
    negative,
    reciprocal,
    square,
    subtract,
)
from graphnn.ops.constants import constant
from graphnn.ops.exponential import rsqrt, sqrt

__all__ = ["ALGEBRA"]

EXACT, REASSOCIATING = Exactness.EXACT, Exactness.REASSOCIATING
VALUE_UNSAFE = Exactness.VALUE_UNSAFE
x, y = Var("x"), Var("y")
c, d = Scalar("c"), Scalar("d")


def exact_for_integers(rewrite: Rule) -> Rule:
    """The same rule for integers and bools alone, for which it is exact."""

    def build(node: Node, **found: Any) -> Node | None:
        if is_inexact(node.dtype):
            return None
        given = {**found, "node": node} if rewrite.wants_node else found
        return rewrite.build(**given)

    build.__doc__ = rewrite.build.__doc__
    return replace(
        rewrite,
        name=f"{rewrite.name}_of_integers",
        exactness=EXACT,
        build=build,
        wants_node=True,
    )


# --------------------------------------------------------------------------- neutral elements


@rule(EXACT, op("multiply", x, 1.0))
def times_one(x: Node) -> Node:
    """``x * 1 -> x``."""
    return x


@rule(EXACT, op("divide", x, 1.0))
def over_one(x: Node) -> Node:
    """``x / 1 -> x``."""
    return x


@rule(EXACT, op("subtract", x, 0.0))
def minus_zero(x: Node) -> Node:
    """``x - 0 -> x``; ``-0.0 - 0.0`` is -0.0."""
    return x


@rule(EXACT, op("add", x, -0.0))
def plus_negative_zero(x: Node) -> Node:
    """``x + -0.0 -> x``."""
    return x


@rule(REASSOCIATING, op("add", x, 0.0), op("subtract", x, -0.0))
def plus_zero(x: Node) -> Node:
    """``x + 0 -> x``; but ``-0.0 + 0.0`` is 0.0."""
    return x


@rule(REASSOCIATING, op("subtract", 0.0, x))
def zero_minus(x: Node) -> Node:
    """``0 - x -> -x``; but ``0.0 - 0.0`` is 0.0."""
    return negative(x)


@rule(VALUE_UNSAFE, op("multiply", x, 0.0), op("multiply", x, -0.0))
def times_zero(x: Node, node: Node) -> Node:
    """``x * 0 -> 0``; drops the NaN of ``inf * 0``."""
    return constant(0, node.dtype)


@rule(VALUE_UNSAFE, op("divide", 0.0, x))
def zero_over(x: Node, node: Node) -> Node:
    """``0 / x -> 0``; drops the NaN of ``0 / 0``."""
    return constant(0, node.dtype)


@rule(VALUE_UNSAFE, op("subtract", x, x))
def minus_itself(x: Node, node: Node) -> Node:
    """``x - x -> 0``; drops the NaN of ``inf - inf``."""
    return constant(0, node.dtype)


@rule(VALUE_UNSAFE, op("divide", x, x))
def over_itself(x: Node, node: Node) -> Node:
    """``x / x -> 1``; drops the NaN of ``0 / 0``."""
    return constant(1, node.dtype)


# -------------------------------------------------------------------------------------- signs


@rule(EXACT, op("multiply", x, -1.0), op("divide", x, -1.0))
def times_minus_one(x: Node) -> Node:
    """``x * -1 -> -x``."""
    return negative(x)


@rule(EXACT, op("negative", op("negative", x)))
def negative_of_negative(x: Node) -> Node:
    """``-(-x) -> x``."""
    return x


@rule(EXACT, op("add", x, op("negative", y)))
def plus_negative(x: Node, y: Node) -> Node:
    """``x + -y -> x - y``."""
    return subtract(x, y)


@rule(EXACT, op("subtract", x, op("negative", y)))
def minus_negative(x: Node, y: Node) -> Node:
    """``x - -y -> x + y``."""
    return add(x, y)


@rule(EXACT, op("multiply", op("negative", x), op("negative", y)))
def product_of_negatives(x: Node, y: Node) -> Node:
    """``-x * -y -> x * y``."""
    return multiply(x, y)


@rule(EXACT, op("divide", op("negative", x), op("negative", y)))
def quotient_of_negatives(x: Node, y: Node) -> Node:
    """``-x / -y -> x / y``."""
    return divide(x, y)


@rule(REASSOCIATING, op("negative", op("subtract", x, y)))
def negative_of_difference(x: Node, y: Node) -> Node:
    """``-(x - y) -> y - x``; but ``-(x - x)`` is -0.0."""
    return subtract(y, x)


@rule(EXACT, op("abs", op("abs", x)), op("abs", op("negative", x)))
def abs_of_sign(x: Node) -> Node:
    """``abs(-x) -> abs(x)``, ``abs(abs(x)) -> abs(x)``."""
    return abs(x)


@rule(EXACT, op("abs", op("square", x)))
def abs_of_square(x: Node, node: Node) -> Node | None:
    """``abs(x**2) -> x**2``; integer squares may wrap around to below 0."""
    return node.inputs[0] if is_inexact(node.dtype) else None


@rule(EXACT, op("square", op("negative", x)), op("square", op("abs", x)))
def square_of_sign(x: Node) -> Node:
    """``(-x)**2 -> x**2``, ``abs(x)**2 -> x**2``."""
    return square(x)


# ------------------------------------------------------------------------------------- powers


@rule(EXACT, op("power", x, 0.0), op("power", x, -0.0))
def power_zero(x: Node, node: Node) -> Node:
    """``x**0 -> 1``, also of NaN."""
    return constant(1, node.dtype)


@rule(EXACT, op("power", x, 1.0))
def power_one(x: Node) -> Node:
    """``x**1 -> x``."""
    return x


@rule(EXACT, op("power", x, 2.0))
def power_two(x: Node) -> Node:
    """``x**2.0 -> square(x)``, which is rounded correctly."""
    return square(x)


@rule(EXACT, op("power", x, -1.0))
def power_minus_one(x: Node) -> Node:
    """``x**-1.0 -> 1/x``, which is rounded correctly."""
    return reciprocal(x)


_NOT_NEGATIVE = tuple(op(name, x) for name in ("abs", "exp", "exp2", "sigmoid", "square"))
"""Operators whose results are never below 0, nor -0.0."""


@rule(EXACT, *(op("power", base, 0.5) for base in _NOT_NEGATIVE))
def power_half(node: Node, **_: Node) -> Node:
    """``abs(x)**0.5 -> sqrt(abs(x))``, which is rounded correctly; so for all that is not < 0."""
    return sqrt(node.inputs[0])


@rule(VALUE_UNSAFE, op("power", x, 0.5))
def power_half_of_any(x: Node) -> Node:
    """``x**0.5 -> sqrt(x)``; but in C ``(-inf)**0.5`` is inf, and the root is NaN."""
    return sqrt(x)


@rule(EXACT, op("sqrt", op("square", x)), op("sqrt", op("multiply", x, x)))
def sqrt_of_square(x: Node) -> Node:
    """``sqrt(x**2) -> abs(x)``, which cannot overflow."""
    return abs(x)


@rule(EXACT, op("reciprocal", op("sqrt", x)), op("divide", 1.0, op("sqrt", x)))
def one_over_sqrt(x: Node) -> Node:
    """``1 / sqrt(x) -> rsqrt(x)``: one name for it."""
    return rsqrt(x)


@rule(EXACT, op("reciprocal", op("reciprocal", x)))
def reciprocal_of_reciprocal(x: Node) -> Node:
    """``1 / (1 / x) -> x``, which is not rounded."""
    return x


@rule(VALUE_UNSAFE, op("exp", op("log", x)), op("expm1", op("log1p", x)))
def exp_of_log(x: Node) -> Node:
    """``exp(log(x)) -> x``; drops the NaN of ``log(-1)``."""
    return x


# ---------------------------------------------------------------- constants, one after another


@rule(EXACT, op("divide", x, c))
def over_power_of_two(x: Node, c: Any) -> Node | None:
    """``x / 4 -> x * 0.25``: for powers of two whose reciprocal is a number."""
    inverse = _inverse(c)
    if inverse is None or math.frexp(float(c))[0] not in (0.5, -0.5):
        return None
    return multiply(x, constant(inverse))


@rule(REASSOCIATING, op("divide", x, c))
def over_constant(x: Node, c: Any) -> Node | None:
    """``x / 3 -> x * (1/3)``, with its second rounding."""
    inverse = _inverse(c)
    return None if inverse is None else multiply(x, constant(inverse))


def _inverse(c: Any) -> Any:
    """``1 / c`` in the dtype of ``c`` if that loses no more than the last bit, else None."""
    with np.errstate(all="ignore"):
        inverse = c.dtype.type(1.0 / np.float64(c))
    return inverse if _is_normal(inverse) and _is_normal(c) else None


def _is_normal(c: Any) -> bool:
    """Whether it is finite, not 0 and kept with all its digits."""
    smallest = {FLOAT16: 2.0**-14, FLOAT64: 2.0**-1022}.get(c.dtype, 2.0**-126)
    return bool(np.isfinite(c)) and math.fabs(float(c)) >= smallest


@rule(EXACT, op("add", op("add", x, c), d))
def exact_terms(x: Node, c: Any, d: Any) -> Node | None:
    """``(x + 1) + 2 -> x + 3``, where the sum of the constants is exact: one rounding fewer."""
    total = _combined(np.add, c, d)
    return None if total is None else add(x, constant(total))


@rule(REASSOCIATING, op("add", op("add", x, c), d))
def terms(x: Node, c: Any, d: Any) -> Node | None:
    """``(x + 0.1) + 0.2 -> x + 0.3``, unless the sum of the constants overflows."""
    with np.errstate(all="ignore"):
        total = c + d
    return add(x, constant(total)) if np.isfinite(total) else None


@rule(EXACT, op("multiply", op("multiply", x, c), d))
def exact_factors(x: Node, c: Any, d: Any) -> Node | None:
    """``(x * 3) * 2 -> x * 6``, where the product is exact: one rounding fewer."""
    total = _combined(np.multiply, c, d)
    return None if total is None else multiply(x, constant(total))


@rule(REASSOCIATING, op("multiply", op("multiply", x, c), d))
def factors(x: Node, c: Any, d: Any) -> Node | None:
    """``(x * 0.1) * 0.2 -> x * 0.02``, unless the product of the constants loses digits."""
    with np.errstate(all="ignore"):
        total = c * d
    return multiply(x, constant(total)) if _is_normal(total) else None


def _combined(operation: np.ufunc, c: Any, d: Any) -> Any:
    """The result for two constants if it is exact, else None; integers wrap around."""
    with np.errstate(all="ignore"):
        result = operation(c, d)
    if not is_inexact(result.dtype):
        return result
    if not all(map(_is_normal, (c, d, result))):
        return None
    exact = operation(Fraction(float(c)), Fraction(float(d)))
    return result if Fraction(float(result)) == exact else None


_FOR_ALL = (
    times_one,
    over_one,
    minus_zero,
    times_minus_one,
    negative_of_negative,
    plus_negative,
    minus_negative,
    product_of_negatives,
    quotient_of_negatives,
    abs_of_sign,
    power_zero,
    power_one,
    power_two,
    power_minus_one,
    reciprocal_of_reciprocal,
)
_FOR_REALS = (
    plus_negative_zero,
    abs_of_square,
    square_of_sign,
    power_half,
    power_half_of_any,
    sqrt_of_square,
    one_over_sqrt,
    exp_of_log,
    over_power_of_two,
    over_constant,
    exact_terms,
    terms,
    exact_factors,
    factors,
    zero_over,
    over_itself,
)
_EXACT_FOR_INTEGERS = (
    plus_zero,
    zero_minus,
    negative_of_difference,
    times_zero,
    minus_itself,
)

ALGEBRA = (
    *map(for_complex, _FOR_ALL),
    *_FOR_REALS,
    *map(for_complex, _EXACT_FOR_INTEGERS),
    *map(exact_for_integers, _EXACT_FOR_INTEGERS),
)
