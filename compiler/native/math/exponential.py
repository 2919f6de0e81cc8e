"""Exponentials: exp, exp2, expm1.

``x = n ln 2 + r`` with ``|r| <= ln(2)/2``; ``exp(r)`` is a polynomial, ``2**n`` is put into the
exponent in two steps, so that results below the normal range are rounded once.
"""

from __future__ import annotations

from graphnn.compiler.native.math.lanes import (
    Lanes,
    fma,
    from_bits,
    magnitude,
    polynomial,
    select,
)

__all__ = [
    "LN2_DOUBLE",
    "LN2_SINGLE",
    "exp",
    "exp2",
    "exp_in_range",
    "exp_of_sum",
    "expm1",
    "ldexp",
]

_TAIL_SINGLE = (
    0.5000000044696149,
    0.1666666636775067,
    0.04166635850612078,
    0.008333389671247051,
    0.0013940829358510998,
    0.0001984595495076132,
)
"""``(exp(r) - 1 - r) / r**2``, error 2**-31.9 of ``exp(r) - 1``."""

_TAIL_DOUBLE = (
    0.5,
    0.16666666666666677,
    0.041666666666666505,
    0.008333333333321515,
    0.001388888888896373,
    0.00019841269886476906,
    2.4801587170594124e-05,
    2.7557243804120223e-06,
    2.7557403676782896e-07,
    2.5109195215691457e-08,
    2.0875201849598025e-09,
)
"""The same, error 2**-61.7."""

_LOG2_E = 1.4426950408889634
LN2_SINGLE = (0.693359375, -2.1219444005469058e-4)
LN2_DOUBLE = (0.6931471803691238, 1.9082149292705877e-10)
"""Parts of ln 2; the first has so few bits that its products with exponents are exact (fdlibm)."""

_MAGIC = {"float": 1.5 * 2.0**23, "double": 1.5 * 2.0**52}
"""Added to a small number, it leaves the nearest integer in the last bits."""


def _nearest_integer(x: Lanes) -> tuple[Lanes, Lanes]:
    """The nearest integer of a number below 2**22, as a float and as an integer."""
    magic = _MAGIC[x.element]
    moved = x + magic
    return moved - magic, moved.bits() - moved.constant(magic).bits()


def _power_of_two(n: Lanes) -> Lanes:
    """``2.0**n`` for an exponent in the normal range."""
    if n.element == "i32":
        return from_bits((n + 127) << 23, "float")
    return from_bits((n + 1023) << 52, "double")


def ldexp(x: Lanes, n: Lanes) -> Lanes:
    """``x * 2**n`` for any ``n`` up to twice the largest exponent, rounded once."""
    half = n >> 1
    return (x * _power_of_two(half)) * _power_of_two(n - half)


def _clamped(x: Lanes, low: float, high: float) -> Lanes:
    """Moved into the range where exponents can be told; NaN stays."""
    x = select(x < low, low, x)
    return select(x > high, high, x)


def _reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """``r`` as a float, ``n`` as a float and as an integer."""
    n, exponent = _nearest_integer(x * _LOG2_E)
    high, low = LN2_SINGLE if x.is_single else LN2_DOUBLE
    return fma(n, -low, fma(n, -high, x)), n, exponent


def _tail(r: Lanes) -> Lanes:
    """``exp(r) - 1 - r``."""
    return polynomial(r, _TAIL_SINGLE if r.is_single else _TAIL_DOUBLE) * (r * r)


def exp(x: Lanes, scale: int = 0) -> Lanes:
    """``exp(x) * 2**scale``, also where ``exp(x)`` alone would overflow."""
    x = _clamped(x, -105.0, 90.0) if x.is_single else _clamped(x, -750.0, 711.0)
    r, _, n = _reduced(x)
    return ldexp(1.0 + (r + _tail(r)), n + scale if scale else n)


def exp_in_range(x: Lanes) -> Lanes:
    """``exp(x)`` where it is a normal number, with the same bits in fewer instructions."""
    r, _, n = _reduced(x)
    return (1.0 + (r + _tail(r))) * _power_of_two(n)


def exp_of_sum(high: Lanes, low: Lanes) -> Lanes:
    """``exp(high + low)`` for a small correction."""
    high = _clamped(high, -750.0, 711.0)
    r, _, n = _reduced(high)
    tail = _tail(r)
    return ldexp(1.0 + (r + (tail + fma(low, r + tail, low))), n)


def exp2(x: Lanes) -> Lanes:
    """``2**x``."""
    x = _clamped(x, -151.0, 129.0) if x.is_single else _clamped(x, -1076.0, 1025.0)
    n, exponent = _nearest_integer(x)
    part = x - n
    high, low = LN2_SINGLE if x.is_single else LN2_DOUBLE
    r = fma(part, high, part * low)
    return ldexp(1.0 + (r + _tail(r)), exponent)


def expm1(x: Lanes) -> Lanes:
    """``exp(x) - 1``, exact for small ``x``: ``2**n (exp(r) - 1) + (2**n - 1)``."""
    clamped = _clamped(x, -40.0, 89.0) if x.is_single else _clamped(x, -80.0, 709.9)
    r, _, n = _reduced(clamped)
    half = _power_of_two(n - 1)  # the whole of the largest n is beyond the range
    grown = fma(_tail(r), half, fma(r, half, half - 0.5))
    grown = grown + grown
    tiny = 2.0**-26 if x.is_single else 2.0**-54
    return select(magnitude(x) < tiny, x, grown)
