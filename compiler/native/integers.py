"""Primitives on integers and bools, with NumPy's conventions for what the processor refuses.

Division by zero gives 0, the least integer divided by -1 itself; a shift by more bits than there
are, or by a negative number of them, shifts everything out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphnn.compiler.native.math.lanes import Lanes, select

__all__ = ["INTEGERS"]

_WIDTH = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def _is_unsigned(dtype: str) -> bool:
    """Whether comparisons and divisions are unsigned."""
    return dtype in ("bool", "uint8")


def _compare(predicate: str) -> Callable[[Sequence[Lanes], str], Lanes]:
    def compare(args: Sequence[Lanes], dtype: str) -> Lanes:
        sign = "" if predicate in ("eq", "ne") else "u" if _is_unsigned(dtype) else "s"
        b = args[0].builder
        return Lanes(b, b.compare(f"icmp {sign}{predicate}", args[0].value, args[1].value))

    return compare


def _binary(op: str, of_bools: str = "") -> Callable[[Sequence[Lanes], str], Lanes]:
    def binary(args: Sequence[Lanes], dtype: str) -> Lanes:
        b = args[0].builder
        name = of_bools if dtype == "bool" and of_bools else op
        return Lanes(b, b.binary(name, args[0].value, args[1].value))

    return binary


def _extreme(word: str) -> Callable[[Sequence[Lanes], str], Lanes]:
    def extreme(args: Sequence[Lanes], dtype: str) -> Lanes:
        if dtype == "bool":
            return args[0] | args[1] if word == "max" else args[0] & args[1]
        return args[0].intrinsic(("u" if _is_unsigned(dtype) else "s") + word, args[1])

    return extreme


def _absolute(args: Sequence[Lanes], dtype: str) -> Lanes:
    (x,) = args
    return x if _is_unsigned(dtype) else select(x < 0, -x, x)


def _sign(args: Sequence[Lanes], dtype: str) -> Lanes:
    (x,) = args
    positive = x.differs(0) if _is_unsigned(dtype) else x > 0
    one = positive.to("zext", x.element)
    return one if _is_unsigned(dtype) else one | (x >> (_WIDTH[x.element] - 1))


def _shift(op: str) -> Callable[[Sequence[Lanes], str], Lanes]:
    def shift(args: Sequence[Lanes], dtype: str) -> Lanes:
        (x, count), b = args, args[0].builder
        width = _WIDTH[x.element]
        inside = Lanes(b, b.compare("icmp ult", count.value, count.constant(width).value))
        instruction = "lshr" if op == "ashr" and _is_unsigned(dtype) else op
        last = width - 1 if instruction == "ashr" else 0  # the sign stays, or nothing does
        moved = Lanes(b, b.binary(instruction, x.value, select(inside, count, last).value))
        return moved if instruction == "ashr" else select(inside, moved, 0)

    return shift


def _divide(args: Sequence[Lanes], dtype: str) -> Lanes:
    return _quotient_and_remainder(args, dtype)[0]


def _remainder(args: Sequence[Lanes], dtype: str) -> Lanes:
    return _quotient_and_remainder(args, dtype)[1]


def _quotient_and_remainder(args: Sequence[Lanes], dtype: str) -> tuple[Lanes, Lanes]:
    """Rounded down; by 1 instead of 0 and -1, which would trap."""
    (x, y), b = args, args[0].builder
    by_zero = y.equals(0)
    if _is_unsigned(dtype):
        safe = select(by_zero, 1, y)
        quotient = Lanes(b, b.binary("udiv", x.value, safe.value))
        return select(by_zero, 0, quotient), select(by_zero, 0, x - quotient * safe)
    by_minus_one = y.equals(-1)
    safe = select(by_zero | by_minus_one, 1, y)
    quotient = Lanes(b, b.binary("sdiv", x.value, safe.value))
    remainder = x - quotient * safe
    past = remainder.differs(0) & ((remainder ^ safe) < 0)
    quotient = select(past, quotient - 1, quotient)
    remainder = select(past, remainder + safe, remainder)
    quotient = select(by_zero, 0, select(by_minus_one, -x, quotient))
    return quotient, select(by_zero, 0, remainder)


def _same(args: Sequence[Lanes], dtype: str) -> Lanes:
    return args[0]


INTEGERS: dict[str, Callable[[Sequence[Lanes], str], Lanes]] = {
    "less": _compare("lt"),
    "less_equal": _compare("le"),
    "greater": _compare("gt"),
    "greater_equal": _compare("ge"),
    "equal": _compare("eq"),
    "not_equal": _compare("ne"),
    "logical_and": _binary("and"),
    "logical_or": _binary("or"),
    "logical_xor": _binary("xor"),
    "logical_not": lambda args, dtype: ~args[0],
    "bitwise_and": _binary("and"),
    "bitwise_or": _binary("or"),
    "bitwise_xor": _binary("xor"),
    "bitwise_not": lambda args, dtype: ~args[0],
    "left_shift": _shift("shl"),
    "right_shift": _shift("ashr"),
    "add": _binary("add", of_bools="or"),
    "subtract": _binary("sub"),
    "multiply": _binary("mul", of_bools="and"),
    "negative": lambda args, dtype: -args[0],
    "abs": _absolute,
    "sign": _sign,
    "maximum": _extreme("max"),
    "minimum": _extreme("min"),
    "floor_divide": _divide,
    "mod": _remainder,
    "floor": _same,
    "ceil": _same,
    "round": _same,
    "trunc": _same,
}
"""By name; which of them take bools is up to the operators."""
