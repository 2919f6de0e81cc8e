"""Special functions in decimal arithmetic, from their series: independent of every library."""

import decimal
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import comb

_DIGITS = 60


@cache
def pi(digits):
    """By Machin's formula."""
    with decimal.localcontext(prec=digits + 10):
        return 4 * (4 * _arctan_of_inverse(5) - _arctan_of_inverse(239))


def _arctan_of_inverse(n):
    power, total, k = Decimal(1) / n, Decimal(0), 0
    while abs(power) > Decimal(10) ** -decimal.getcontext().prec:
        total += power / (2 * k + 1)
        power, k = -power / (n * n), k + 1
    return total


def erf(x, extra=0):
    """``2 / sqrt(pi) exp(-x**2) sum 2**n x**(2n+1) / (2n+1)!!``: all terms have one sign."""
    digits = _DIGITS + extra
    with decimal.localcontext(prec=digits):
        x = Decimal(x)
        term, total, n = x, x, 0
        while abs(term) > abs(total) * Decimal(10) ** -digits:
            n += 1
            term *= 2 * x * x / (2 * n + 1)
            total += term
        return 2 * total * (-x * x).exp() / pi(digits).sqrt()


def erfc(x):
    """With as many digits more as the difference loses."""
    extra = int(x * x / 2) + 10
    with decimal.localcontext(prec=_DIGITS + extra):
        return 1 - erf(x, extra)


def erfinv_error(y, x):
    """How far ``y`` is from ``erfinv(x)``: by the slope of erf there."""
    with decimal.localcontext(prec=_DIGITS):
        y, x = Decimal(y), Decimal(x)
        return (erf(y) - x) * pi(_DIGITS).sqrt() / 2 * (y * y).exp()


@cache
def _bernoulli(n):
    if n == 0:
        return Fraction(1)
    return -sum(comb(n + 1, k) * _bernoulli(k) for k in range(n)) / (n + 1)


def _decimal(fraction):
    return Decimal(fraction.numerator) / fraction.denominator


def lgamma(x):
    """Stirling's series behind the recurrence, for positive ``x``."""
    with decimal.localcontext(prec=_DIGITS):
        y, product = Decimal(x), Decimal(1)
        while y < 50:
            product, y = product * y, y + 1
        total = (y - Decimal("0.5")) * y.ln() - y + (2 * pi(_DIGITS)).ln() / 2
        for k in range(1, 25):
            total += _decimal(_bernoulli(2 * k)) / (2 * k * (2 * k - 1) * y ** (2 * k - 1))
        return total - product.ln()


def digamma(x):
    """The derivative of that."""
    with decimal.localcontext(prec=_DIGITS):
        y, total = Decimal(x), Decimal(0)
        while y < 50:
            total, y = total - 1 / y, y + 1
        total += y.ln() - 1 / (2 * y)
        for k in range(1, 25):
            total -= _decimal(_bernoulli(2 * k)) / (2 * k * y ** (2 * k))
        return total
