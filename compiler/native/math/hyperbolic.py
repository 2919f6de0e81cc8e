"""Hyperbolic functions and their inverses, by expm1 and log1p."""

from __future__ import annotations

from graphnn.compiler.native.math.exponential import exp, expm1
from graphnn.compiler.native.math.lanes import (
    Lanes,
    copysign,
    fma,
    magnitude,
    select,
    square_root,
    two_product,
)
from graphnn.compiler.native.math.logarithm import log1p

__all__ = ["arccosh", "arcsinh", "arctanh", "cosh", "sinh", "tanh"]

_LN2 = 0.6931471805599453
_HUGE = 2.0**500
"""Beyond, squares overflow, and adding 1 changes nothing."""


def tanh(x: Lanes) -> Lanes:
    """The hyperbolic tangent: ``t / (t + 2)`` for ``t = expm1(2 |x|)``.

    What the sum and the quotient have lost is put back.
    """
    size = magnitude(x)
    limit = 10.0 if x.is_single else 22.0  # 1 from here on
    t = expm1(select(size > limit, limit, size) * 2.0)
    total = t + 2.0
    lost = t - (total - 2.0)
    inverse = 1.0 / total
    quotient = t * inverse
    product, error = two_product(quotient, total)
    rest = ((t - product) - error) - quotient * lost
    return copysign(fma(rest, inverse, quotient), x)


def sinh(x: Lanes) -> Lanes:
    """The hyperbolic sine."""
    size = magnitude(x)
    t = expm1(size)
    moderate = (t + t / (t + 1.0)) * 0.5
    return copysign(select(size < 22.0, moderate, exp(size, scale=-1)), x)


def cosh(x: Lanes) -> Lanes:
    """The hyperbolic cosine."""
    half = exp(magnitude(x), scale=-1)
    return half + 0.25 / half


def arcsinh(x: Lanes) -> Lanes:
    """``log(x + sqrt(x**2 + 1))``, arranged for small ``x``."""
    size = magnitude(x)
    is_huge = size > _HUGE
    square = size * size
    argument = size + square / (1.0 + square_root(square + 1.0))
    return copysign(_log1p_or_twice(size, argument, is_huge), x)


def arccosh(x: Lanes) -> Lanes:
    """``log(x + sqrt(x**2 - 1))``, arranged for ``x`` near 1."""
    t = x - 1.0
    result = _log1p_or_twice(x, t + square_root(t * (t + 2.0)), x > _HUGE)
    return select(x < 1.0, float("nan"), result)


def _log1p_or_twice(x: Lanes, argument: Lanes, is_huge: Lanes) -> Lanes:
    """``log1p`` of an argument; ``log(2 x)`` where that overflows."""
    made = log1p(select(is_huge, x, argument))
    return select(is_huge, made + _LN2, made)


def arctanh(x: Lanes) -> Lanes:
    """``log1p(2 x / (1 - x)) / 2``."""
    size = magnitude(x)
    return copysign(log1p((size + size) / (1.0 - size)) * 0.5, x)
