"""Sizes that are not known until a program is called: named dimensions and their arithmetic.

A size is an ``int`` or a :class:`Dim`, a polynomial with integer coefficients over *atoms*;
an atom is a name (``"batch"``) or a floor division that does not come out even. Equal sizes are
structurally equal, so shape rules compare them with ``==``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, TypeGuard

from graphnn.core.errors import ShapeError

__all__ = [
    "Dim",
    "Shape",
    "Size",
    "as_size",
    "bind_size",
    "exact_quotient",
    "is_known",
    "no_value",
    "product",
]

MOST_PRODUCTS = 10_000
"""Terms that are multiplied with each other for one product of sizes; sums of ten names times
others like it grow without end."""


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """``numerator // denominator`` where the division need not come out even."""

    numerator: Dim
    denominator: int

    def __str__(self) -> str:
        return f"({self.numerator})//{self.denominator}"


Atom: TypeAlias = "str | FloorDiv"
Monomial: TypeAlias = "tuple[Atom, ...]"


@dataclass(frozen=True, slots=True)
class Dim:
    """A size that depends on named dimensions, for example ``2*batch + 1``.

    Attributes
    ----------
    terms : tuple of (monomial, coefficient)
        Sorted; a monomial is a sorted tuple of atoms, ``()`` for the constant term.

    Examples
    --------
    >>> batch = Dim.named("batch")
    >>> str(2 * batch + 1)
    '2*batch + 1'
    >>> (2 * batch + 1).bind({"batch": 32})
    65
    """

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def named(name: str) -> Dim:
        """The dimension of that name."""
        return Dim((((name,), 1),))

    @property
    def names(self) -> frozenset[str]:
        """Names of the dimensions it depends on."""
        found: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                found |= {atom} if isinstance(atom, str) else atom.numerator.names
        return frozenset(found)

    def bind(self, sizes: Mapping[str, int]) -> int:
        """The number it stands for once every name has a size."""
        total = 0
        for monomial, coefficient in self.terms:
            value = coefficient
            for atom in monomial:
                if isinstance(atom, str):
                    value *= sizes[atom]
                else:
                    value *= atom.numerator.bind(sizes) // atom.denominator
            total += value
        return total

    def __add__(self, other: Size) -> Size:
        return _collect([*self.terms, *_terms(other)])

    def __radd__(self, other: int) -> Size:
        return self + other

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: int) -> Size:
        return self * -1 + other

    def __mul__(self, other: Size) -> Size:
        if len(self.terms) * len(_terms(other)) > MOST_PRODUCTS:
            raise ShapeError(
                f"a size of {len(self.terms)} terms times one of {len(_terms(other))} is too long",
                hint="give a sum of named dimensions a name of its own",
            )
        return _collect(
            (tuple(sorted(a + b, key=str)), p * q) for a, p in self.terms for b, q in _terms(other)
        )

    def __rmul__(self, other: int) -> Size:
        return self * other

    def __floordiv__(self, other: Size) -> Size:
        exact = exact_quotient(self, other)
        if exact is not None:
            return exact
        if not isinstance(other, int) or other < 1:
            raise ShapeError(
                f"the size {self} cannot be divided by {other}",
                hint="divide by a positive integer, or by what it is a multiple of",
            )
        return Dim((((FloorDiv(self, other),), 1),))

    def _is_no_number(self, *others: object) -> NoReturn:
        raise no_value(self)

    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __float__ = _is_no_number

    def __bool__(self) -> bool:
        return True

    def _refuse(self, other: object) -> bool:
        raise ShapeError(
            f"the size {self} is not known until the program is called",
            hint="compare sizes with ==, or give the input a fixed size",
        )

    __lt__ = __le__ = __gt__ = __ge__ = _refuse

    def __index__(self) -> int:
        raise ShapeError(
            f"the size {self} is not known until the program is called",
            hint="give the input a fixed size where a number is needed",
        )

    def __str__(self) -> str:
        text = ""
        # The constant term () sorts first but reads better last.
        for monomial, coefficient in sorted(self.terms, key=lambda term: not term[0]):
            factors = [str(atom) for atom in monomial]
            if abs(coefficient) != 1 or not monomial:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} " if text else "-" if sign == "-" else ""
            text += "*".join(factors)
        return text

    def __repr__(self) -> str:
        return f"Dim({self})"


Size: TypeAlias = "int | Dim"
Shape: TypeAlias = "tuple[Size, ...]"


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), size),)


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = {monomial: coefficient for monomial, coefficient in total.items() if coefficient}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    return Dim(tuple(sorted(kept.items(), key=lambda term: [str(atom) for atom in term[0]])))


def no_value(size: Dim) -> ShapeError:
    """The refusal of a size where a value to compute with is needed."""
    return ShapeError(
        f"the size {size} is not known until the program is called: it is no value to compute with",
        hint="gn.size_of(x.shape[0]) makes one of it",
    )


def as_size(size: object) -> Size:
    """A size from what a user writes: an int, a name, or a :class:`Dim`."""
    if isinstance(size, Dim):
        return size
    if isinstance(size, str):
        if not size.isidentifier():
            raise ShapeError(f"dimension name {size!r} is not an identifier")
        return Dim.named(size)
    if not isinstance(size, bool) and hasattr(size, "__index__"):
        number = size.__index__()
        if isinstance(number, int):
            return number
    raise ShapeError(f"{size!r} is not a size", hint='sizes are integers, or names such as "batch"')


def is_known(shape: Iterable[Size]) -> TypeGuard[tuple[int, ...]]:
    """Whether every size is a number."""
    return all(isinstance(size, int) for size in shape)


def bind_size(size: Size, sizes: Mapping[str, int]) -> int:
    """The number a size stands for once every name has a size."""
    return size.bind(sizes) if isinstance(size, Dim) else size


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; 1 for none."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def exact_quotient(a: Size, b: Size) -> Size | None:
    """``a / b`` if it comes out even for every binding, else None.

    ``b`` may be a number or a single term such as ``4*batch``.
    """
    if a == b:
        return 1
    terms = _terms(b)
    if len(terms) != 1 or terms[0][1] == 0:
        return None
    divisor, coefficient = terms[0]
    quotient: list[tuple[Monomial, int]] = []
    for monomial, value in _terms(a):
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if value % coefficient:
            return None
        quotient.append((tuple(rest), value // coefficient))
    return _collect(quotient)
