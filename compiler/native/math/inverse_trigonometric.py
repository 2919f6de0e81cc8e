"""Arcsine, arccosine, arctangent, of doubles."""

from __future__ import annotations

from graphnn.compiler.native.math.lanes import (
    Lanes,
    copysign,
    fma,
    horner,
    magnitude,
    polynomial,
    select,
    square_root,
    two_product,
)

__all__ = ["arccos", "arcsin", "arctan", "arctan2"]

_ATAN = (
    -0.33333333333333287,
    0.1999999999999052,
    -0.1428571428504065,
    0.11111111086561239,
    -0.09090908549210565,
    0.07692299734022923,
    -0.0666658390050102,
    0.05881717190915883,
    -0.05259438333825493,
    0.04744941381844316,
    -0.04286430725041848,
    0.03821087637358285,
    -0.03278673078841041,
    0.02615330365861585,
    -0.01861580284260457,
    0.011318859056467932,
    -0.005613071885397179,
    0.0021518689260687754,
    -0.0005929716954724127,
    0.00010388514954440653,
    -8.65521876714173e-06,
)
"""``(atan(q) - q) / q**3`` as a polynomial in ``q**2`` on [0, 1], error 2**-60.2 of ``atan(q)``."""

_ASIN = (
    0.16666666666666763,
    0.07499999999970108,
    0.04464285717527735,
    0.03038194267565849,
    0.022372215896116477,
    0.01735159566265727,
    0.013981016722002379,
    0.01139730692294753,
    0.010789248198068485,
    0.003672444215662866,
    0.021790053113142815,
    -0.021115926020541742,
    0.03270169329673542,
)
"""``(asin(x) - x) / x**3`` as a polynomial in ``x**2`` on [0, 1/4], error 2**-59.8 of ``x``."""

_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
"""pi/2 as a sum of two."""


def _ratio(small: Lanes, large: Lanes) -> tuple[Lanes, Lanes]:
    """The quotient of two numbers, at most 1, as a sum of two."""
    q = small / large
    product, error = two_product(q, large)
    rest = ((small - product) - error) / large
    in_range = (large < 2.0**900) & (large > 2.0**-900)  # elsewhere the products are not exact
    return q, select(in_range, rest, 0.0)


def arctan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of a point: an octant's arctangent, turned and mirrored."""
    height, width = magnitude(y), magnitude(x)
    steep = height > width
    small, large = select(steep, width, height), select(steep, height, width)
    both = height.equals(float("inf")) & width.equals(float("inf"))
    small, large = select(both, 1.0, small), select(both, 1.0, large)
    q, rest = _ratio(small, select(large.equals(0.0), 1.0, large))
    z = q * q
    left = x.bits() < 0
    away = steep ^ left  # the octant's angle is taken from a multiple of pi/2, not added
    tail = fma(horner(z, _ATAN) * z, q, rest)
    q, tail = select(away, -q, q), select(away, -tail, tail)
    turns = select(steep, x.constant(1.0), select(left, x.constant(2.0), 0.0))
    base, base_low = turns * _HALF_PI[0], turns * _HALF_PI[1]
    total = base + q
    lost = (base - total) + q
    angle = total + (lost + (base_low + tail))
    result = copysign(select(q.equals(0.0) & ~steep & ~left, q, angle), y)
    return select(x.is_nan() | y.is_nan(), float("nan"), result)


def arctan(x: Lanes) -> Lanes:
    """The arctangent."""
    return arctan2(x, x.constant(1.0))


def _half_angle(size: Lanes) -> tuple[Lanes, Lanes]:
    """``arcsin(sqrt((1 - size) / 2))`` as a sum of two: half of ``arccos(size)``."""
    z = (1.0 - size) * 0.5
    s = square_root(z)
    product, error = two_product(s, s)
    lost = ((z - product) - error) / (s + s + 2.0**-1000)
    return s, fma(polynomial(z, _ASIN) * z, s, lost)


def arcsin(x: Lanes) -> Lanes:
    """The arcsine: near 1 by the half angle."""
    size = magnitude(x)
    z = size * size
    near = fma(polynomial(z, _ASIN) * z, size, size)
    s, rest = _half_angle(size)
    total = _HALF_PI[0] - (s + s)
    lost = (_HALF_PI[0] - total) - (s + s)
    far = total + (lost + (_HALF_PI[1] - (rest + rest)))
    return copysign(select(size <= 0.5, near, far), x)


def arccos(x: Lanes) -> Lanes:
    """The arccosine: away from 0 by the half angle."""
    size = magnitude(x)
    z = x * x
    middle = _HALF_PI[0] - (x - (_HALF_PI[1] - polynomial(z, _ASIN) * z * x))
    s, rest = _half_angle(size)
    right = (s + rest) * 2.0
    left = (_HALF_PI[0] - (s + (rest - _HALF_PI[1]))) * 2.0
    return select(size <= 0.5, middle, select(x < 0.0, left, right))
