"""The functions by name, with their stated errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphnn.compiler.native.math.error_function import erf, erfc, erfinv
from graphnn.compiler.native.math.exponential import exp, exp2, expm1
from graphnn.compiler.native.math.gamma import digamma, lgamma
from graphnn.compiler.native.math.hyperbolic import arccosh, arcsinh, arctanh, cosh, sinh, tanh
from graphnn.compiler.native.math.inverse_trigonometric import arccos, arcsin, arctan, arctan2
from graphnn.compiler.native.math.lanes import Lanes
from graphnn.compiler.native.math.logarithm import log, log1p, log2, log10
from graphnn.compiler.native.math.power import cbrt, hypot, power
from graphnn.compiler.native.math.trigonometric import cos, sin, tan

__all__ = ["FUNCTIONS", "Function"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of floats.

    Attributes
    ----------
    code : callable
        Prints it for arguments of float or double.
    ulp32, ulp64 : float
        Largest errors in units of the last place.
    """

    code: Callable[[Sequence[Lanes]], Lanes]
    ulp32: float
    ulp64: float


def _native(function: Callable[..., Lanes]) -> Callable[[Sequence[Lanes]], Lanes]:
    """In the precision of the arguments."""
    return lambda args: function(*args)


def _scaled_log(factor: float, of_double: Callable[[Lanes], Lanes]) -> Callable[..., Lanes]:
    """A logarithm to another base: of a float, that of a double times a factor."""

    def call(x: Lanes) -> Lanes:
        if not x.is_single:
            return of_double(x)
        return (log(x.to("fpext", "double")) * factor).to("fptrunc", "float")

    return call


def _in_double(function: Callable[..., Lanes]) -> Callable[[Sequence[Lanes]], Lanes]:
    """Always in double: a float's result is that one, rounded."""

    def call(args: Sequence[Lanes]) -> Lanes:
        made: Lanes = function(*(each.to("fpext", "double") for each in args))
        return made.to("fptrunc", args[0].element)

    return lambda args: call(args) if args[0].is_single else function(*args)


FUNCTIONS: dict[str, Function] = {
    "exp": Function(_native(exp), 1.5, 1.5),
    "exp2": Function(_native(exp2), 1.5, 1.5),
    "expm1": Function(_native(expm1), 2.0, 2.0),
    "log": Function(_native(log), 1.0, 1.0),
    "log1p": Function(_native(log1p), 1.5, 1.0),
    "log2": Function(_native(_scaled_log(1.0 / math.log(2.0), log2)), 0.6, 0.6),
    "log10": Function(_native(_scaled_log(1.0 / math.log(10.0), log10)), 0.6, 0.6),
    "power": Function(_native(power), 0.6, 1.5),
    "cbrt": Function(_in_double(cbrt), 0.6, 0.7),
    "hypot": Function(_in_double(hypot), 0.6, 0.6),
    "erf": Function(_native(erf), 2.0, 1.5),
    "erfc": Function(_in_double(erfc), 0.6, 4.0),
    "erfinv": Function(_in_double(erfinv), 0.6, 4.0),
    "lgamma": Function(_in_double(lgamma), 0.6, 5.0),
    "digamma": Function(_in_double(digamma), 0.6, 5.0),
    "sin": Function(_native(sin), 2.0, 1.0),
    "cos": Function(_native(cos), 2.0, 1.0),
    "tan": Function(_in_double(tan), 0.6, 2.5),
    "arcsin": Function(_in_double(arcsin), 0.6, 1.0),
    "arccos": Function(_in_double(arccos), 0.6, 1.0),
    "arctan": Function(_in_double(arctan), 0.6, 1.5),
    "arctan2": Function(_in_double(arctan2), 0.6, 1.5),
    "sinh": Function(_in_double(sinh), 0.6, 2.5),
    "cosh": Function(_in_double(cosh), 0.6, 2.0),
    "tanh": Function(_native(tanh), 2.0, 2.0),
    "arcsinh": Function(_in_double(arcsinh), 0.6, 2.0),
    "arccosh": Function(_in_double(arccosh), 0.6, 3.0),
    "arctanh": Function(_in_double(arctanh), 0.6, 2.0),
}
"""By the operator's name."""
