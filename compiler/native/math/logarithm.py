"""Logarithms: log, log1p, log2, log10, and a logarithm in two doubles for powers.

``x = 2**e m`` with ``m`` between ``sqrt(1/2)`` and ``sqrt(2)``, ``log(x) = e ln 2 + log(m)``. With
``f = m - 1`` and ``s = f / (2 + f)``, ``log(m) = 2 atanh(s)``; how the terms are added up so that
``f`` is the last is fdlibm's ``e_log.c``.
"""

from __future__ import annotations

from graphnn.compiler.native.math.exponential import LN2_DOUBLE, LN2_SINGLE
from graphnn.compiler.native.math.lanes import (
    Lanes,
    fma,
    from_bits,
    magnitude,
    polynomial,
    select,
    two_product,
    two_sum,
)

__all__ = ["log", "log1p", "log2", "log10", "log_in_two"]

_SINGLE = (
    0.3333331240508594,
    -0.2500000964254319,
    0.200021342415366,
    -0.16668007759496686,
    0.14219213091584426,
    -0.12405107026445177,
    0.11890368664115711,
    -0.11679858386662084,
    0.06746769912779454,
)
"""``(log(1 + f) - f + f**2 / 2) / f**3``, error 2**-30.3 of ``log(1 + f)``."""

_DOUBLE = (
    0.6666666666666735,
    0.3999999999940754,
    0.28571428744138516,
    0.2222219837816397,
    0.18183575206626942,
    0.15313754205399457,
    0.14799085612694154,
)
"""``(2 atanh(s) - 2 s) / s**3`` as a polynomial in ``s**2``, error 2**-58.5 of ``s``."""

_TAIL = (
    0.39999999999999974,
    0.28571428571445334,
    0.22222222217481657,
    0.1818181887705018,
    0.1538455641081745,
    0.13336335146878414,
    0.11674458200747141,
    0.11992017364405341,
)
"""``(2 atanh(s) - 2 s - 2/3 s**3) / s**5`` as a polynomial in ``s**2``, error 2**-72.5 of ``s``."""

_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
_LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
_HALF_ROOT = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}
"""The bits of ``sqrt(1/2)``."""


def _split(x: Lanes) -> tuple[Lanes, Lanes]:
    """Exponent (as a float) and fraction of a positive number."""
    small, up, shift = (2.0**-126, 2.0**25, 23) if x.is_single else (2.0**-1022, 2.0**54, 52)
    is_small = x < small
    bits = select(is_small, x * up, x).bits()
    n = (bits - _HALF_ROOT[x.element]) >> shift
    m = from_bits(bits - (n << shift), x.element)
    magic = x.constant(1.5 * 2.0**shift)  # n in its last bits, without a conversion
    e = from_bits(n + magic.bits(), x.element) - magic
    return select(is_small, e - (25.0 if x.is_single else 54.0), e), m


def _finish(x: Lanes, result: Lanes) -> Lanes:
    """The values at 0, inf, NaN and below zero."""
    result = select(x.equals(float("inf")), x, result)
    result = select(x.equals(0.0), float("-inf"), result)
    return select(x >= 0.0, result, float("nan"))


def _log(x: Lanes, correction: Lanes | None = None) -> Lanes:
    """``log(x) + correction`` for a small correction."""
    e, m = _split(x)
    f = m - 1.0
    half_square = f * f * 0.5
    high, low = LN2_SINGLE if x.is_single else LN2_DOUBLE
    if x.is_single:
        rest = polynomial(f, _SINGLE) * (f * f * f)
    else:
        s = f / (f + 2.0)
        z = s * s
        rest = s * fma(polynomial(z, _DOUBLE), z, half_square)
    small = e * low if correction is None else fma(e, low, correction)
    return fma(e, high, f - (half_square - (rest + small)))


def log(x: Lanes) -> Lanes:
    """The natural logarithm."""
    return _finish(x, _log(x))


def log1p(x: Lanes) -> Lanes:
    """``log(1 + x)``; what is lost in the sum is put back."""
    total, error = two_sum(x.constant(1.0), x)
    result = _finish(total, _log(total, error / total))
    tiny = 2.0**-25 if x.is_single else 2.0**-54
    return select(magnitude(x) < tiny, x, result)


def _fraction_in_two(m: Lanes) -> tuple[Lanes, Lanes]:
    """``log(m)`` of the fraction, as a sum of two doubles, error about 2**-65."""
    f = m - 1.0
    sum_high, sum_low = two_sum(f.constant(2.0), f)
    s = f / sum_high
    product, error = two_product(s, sum_high)
    s_low = ((f - product) - error - s * sum_low) / sum_high
    z, z_low = two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    tail = polynomial(z, _TAIL) * z
    c = tail + _TWO_THIRDS[0]
    c_low = (_TWO_THIRDS[0] - c + tail) + _TWO_THIRDS[1]
    cube, cube_low = two_product(s, z)
    cube_low = cube_low + (s * z_low + s_low * z)
    term, term_low = two_product(cube, c)
    term_low = term_low + (cube * c_low + cube_low * c)
    high = (s + s) + term
    low = ((s + s) - high + term) + (s_low + s_low + term_low)
    return high, low


def log_in_two(x: Lanes) -> tuple[Lanes, Lanes]:
    """``log(x)`` of a positive double as a sum of two; the first is -inf, inf at 0, inf."""
    e, m = _split(x)
    high, low = _fraction_in_two(m)
    total, error = two_sum(e * LN2_DOUBLE[0], high)
    total, rest = two_sum(total, error + fma(e, LN2_DOUBLE[1], low))
    return _finish(x, total), rest


def log2(x: Lanes) -> Lanes:
    """The logarithm to base 2, exact at powers of two."""
    e, m = _split(x)
    high, low = _fraction_in_two(m)
    total, error = two_product(high, high.constant(_LOG2_E[0]))
    rest = error + fma(low, _LOG2_E[0], high * _LOG2_E[1])
    whole, lost = two_sum(e, total)
    return _finish(x, whole + (lost + rest))


def log10(x: Lanes) -> Lanes:
    """The logarithm to base 10."""
    high, low = log_in_two(x)
    total, error = two_product(high, high.constant(_LOG10_E[0]))
    return _finish(x, total + (error + fma(low, _LOG10_E[0], high * _LOG10_E[1])))
