"""Sine, cosine, tangent.

``x = n pi/2 + r`` with ``|r| <= pi/4``; pi/2 is split into parts of 33 bits (fdlibm's
``e_rem_pio2.c``), whose products with ``n`` are exact. From 2**20 on, where that is not precise
enough, the C library is called lane by lane.
"""

from __future__ import annotations

from graphnn.compiler.native.math.lanes import (
    Lanes,
    each_lane,
    fma,
    from_bits,
    magnitude,
    polynomial,
    select,
    two_sum,
)

__all__ = ["cos", "sin", "tan"]

_SIN_SINGLE = (
    -0.1666666664143307,
    0.008333329362716708,
    -0.00019839327226597346,
    2.7182378515797583e-06,
)
"""``(sin(r) - r) / r**3`` as a polynomial in ``r**2``, error 2**-37.6 of ``sin(r)``."""

_COS_SINGLE = (
    0.04166666662247569,
    -0.0013888883722535947,
    2.4799511740166953e-05,
    -2.720954561129684e-07,
)
"""``(cos(r) - 1 + r**2 / 2) / r**4`` as a polynomial in ``r**2``, error 2**-43.2."""

_SIN_DOUBLE = (
    -0.16666666666666666,
    0.0083333333333333,
    -0.00019841269841231048,
    2.7557319202302726e-06,
    -2.5052101949936483e-08,
    1.6058004900860635e-10,
    -7.561470163329286e-13,
)
"""As above, error 2**-66.7."""

_COS_DOUBLE = (
    0.041666666666666664,
    -0.0013888888888888874,
    2.4801587301571384e-05,
    -2.7557319215326337e-07,
    2.087675435480525e-09,
    -1.1470291954789554e-11,
    4.7380488637303916e-14,
)
"""As above, error 2**-75.2."""

_HALF_PI = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)
"""pi/2 in parts: 33 bits, 33 bits, the rest."""
_HALF_PI_REST = 6.07710050650619224932e-11
"""pi/2 without the first part."""
_TWO_BY_PI = 0.6366197723675814
_MAGIC = 1.5 * 2.0**52
_HUGE = 2.0**20


def _quadrant(x: Lanes) -> tuple[Lanes, Lanes]:
    """The nearest multiple of pi/2, as a float and as an integer; of a double."""
    moved = x * _TWO_BY_PI + _MAGIC
    return moved - _MAGIC, moved.bits()


def _quarter(r: Lanes, rest: Lanes) -> tuple[Lanes, Lanes]:
    """Sine and cosine of ``r + rest`` for ``|r| <= pi/4`` (fdlibm's ``k_sin.c``, ``k_cos.c``)."""
    z = r * r
    cube = z * r
    p = polynomial(z, _SIN_DOUBLE[1:])
    sine = r - ((z * (rest * 0.5 - cube * p) - rest) - cube * _SIN_DOUBLE[0])
    half = z * 0.5
    main = 1.0 - half
    q = polynomial(z, _COS_DOUBLE) * z
    cosine = main + (((1.0 - main) - half) + (z * q - r * rest))
    return sine, cosine


def _quarter_single(r: Lanes) -> tuple[Lanes, Lanes]:
    z = r * r
    sine = fma(polynomial(z, _SIN_SINGLE) * z, r, r)
    cosine = fma(polynomial(z, _COS_SINGLE), z * z, fma(z, -0.5, 1.0))
    return sine, cosine


def _sine_and_cosine(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Of the rest in its quadrant, and the quadrant's number."""
    if x.is_single:
        wide = x.to("fpext", "double")
        n, quadrant = _quadrant(wide)
        r = fma(n, -_HALF_PI_REST, fma(n, -_HALF_PI[0], wide))
        return *_quarter_single(r.to("fptrunc", "float")), quadrant.to("trunc", "i32")
    n, quadrant = _quadrant(x)
    first = fma(n, -_HALF_PI[0], x)
    second, error = two_sum(first, n * -_HALF_PI[1])
    r, lost = two_sum(second, n * -_HALF_PI[2])
    return *_quarter(r, error + lost), quadrant


def _turned(sine: Lanes, cosine: Lanes, quadrant: Lanes) -> Lanes:
    """The sine in a quadrant: of the four, two swap them and two change the sign."""
    value = select((quadrant & 1).differs(0), cosine, sine)
    sign = (quadrant & 2) << (30 if value.is_single else 62)
    return from_bits(value.bits() ^ sign, value.element)


def _large(x: Lanes, function: str, result: Lanes) -> Lanes:
    """The C library's value for huge angles, and NaN for infinite ones."""
    needed = magnitude(x) >= _HUGE
    if x.is_single:
        wide, made = x.to("fpext", "double"), result.to("fpext", "double")
        return each_lane(wide, function, needed, made).to("fptrunc", "float")
    return each_lane(x, function, needed, result)


def sin(x: Lanes) -> Lanes:
    """The sine."""
    sine, cosine, quadrant = _sine_and_cosine(x)
    result = _turned(sine, cosine, quadrant)
    return _large(x, "sin", select(x.equals(0.0), x, result))


def cos(x: Lanes) -> Lanes:
    """The cosine."""
    sine, cosine, quadrant = _sine_and_cosine(x)
    return _large(x, "cos", _turned(sine, cosine, quadrant + 1))


def tan(x: Lanes) -> Lanes:
    """The tangent, of a double."""
    sine, cosine, quadrant = _sine_and_cosine(x)
    swapped = (quadrant & 1).differs(0)
    result = select(swapped, -cosine, sine) / select(swapped, sine, cosine)
    return _large(x, "tan", select(x.equals(0.0), x, result))
