"""The logarithm of the gamma function and its derivative, of doubles."""

from __future__ import annotations

import math

from graphnn.compiler.native.math.lanes import (
    Lanes,
    fma,
    magnitude,
    nearest,
    polynomial,
    select,
)
from graphnn.compiler.native.math.logarithm import log
from graphnn.compiler.native.math.trigonometric import cos, sin

__all__ = ["digamma", "lgamma"]

_LGAMMA = (
    0.4831289505409809,
    -0.14595989591430608,
    0.06291140107456487,
    -0.0313084875010112,
    0.016797098631195603,
    -0.009425622448455628,
    0.005446457844061741,
    -0.0032120740776074197,
    0.00192291615453912,
    -0.001164414469078816,
    0.0007115220109847133,
    -0.0004379951195374594,
    0.00027127984498424775,
    -0.000168895121889336,
    0.00010560331344078618,
    -6.630276143085518e-05,
    4.187881289438023e-05,
    -2.647576935502976e-05,
    1.6385377594143496e-05,
    -1.0297646298641557e-05,
    7.510388029354576e-06,
    -5.206708561198561e-06,
    1.8186175530859381e-06,
    -3.0629217046485174e-07,
    1.591066608075294e-06,
    -1.977209778214643e-06,
    6.993579475169938e-07,
)
"""``lgamma(x) / ((x - 1) (x - 2))`` in ``x - 1.5`` for ``x`` from 0.9 to 2.2, error 2**-62.5."""

_STIRLING = (
    0.08333333333333333,
    -0.002777777777777705,
    0.0007936507935468775,
    -0.000595238038607833,
    0.0008417356234374356,
    -0.0019152880571577952,
    0.006224660839844274,
    -0.02118718162242203,
)
"""``x (lgamma(x) - (x - 1/2) (log(x) - 1) - (log(2 pi) - 1) / 2)`` as a polynomial in ``x**-2`` for
``x`` from 8.2, error 2**-66.7."""

_DIGAMMA = (
    0.9676722454476212,
    -0.4427631689835921,
    0.2584997609556484,
    -0.1639427054424081,
    0.1078240506917215,
    -0.07219956125648293,
    0.048804288132741486,
    -0.033161126461118136,
    0.02259764933242703,
    -0.015424766693764923,
    0.01053876919947959,
    -0.007204513017516502,
    0.004927064193688298,
    -0.0033701324907922507,
    0.002302867060204931,
    -0.0015738059989672745,
    0.0010900854196812322,
    -0.0007564216781755164,
    0.00047245237402445675,
    -0.000281131343169696,
    0.0002782647848047308,
    -0.0002814084963099628,
    0.00012151858075205316,
)
"""``digamma(x) / (x - root)`` in ``x - root`` for ``x`` from 1 to 2, error 2**-58.4."""

_DIGAMMA_TAIL = (
    0.08333333333333333,
    -0.008333333333328958,
    0.00396825396125375,
    -0.004166662458901397,
    0.007574548049431398,
    -0.020912671027129025,
    0.06971395916936725,
)
"""``x**2 (log(x) - 1 / (2 x) - digamma(x))`` as a polynomial in ``x**-2`` for ``x`` from 10, error
2**-61.0."""

_ROOT = (1.4616321449683622, 9.549995429965697e-17)
"""Where digamma is zero, as a sum of two."""

_STIRLING_CONSTANT = 0.5 * (math.log(2.0 * math.pi) - 1.0)
_FROM_STIRLING = 8.2
_FROM_TAIL = 10.0


def lgamma(x: Lanes) -> Lanes:
    """The logarithm of the absolute value of the gamma function.

    Of positive numbers: near its zeros a polynomial, up to 8 by the recurrence, from there on by
    Stirling's series. Of negative ones by reflection; between them the error is absolute.
    """
    size = magnitude(x)
    above = _lgamma_positive(size)
    sine = _sine_of_pi(size)
    reflected = -log(magnitude(size * sine) * (1.0 / math.pi)) - above
    result = select((x < 0.0) & (size > 2.0**-60), reflected, above)
    is_pole = (x <= 0.0) & nearest(x).equals(x)
    return select(is_pole | size.equals(float("inf")), float("inf"), result)


def _lgamma_positive(x: Lanes) -> Lanes:
    below = x < 0.9
    y, product = select(below, x + 1.0, x), select(below, x, 1.0)
    for _ in range(7):
        is_large = (y > 2.2) & (x < _FROM_STIRLING)
        down = y - 1.0
        product = select(is_large, product * down, product)
        y = select(is_large, down, y)
    inside = select(y > 2.3, 1.0, y)
    near = polynomial(inside - 1.5, _LGAMMA) * ((inside - 1.0) * (inside - 2.0))
    is_large = x >= _FROM_STIRLING
    logarithm = log(select(is_large, x, product))
    near = near + select(below, -logarithm, logarithm)
    inverse = 1.0 / x
    series = polynomial(inverse * inverse, _STIRLING) * inverse
    far = fma(x - 0.5, logarithm - 1.0, series + _STIRLING_CONSTANT)
    return select(is_large, far, near)


def _sine_of_pi(x: Lanes) -> Lanes:
    return sin((x - nearest(x)) * math.pi)


def digamma(x: Lanes) -> Lanes:
    """The derivative of `lgamma`, by the same means."""
    size = magnitude(x)
    negative = x < 0.0
    argument = select(negative, 1.0 + size, x)
    above = _digamma_positive(argument)
    turn = (size - nearest(size)) * math.pi
    reflected = above + math.pi * cos(turn) / sin(turn)
    result = select(negative, reflected, above)
    result = select(negative & nearest(x).equals(x), float("nan"), result)
    return select(x.equals(0.0), -(1.0 / x), result)


def _digamma_positive(x: Lanes) -> Lanes:
    """The sum of ``1 / (x - j)`` that the recurrence adds is kept as one fraction."""
    below = x < 1.0
    y = select(below, x + 1.0, x)
    above, under = select(below, x.constant(-1.0), 0.0), select(below, x, 1.0)
    for _ in range(8):
        is_large = (y > 2.0) & (x < _FROM_TAIL)
        down = y - 1.0
        above = select(is_large, above * down + under, above)
        under = select(is_large, under * down, under)
        y = select(is_large, down, y)
    inside = select(y > 2.5, 1.0, y)
    offset = (inside - _ROOT[0]) - _ROOT[1]
    near = polynomial(inside - _ROOT[0], _DIGAMMA) * offset + above / under
    inverse = 1.0 / x
    square = inverse * inverse
    far = log(x) - (inverse * 0.5 + polynomial(square, _DIGAMMA_TAIL) * square)
    return select(x >= _FROM_TAIL, far, near)
