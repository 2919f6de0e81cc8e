"""How dtypes lie in registers and in memory, and the half floats' way between both.

Half floats are held as ``float``, rounded to what they can represent. Where the processor converts
(x86 with F16C, which all have that fuse multiplication and addition; ARM) float16 takes its
instructions, else integer arithmetic; bfloat16 always takes integers.
"""

from __future__ import annotations

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.math.lanes import Lanes, from_bits, magnitude, select

__all__ = ["HALVES", "from_storage", "register_type", "rounded", "storage_type", "to_storage"]

HALVES = frozenset({"float16", "bfloat16"})
_REGISTERS = {
    "bool": "i1",
    "int8": "i8",
    "uint8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "double",
}
_STORED = {**_REGISTERS, "bool": "i8", "float16": "i16", "bfloat16": "i16"}


def register_type(dtype: str) -> str:
    """LLVM's type of one element while it is computed with."""
    return _REGISTERS[dtype]


def storage_type(dtype: str) -> str:
    """LLVM's type of one element in memory."""
    return _STORED[dtype]


def from_storage(b: Builder, dtype: str, stored: V) -> V:
    """What was loaded, as it is computed with."""
    if dtype == "bool":
        return b.compare("icmp ne", stored, b.integer(0, stored.type))
    if dtype == "float16":
        if b.target.has_fma:
            return b.cast("fpext", b.cast("bitcast", stored, "half"), "float")
        return _widen_half(Lanes(b, stored)).value
    if dtype == "bfloat16":
        wide = Lanes(b, stored).to("zext", "i32") << 16
        return from_bits(wide, "float").value
    return stored


def to_storage(b: Builder, dtype: str, value: V) -> V:
    """What was computed, as it is stored; a half float has been rounded already or is so now."""
    if dtype == "bool":
        return b.cast("zext", value, "i8")
    if dtype == "float16":
        if b.target.has_fma:
            return b.cast("bitcast", b.cast("fptrunc", value, "half"), "i16")
        return _narrow_half(_round_float16(Lanes(b, value))).value
    if dtype == "bfloat16":
        bits = _round_bfloat16(Lanes(b, value)).bits()
        high = b.binary("lshr", bits.value, b.integer(16, bits.value.type))
        return b.cast("trunc", high, "i16")
    return value


def rounded(b: Builder, dtype: str, value: V) -> V:
    """A ``float`` rounded to a half float, to the nearest and halves to the even; others as is."""
    if dtype == "float16":
        if b.target.has_fma:
            return b.cast("fpext", b.cast("fptrunc", value, "half"), "float")
        return _round_float16(Lanes(b, value)).value
    if dtype == "bfloat16":
        return _round_bfloat16(Lanes(b, value)).value
    return value


def _drop_bits(bits: Lanes, count: int) -> Lanes:
    """Float bits without the last ones of the fraction, rounded; a carry moves the exponent."""
    is_odd = (bits >> count) & 1
    return (bits + is_odd + ((1 << (count - 1)) - 1)) & -(1 << count)


def _round_bfloat16(x: Lanes) -> Lanes:
    quiet = x.bits() | 0x400000  # stays NaN when the last 16 bits are cut off
    return from_bits(select(x.is_nan(), quiet, _drop_bits(x.bits(), 16)), "float")


def _round_float16(x: Lanes) -> Lanes:
    size = magnitude(x)
    normal = from_bits(_drop_bits(size.bits(), 13), "float")
    normal = select(normal > 65504.0, float("inf"), normal)
    small = (size + 0.5) - 0.5  # the last bit of 0.5 is the smallest float16
    made = select(size < 2.0**-14, small, normal)
    return select(x.is_nan(), x, made.intrinsic("copysign", x))


def _widen_half(stored: Lanes) -> Lanes:
    """The bits of a float16, moved into place and scaled by the exponents' difference."""
    wide = stored.to("zext", "i32")
    moved = (wide & 0x7FFF) << 13
    scaled = (from_bits(moved, "float") * 2.0**112).bits()
    scaled = select(moved >= 0x7C00 << 13, moved | 0x7F800000, scaled)
    return from_bits(scaled | ((wide & 0x8000) << 16), "float")


def _narrow_half(x: Lanes) -> Lanes:
    """The bits of a float that is a float16 already."""
    size, sign = magnitude(x), (x.bits() >> 16) & 0x8000
    normal = (size.bits() - (112 << 23)) >> 13
    small = (select(size < 2.0**-14, size, 0.0) * 2.0**24).to("fptosi", "i32")
    special = select(x.is_nan(), (size.bits() & 0) + 0x7E00, (size.bits() & 0) + 0x7C00)
    bits = select(size < 2.0**-14, small, select(size <= 65504.0, normal, special))
    return (bits | sign).to("trunc", "i16")
