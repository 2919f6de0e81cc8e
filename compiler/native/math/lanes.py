"""Values under construction with Python's operators: how vector math is written.

``x * x + 1.0`` prints the instructions for the product and the sum. Python numbers become constants
in all lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, vector_of

__all__ = [
    "Lanes",
    "copysign",
    "each_lane",
    "fma",
    "from_bits",
    "horner",
    "magnitude",
    "nearest",
    "polynomial",
    "select",
    "square_root",
    "truncated",
    "two_product",
    "two_sum",
]

_WORD = {"float": "i32", "double": "i64"}
_SIGN = {"float": 1 << 31, "double": 1 << 63}
_INTEGRAL = {"float": 2.0**23, "double": 2.0**52}
"""From here on every number of the type is an integer."""


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A float, integer or bool in every lane.

    Comparisons are ordered (False for NaN) except ``!=``, which is True for NaN. ``>>`` is an
    arithmetic shift.
    """

    builder: Builder
    value: V

    @property
    def element(self) -> str:
        """LLVM's type of one lane."""
        return element_of(self.value.type)

    @property
    def is_single(self) -> bool:
        """Whether it is a float of 32 bits."""
        return self.element == "float"

    @property
    def is_float(self) -> bool:
        """Whether it is a float of any width."""
        return self.element in _WORD

    def constant(self, number: float) -> Lanes:
        """A number of the same type, in all lanes."""
        if self.is_float:
            return Lanes(self.builder, self.builder.real(number, self.value.type))
        return Lanes(self.builder, self.builder.integer(int(number), self.value.type))

    def _binary(self, op: str, other: Lanes | float) -> Lanes:
        right = other if isinstance(other, Lanes) else self.constant(other)
        return Lanes(self.builder, self.builder.binary(op, self.value, right.value))

    def _compare(self, predicate: str, other: Lanes | float) -> Lanes:
        right = other if isinstance(other, Lanes) else self.constant(other)
        return Lanes(self.builder, self.builder.compare(predicate, self.value, right.value))

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._binary("fadd" if self.is_float else "add", other)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._binary("fsub" if self.is_float else "sub", other)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._binary("fmul" if self.is_float else "mul", other)

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._binary("fdiv", other)

    def __radd__(self, other: float) -> Lanes:
        return self.constant(other) + self

    def __rsub__(self, other: float) -> Lanes:
        return self.constant(other) - self

    def __rmul__(self, other: float) -> Lanes:
        return self.constant(other) * self

    def __rtruediv__(self, other: float) -> Lanes:
        return self.constant(other) / self

    def __neg__(self) -> Lanes:
        if self.is_float:
            return Lanes(self.builder, self.builder.unary("fneg", self.value))
        return self.constant(0) - self

    def __and__(self, other: Lanes | int) -> Lanes:
        return self._binary("and", other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self._binary("or", other)

    def __xor__(self, other: Lanes | int) -> Lanes:
        return self._binary("xor", other)

    def __invert__(self) -> Lanes:
        return self ^ (1 if self.element == "i1" else -1)

    def __lshift__(self, other: int) -> Lanes:
        return self._binary("shl", other)

    def __rshift__(self, other: int) -> Lanes:
        return self._binary("ashr", other)

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self._compare("fcmp olt" if self.is_float else "icmp slt", other)

    def __le__(self, other: Lanes | float) -> Lanes:
        return self._compare("fcmp ole" if self.is_float else "icmp sle", other)

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self._compare("fcmp ogt" if self.is_float else "icmp sgt", other)

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self._compare("fcmp oge" if self.is_float else "icmp sge", other)

    def equals(self, other: Lanes | float) -> Lanes:
        """Where both are equal; -0 equals 0."""
        return self._compare("fcmp oeq" if self.is_float else "icmp eq", other)

    def differs(self, other: Lanes | float) -> Lanes:
        """Where they are not equal, or NaN."""
        return self._compare("fcmp une" if self.is_float else "icmp ne", other)

    def is_nan(self) -> Lanes:
        """Where it is NaN."""
        return self._compare("fcmp uno", self)

    def bits(self) -> Lanes:
        """The bits of a float as an integer."""
        word = _WORD[self.element]
        return Lanes(self.builder, self.builder.cast("bitcast", self.value, word))

    def to(self, op: str, element: str) -> Lanes:
        """Converted by LLVM's instruction: ``fpext``, ``fptrunc``, ``sitofp`` ..."""
        return Lanes(self.builder, self.builder.cast(op, self.value, element))

    def intrinsic(self, name: str, *others: Lanes) -> Lanes:
        """LLVM's intrinsic of that name."""
        values = [self.value, *(each.value for each in others)]
        return Lanes(self.builder, self.builder.intrinsic(name, *values))


def select(condition: Lanes, a: Lanes | float, b: Lanes | float) -> Lanes:
    """The first where the condition holds, else the second; one of them is no Python number."""
    if not isinstance(a, Lanes):
        assert isinstance(b, Lanes)
        a = b.constant(a)
    elif not isinstance(b, Lanes):
        b = a.constant(b)
    return Lanes(a.builder, a.builder.select(condition.value, a.value, b.value))


def fma(a: Lanes, b: Lanes | float, c: Lanes | float) -> Lanes:
    """``a * b + c``, rounded once where the processor can, else twice."""
    b = b if isinstance(b, Lanes) else a.constant(b)
    c = c if isinstance(c, Lanes) else a.constant(c)
    if a.builder.target.has_fma:
        return a.intrinsic("fma", b, c)
    return a * b + c


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """``c[0] + c[1] * x + c[2] * x**2 + ...`` by Horner's scheme in two independent halves.

    Even and odd powers are summed apart, which halves the chain of dependent instructions.
    """
    if len(coefficients) < 6:
        return horner(x, coefficients)
    square = x * x
    even, odd = horner(square, coefficients[::2]), horner(square, coefficients[1::2])
    return fma(odd, x, even)


def horner(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """The same in one chain: more precise where the halves would cancel."""
    total = x.constant(coefficients[-1])
    for each in reversed(coefficients[:-1]):
        total = fma(total, x, each)
    return total


def magnitude(x: Lanes) -> Lanes:
    """The absolute value."""
    return x.intrinsic("fabs")


def square_root(x: Lanes) -> Lanes:
    """The square root, exactly rounded."""
    return x.intrinsic("sqrt")


def copysign(x: Lanes, sign: Lanes) -> Lanes:
    """A magnitude with the sign of another number."""
    return x.intrinsic("copysign", sign)


def from_bits(bits: Lanes, element: str) -> Lanes:
    """The float that an integer is the bits of."""
    return bits.to("bitcast", element)


def nearest(x: Lanes) -> Lanes:
    """The nearest integer, halves to the even one; keeps the sign of zero.

    Old x86 processors lack the instruction: there a number that leaves no bits for the fraction is
    added and subtracted.
    """
    if x.builder.target.has_fma:
        return x.intrinsic("roundeven")
    large = copysign(x.constant(_INTEGRAL[x.element]), x)
    rounded = copysign((x + large) - large, x)
    return select(magnitude(x) < _INTEGRAL[x.element], rounded, x)


def truncated(x: Lanes) -> Lanes:
    """The integer part; keeps the sign of zero."""
    if x.builder.target.has_fma:
        return x.intrinsic("trunc")
    size = magnitude(x)
    rounded = nearest(size)
    return copysign(select(rounded > size, rounded - 1.0, rounded), x)


def two_sum(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The rounded sum and its exact error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The rounded product and its exact error (Dekker, where there is no fused instruction)."""
    product = a * b
    if a.builder.target.has_fma:
        return product, a.intrinsic("fma", b, -product)
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(x: Lanes) -> tuple[Lanes, Lanes]:
    """A number as a sum of two with half as many bits (Veltkamp)."""
    scaled = x * (4097.0 if x.is_single else 134217729.0)
    high = scaled - (scaled - x)
    return high, x - high


def each_lane(x: Lanes, function: str, needed: Lanes, otherwise: Lanes) -> Lanes:
    """The C library's function of doubles where it is needed, which is rare; else another value."""
    b, lanes = x.builder, lanes_of(x.value.type)
    result = b.local(otherwise.value.type)
    b.store(otherwise.value, result, 64)
    some = needed.value
    if lanes > 1:
        some = b.call(f"llvm.vector.reduce.or.v{lanes}i1", "i1", needed.value)
    with b.when(some):
        given, made = b.local(x.value.type), b.local(x.value.type)
        b.store(x.value, given, 64)
        with b.loop(0, lanes) as lane:
            offset = b.binary("mul", lane, b.integer(8))
            one = b.load(b.at(given, offset), "double", 8)
            b.store(b.call(function, "double", one), b.at(made, offset), 8)
        computed = b.load(made, x.value.type, 64)
        b.store(b.select(needed.value, computed, otherwise.value), result, 64)
    return Lanes(b, b.load(result, vector_of("double", lanes), 64))
