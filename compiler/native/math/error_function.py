"""The error function, its complement and its inverse."""

from __future__ import annotations

from graphnn.compiler.native.math.exponential import exp_in_range, exp_of_sum
from graphnn.compiler.native.math.lanes import (
    Lanes,
    copysign,
    fma,
    magnitude,
    polynomial,
    select,
    square_root,
    two_product,
)
from graphnn.compiler.native.math.logarithm import log

__all__ = ["erf", "erfc", "erfinv"]

_SINGLE = (
    0.12837916589928067,
    -0.3761262705147692,
    0.11283599132172384,
    -0.02685439622561099,
    0.0051894338732931256,
    -0.0008019863126382945,
    7.885598390448121e-05,
)
"""``erf(x) / x - 1`` as a polynomial in ``x**2`` on [-1, 1], error 2**-29.6."""

_SINGLE_TAIL = (
    0.00020403507161505493,
    -1.12965971138703,
    -0.6330422582564579,
    -0.10863647218868167,
    0.025372272036219577,
    -0.004282107070678919,
    0.0004638165844818706,
    -2.5339172421918298e-05,
    2.5454582310256044e-07,
)
"""``log(erfc(x))`` on [1, 4.1], error 2**-35.7 of 1."""

_DOUBLE = (
    0.1283791670955126,
    -0.37612638903183754,
    0.1128379167095512,
    -0.026866170645129854,
    0.005223977625423431,
    -0.000854832702194314,
    0.00012055332903219336,
    -1.4925647576248728e-05,
    1.6462045597409013e-06,
    -1.6364644043089836e-07,
    1.479241630799425e-08,
    -1.2164636172750852e-09,
    8.709260974921757e-11,
    -4.231202782192174e-12,
)
"""``erf(x) / x - 1`` as a polynomial in ``x**2`` on [-1, 1], error 2**-68.7."""

_SCALED = (
    1.2329951186255526,
    -0.1396211168405625,
    0.015379652102620035,
    0.06809705425469147,
    -0.1010390660363245,
    0.0937328349984008,
    -0.06633036581166615,
    0.037167515536528486,
    -0.01619773406563494,
    0.005031969987419342,
    -0.0007577732229935465,
    -0.00019925674839637542,
    0.0001506213314642473,
    -2.439903116460804e-05,
    -1.1220862930729466e-05,
    5.709362035524697e-06,
    2.9123919862266446e-07,
    -8.250213481865381e-07,
    7.826201816355066e-08,
    1.0992202329234324e-07,
    -2.1038730077894517e-08,
    -1.425260962846934e-08,
    3.2834315498357697e-09,
    1.3825177825389915e-09,
    -2.5702591934361684e-10,
)
"""``(1 + 2 x) exp(x**2) erfc(x)`` in ``q = (x - 4) / (x + 4)`` for ``x`` from 0.46 to 28, error
2**-65.4. The form is that of Shepherd and Laframboise, Math. Comp. 36 (1981)."""

_INVERSE = (
    1.6235420064648298,
    0.2416304041661583,
    -0.005738135221005662,
    -0.0008361817769094098,
    0.00019506132441212394,
    -1.2716422638497238e-05,
    -1.74800209339913e-06,
    4.4998542523744244e-07,
    -2.368872978532865e-08,
    -5.46717889621108e-09,
    1.1107996386168287e-09,
    -3.142554643261302e-11,
    -1.7329423221683926e-11,
    2.698946153109794e-12,
    6.42337639509616e-15,
    -5.292130103570216e-14,
    6.298180318868255e-15,
    2.7211221391951215e-16,
    -1.5781336576271567e-16,
    1.3144334438103602e-17,
    1.6928852496664497e-18,
    -4.1416451911378665e-19,
    4.511357847476175e-21,
    5.3858581788710404e-21,
    -2.7226597641009184e-22,
    -2.0935065392720365e-23,
)
"""``erfinv(x) / x`` in ``w - 3`` for ``w = -log(1 - x**2)`` up to 6.25, error 2**-58.8.
The variable is that of Giles, "Approximating the erfinv function" (2010)."""

_INVERSE_MIDDLE = (
    3.0838856104922208,
    1.0052589676941652,
    0.005370914553555001,
    -0.0037512085082121276,
    0.002491442097961028,
    -0.0016882755359361246,
    0.0009532893414244764,
    -0.00035503780511179683,
    2.4031515556277734e-05,
    6.82870320773305e-05,
    -4.732070615052557e-05,
    1.2465536265512123e-05,
    2.932721903799089e-06,
    -3.987621788142481e-06,
    1.4811014023759184e-06,
    -2.2980091445490868e-08,
    -2.444537618942473e-07,
    1.245025375261658e-07,
    -2.2142601962990967e-08,
    -8.866187111421316e-09,
    8.234316532761326e-09,
    -2.997483513419394e-09,
    2.7448550607469537e-10,
    4.1401844210594405e-10,
    -3.1627582695389194e-10,
    7.475622854901167e-11,
    3.3418086698052374e-11,
    -1.835243411836709e-11,
)
"""The same in ``sqrt(w) - 3.25`` for ``sqrt(w)`` from 2.5 to 4, error 2**-76.0."""

_INVERSE_TAIL = (
    4.849906401408584,
    1.0103004648645448,
    -0.00013871931837974855,
    -0.00021503011979927188,
    7.599527808431795e-05,
    -1.9681771194791258e-05,
    4.526052678110466e-06,
    -9.930255032178737e-07,
    2.2905187061893831e-07,
    -6.757269762861768e-08,
    2.9022064430408503e-08,
    -1.5213786820284187e-08,
    7.813865017524395e-09,
    -3.5339133312934673e-09,
    1.326485908451495e-09,
    -3.810202546800737e-10,
    6.070220732575327e-11,
    1.486542610862119e-11,
    -1.6217501798987546e-11,
    5.850760727560377e-12,
    -8.383114873095115e-13,
)
"""The same in ``sqrt(w) - 5`` for ``sqrt(w)`` from 4 to 6.1, error 2**-61.3."""


def erf(x: Lanes) -> Lanes:
    """The error function."""
    size = magnitude(x)
    square = x * x
    if x.is_single:
        near = fma(polynomial(square, _SINGLE), x, x)
        far = 1.0 - exp_in_range(polynomial(select(size > 4.0, 4.0, size), _SINGLE_TAIL))
    else:
        near = fma(polynomial(square, _DOUBLE), x, x)
        far = 1.0 - _complement(select(size > 7.0, 7.0, size))
    return select(size < 1.0, near, copysign(far, x))


def erfc(x: Lanes) -> Lanes:
    """``1 - erf(x)``, of a double."""
    size = magnitude(x)
    square = x * x
    near = 1.0 - fma(polynomial(square, _DOUBLE), x, x)
    far = _complement(select(size > 28.0, 28.0, size))
    return select(size < 0.5, near, select(x < 0.0, 2.0 - far, far))


def _complement(x: Lanes) -> Lanes:
    """``erfc(x)`` from 0.5 to 28."""
    scaled = polynomial((x - 4.0) / (x + 4.0), _SCALED) / (x + x + 1.0)
    square, error = two_product(x, x)
    return exp_of_sum(-square, -error) * scaled


def erfinv(x: Lanes) -> Lanes:
    """The inverse error function, of a double."""
    size = magnitude(x)
    w = -log((1.0 - size) * (1.0 + size))
    centre = polynomial(select(w > 6.25, 6.25, w) - 3.0, _INVERSE)
    root = square_root(w)
    middle = polynomial(root - 3.25, _INVERSE_MIDDLE)
    tail = polynomial(root - 5.0, _INVERSE_TAIL)
    result = select(w > 6.25, select(w > 16.0, tail, middle), centre) * x
    result = result + 0.0  # at -0 it is 0, as in SciPy
    return select(size.equals(1.0), copysign(x.constant(float("inf")), x), result)
