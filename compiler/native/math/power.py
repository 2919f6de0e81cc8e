"""Powers and roots: power, cbrt, hypot."""

from __future__ import annotations

from graphnn.compiler.native.math.exponential import exp, exp_of_sum
from graphnn.compiler.native.math.lanes import (
    Lanes,
    copysign,
    fma,
    from_bits,
    magnitude,
    nearest,
    select,
    square_root,
    two_product,
)
from graphnn.compiler.native.math.logarithm import log, log_in_two

__all__ = ["cbrt", "hypot", "power"]

_CBRT = (
    1.87595182427177009643,
    -1.88497979543377169875,
    1.621429720105354466140,
    -0.758397934778766047437,
    0.145996192886612446982,
)
"""FreeBSD's ``s_cbrt.c``: ``1 / cbrt(r)`` near 1."""


def power(x: Lanes, y: Lanes) -> Lanes:
    """``x**y`` with all the cases of C's ``pow``.

    ``exp(y log |x|)``: in double for float, with a logarithm in two doubles for double.
    """
    if x.is_single:
        wide_x, wide_y = x.to("fpext", "double"), y.to("fpext", "double")
        result = exp(_limited(wide_y) * log(magnitude(wide_x)))
        return _cases(wide_x, wide_y, result).to("fptrunc", "float")
    limited = _limited(y)
    high, low = log_in_two(magnitude(x))
    product, error = two_product(limited, high)
    error = select(magnitude(product) < 800.0, fma(limited, low, error), 0.0)
    return _cases(x, y, exp_of_sum(product, error))


def _limited(y: Lanes) -> Lanes:
    """From 2**70 on every power but those of 1 and -1 is 0 or inf; theirs must not be NaN."""
    return select(y > 2.0**70, 2.0**70, select(y < -(2.0**70), -(2.0**70), y))


def _cases(x: Lanes, y: Lanes, result: Lanes) -> Lanes:
    """The sign of an odd power; NaN of a negative number; 1 if the base is 1 or the power 0."""
    is_integer = nearest(y).equals(y)
    half = y * 0.5
    is_odd = is_integer & nearest(half).differs(half)
    signed = select(is_odd, copysign(result, x), result)
    undefined = (x < 0.0) & (x > float("-inf")) & ~is_integer & ~y.is_nan()
    made = select(undefined, float("nan"), signed)
    return select(y.equals(0.0) | x.equals(1.0), 1.0, made)


def cbrt(x: Lanes) -> Lanes:
    """The cube root: a third of the exponent, a polynomial, one step of Newton (FreeBSD)."""
    size = magnitude(x)
    is_small = size < 2.0**-1022
    scaled = select(is_small, size * 2.0**54, size)
    high = (scaled.bits() >> 32).to("trunc", "i32")
    b = x.builder
    third = Lanes(b, b.binary("udiv", high.value, high.constant(3).value)) + 715094163
    t = from_bits(third.to("zext", "i64") << 32, "double")
    r = (t * t) * (t / scaled)
    p0, p1, p2, p3, p4 = _CBRT
    t = t * (fma(fma(r, p2, p1), r, p0) + (r * r * r) * fma(r, p4, p3))
    t = from_bits((t.bits() + 0x80000000) & -0x40000000, "double")
    quotient = scaled / (t * t)
    t = t + t * ((quotient - t) / (t + t + quotient))
    t = select(is_small, t * 2.0**-18, t)
    return select((size > 0.0) & (size < float("inf")), copysign(t, x), x)


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """``sqrt(x**2 + y**2)`` without overflow; inf if either is, even beside NaN."""
    a, b = magnitude(x), magnitude(y)
    large = select(a > b, a, b)
    is_inf = a.equals(float("inf")) | b.equals(float("inf"))
    down, up = large > 2.0**500, large < 2.0**-450
    scale = select(down, 2.0**-600, select(up, a.constant(2.0**600), 1.0))
    back = select(down, 2.0**600, select(up, a.constant(2.0**-600), 1.0))
    a, b = a * scale, b * scale
    (a_square, a_error), (b_square, b_error) = two_product(a, a), two_product(b, b)
    root = square_root(a_square + b_square)
    square, error = two_product(root, root)
    first, second = select(a > b, a_square, b_square), select(a > b, b_square, a_square)
    left = ((first - square) + second) + ((a_error + b_error) - error)
    result = (root + left / (root + root + 2.0**-1000)) * back
    return select(is_inf, float("inf"), result)
