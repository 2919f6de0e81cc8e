"""Primitives on floats that are exact or rounded once: arithmetic, comparisons, integer parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphnn.compiler.native.math.lanes import (
    Lanes,
    copysign,
    magnitude,
    nearest,
    select,
    square_root,
    truncated,
)

__all__ = ["EXACT", "FLOATS"]

Primitive = Callable[[Sequence[Lanes]], Lanes]


def _compare(predicate: str) -> Primitive:
    def compare(args: Sequence[Lanes]) -> Lanes:
        b = args[0].builder
        return Lanes(b, b.compare(f"fcmp {predicate}", args[0].value, args[1].value))

    return compare


def _extreme(predicate: str) -> Primitive:
    """The first in the order, or a NaN."""

    def extreme(args: Sequence[Lanes]) -> Lanes:
        (x, y), b = args, args[0].builder
        first = Lanes(b, b.compare(f"fcmp {predicate}", x.value, y.value))
        return select(x.is_nan(), x, select(first, x, y))

    return extreme


def _sign(args: Sequence[Lanes]) -> Lanes:
    (x,) = args
    signed = copysign(x.constant(1.0), x)
    return select(x.is_nan(), x, select(x.equals(0.0), 0.0, signed))


def _floor(args: Sequence[Lanes]) -> Lanes:
    (x,) = args
    if x.builder.target.has_fma:
        return x.intrinsic("floor")
    whole = nearest(x)
    return copysign(select(whole > x, whole - 1.0, whole), x)


def _ceil(args: Sequence[Lanes]) -> Lanes:
    return -_floor([-args[0]])


def _remainder(args: Sequence[Lanes]) -> Lanes:
    """C's exact ``fmod``, moved to the sign of the divisor, as NumPy does."""
    return _quotient_and_remainder(args)[1]


def _floor_divide(args: Sequence[Lanes]) -> Lanes:
    return _quotient_and_remainder(args)[0]


def _quotient_and_remainder(args: Sequence[Lanes]) -> tuple[Lanes, Lanes]:
    """What ``npy_divmod`` does, step for step."""
    (x, y), b = args, args[0].builder
    rest = Lanes(b, b.binary("frem", x.value, y.value))
    past = rest.differs(0.0) & ((rest < 0.0) ^ (y < 0.0)) & ~rest.is_nan()
    quotient = (x - rest) / y
    quotient = select(past, quotient - 1.0, quotient)
    down = _floor([quotient])
    down = select(quotient - down > 0.5, down + 1.0, down)
    ratio = x / y
    down = select(quotient.equals(0.0), copysign(x.constant(0.0), ratio), down)
    by_zero = y.equals(0.0)
    moved = select(past, rest + y, rest)
    signed = select(rest.equals(0.0), copysign(x.constant(0.0), y), moved)
    return select(by_zero, ratio, down), select(by_zero, rest, signed)


def _arithmetic(op: str) -> Primitive:
    def arithmetic(args: Sequence[Lanes]) -> Lanes:
        b = args[0].builder
        return Lanes(b, b.binary(op, args[0].value, args[1].value))

    return arithmetic


def _is_finite(args: Sequence[Lanes]) -> Lanes:
    return magnitude(args[0]) < float("inf")


def _is_nan(args: Sequence[Lanes]) -> Lanes:
    return args[0].is_nan()


def _is_inf(args: Sequence[Lanes]) -> Lanes:
    return magnitude(args[0]).equals(float("inf"))


FLOATS: dict[str, Primitive] = {
    "less": _compare("olt"),
    "less_equal": _compare("ole"),
    "greater": _compare("ogt"),
    "greater_equal": _compare("oge"),
    "equal": _compare("oeq"),
    "not_equal": _compare("une"),
    "isnan": _is_nan,
    "isinf": _is_inf,
    "isfinite": _is_finite,
    "add": _arithmetic("fadd"),
    "subtract": _arithmetic("fsub"),
    "multiply": _arithmetic("fmul"),
    "divide": _arithmetic("fdiv"),
    "negative": lambda args: -args[0],
    "abs": lambda args: magnitude(args[0]),
    "sign": _sign,
    "maximum": _extreme("ogt"),
    "minimum": _extreme("olt"),
    "floor_divide": _floor_divide,
    "mod": _remainder,
    "sqrt": lambda args: square_root(args[0]),
    "floor": _floor,
    "ceil": _ceil,
    "round": lambda args: nearest(args[0]),
    "trunc": lambda args: truncated(args[0]),
}
"""By name."""

EXACT = frozenset(
    ["negative", "abs", "sign", "maximum", "minimum", "floor", "ceil", "round", "trunc"]
)
"""Those whose result is a half float if their operands are."""
