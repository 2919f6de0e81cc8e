"""Conversions between dtypes, as NumPy makes them on x86.

A float becomes an integer by truncation. What int32 (int64, for int64) cannot hold, NaN as well,
becomes the least int32 (int64); narrower integers take the last bits of the int32. Integers wrap
around. Anything but zero, NaN as well, is True.
"""

from __future__ import annotations

from graphnn.compiler.native.builder import Builder, V, element_of
from graphnn.compiler.native.math.lanes import Lanes, from_bits, magnitude, select
from graphnn.compiler.native.storage import HALVES, register_type, rounded

__all__ = ["cast"]

_UNSIGNED = frozenset({"bool", "uint8"})
_WIDTH = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def cast(b: Builder, result: str, x: V, dtype: str) -> V:
    """A value of one real dtype as another."""
    if result == dtype:
        return x
    of, to = element_of(x.type), register_type(result)
    if result == "bool":
        return _truth(b, x)
    if of in _WIDTH:
        return _from_integer(b, result, x, dtype)
    if to in _WIDTH:
        return _to_integer(Lanes(b, x), to).value
    if of == "float" and to == "double":
        return b.cast("fpext", x, "double")
    if of == "double" and to == "float":
        wide = Lanes(b, x)
        x = (_to_odd(wide) if result == "float16" else wide.to("fptrunc", "float")).value
    return rounded(b, result, x)


def _truth(b: Builder, x: V) -> V:
    if element_of(x.type) in _WIDTH:
        return b.compare("icmp ne", x, b.integer(0, x.type))
    return b.compare("fcmp une", x, b.real(0.0, x.type))


def _from_integer(b: Builder, result: str, x: V, dtype: str) -> V:
    of, to = element_of(x.type), register_type(result)
    is_unsigned = dtype in _UNSIGNED
    if to not in _WIDTH:
        made = b.cast("uitofp" if is_unsigned else "sitofp", x, to)
        return rounded(b, result, made) if result in HALVES else made
    if _WIDTH[to] <= _WIDTH[of]:
        return b.cast("trunc", x, to)
    return b.cast("zext" if is_unsigned else "sext", x, to)


def _to_integer(x: Lanes, to: str) -> Lanes:
    """LLVM's conversion is undefined out of range, so nothing is out of range."""
    through = "i64" if to == "i64" else "i32"
    low = -(2.0 ** (_WIDTH[through] - 1))
    made = select((x >= low) & (x < -low), x, low).to("fptosi", through)
    return made if through == to else made.to("trunc", to)


def _to_odd(x: Lanes) -> Lanes:
    """A double as a float whose last bit tells that something was lost ("round to odd").

    Rounded once more, to float16, it gives what the double itself would have.
    """
    near = x.to("fptrunc", "float")
    back = near.to("fpext", "double")
    bits = near.bits()
    beyond = (magnitude(back) > magnitude(x)).to("zext", "i32")
    lost = (back.differs(x) & (magnitude(x) < float("inf"))).to("zext", "i32")
    odd = from_bits((bits - beyond) | lost, "float")
    return select(x.is_nan(), near, odd)
