"""The kernel: a loop nest over scalars, what a fused group of nodes is lowered to.

It says *what* is computed at every point of a domain and where operands lie in memory; how that
becomes SIMD code for a processor, or threads of a GPU, is up to a code generator. Kernels are
plain frozen data: equal kernels are compiled once, and their text is the key of the cache.

For example ``y = x - max(x, axis=1)`` for ``x`` of shape ``(8, 100)``::

    Kernel(
        sizes=(8, 100),
        reduced=(1,),
        operands=(Operand("float32", (400, 4)), Operand("float32", (400, 4))),
        values=(Load(0), Reduce("max", 0), Apply("subtract", "float32", (0, 1))),
        stores=((1, 2),),
    )
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "EXPENSIVE",
    "Apply",
    "Bound",
    "Contraction",
    "Index",
    "Kernel",
    "Literal",
    "Load",
    "Operand",
    "Pick",
    "Product",
    "Reduce",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Operand:
    """Memory that a kernel reads or writes.

    Attributes
    ----------
    dtype : str
        Name of the dtype it is stored in ("bool" takes one byte).
    strides : tuple of int
        Bytes from one point of the domain to the next, along every axis; 0 where it is the same
        for all.
    """

    dtype: str
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What an operand holds at this point."""

    operand: int


@dataclass(frozen=True, slots=True)
class Pick:
    """What an operand holds at a place that is computed: the address of this point, plus terms.

    Attributes
    ----------
    operand : int
    terms : tuple of (int, int)
        Number of an int64 value, and the bytes that one step of it makes.
    """

    operand: int
    terms: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that is known: ``value`` is its ``float.hex()``, or an integer in decimal."""

    dtype: str
    value: str


@dataclass(frozen=True, slots=True)
class Index:
    """The position along an axis of the domain, an int64."""

    axis: int


@dataclass(frozen=True, slots=True)
class Product:
    """What a contraction has summed up at this point: the root of an epilogue."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A scalar primitive applied to earlier values.

    Attributes
    ----------
    op : str
        Name of an elementwise primitive, or "cast".
    dtype : str
        Of the result.
    args : tuple of int
        Numbers of the values it is applied to.
    """

    op: str
    dtype: str
    args: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reduce:
    """A value reduced over the kernel's reduced axes.

    Attributes
    ----------
    op : {"sum", "max", "min", "prod", "any", "all"}
        Half floats accumulate in float32 and are rounded at the end.
    arg : int
        Number of the value.
    """

    op: str
    arg: int


Value: TypeAlias = Load | Pick | Literal | Index | Product | Apply | Reduce


@dataclass(frozen=True, slots=True)
class Kernel:
    """A loop nest.

    Every value is computed where all the axes it depends on are known: one that depends on no
    reduced axis, or on a `Reduce`, once per row. Values that use a `Reduce` along the reduced
    axes need another sweep over the row.

    Attributes
    ----------
    sizes : tuple of int
        The domain, outermost loop first; all at least 1. Reduced axes need not be last.
    reduced : tuple of int
        Axes that every `Reduce` runs over; the others are independent of each other.
    operands : tuple of Operand
        Inputs and outputs.
    values : tuple of Value
        Each refers to earlier ones alone.
    stores : tuple of (int, int)
        Operand, and the value that is written to it. A store of a value without reduced axes has
        stride 0 along them and is done once.
    """

    sizes: tuple[int, ...]
    reduced: tuple[int, ...]
    operands: tuple[Operand, ...]
    values: tuple[Value, ...]
    stores: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """Along one axis of an array, the elements that places and taps of a window meet.

    Place ``i`` and tap ``j`` meet element ``q`` for which
    ``x_dilation * q = stride * i + dilation * j - low``; where there is none in
    ``0 <= q < size`` the product is zero and is left out. The operand's stride along the place and
    the tap axis is 0; the address moves by ``q * step`` bytes.

    Attributes
    ----------
    place, tap : int
        Axes of the contraction.
    stride, dilation, low, size, x_dilation : int
    step : int
        Bytes from one element to the next.
    """

    place: int
    tap: int
    stride: int
    dilation: int
    low: int
    size: int
    x_dilation: int
    step: int


@dataclass(frozen=True, slots=True)
class Contraction:
    """Products of two operands, summed over some axes, with an epilogue for each sum.

    Attributes
    ----------
    sizes : tuple of int
        Of all axes.
    summed : tuple of int
        Axes that are summed over.
    dtype : str
        Of the product; half floats are multiplied and summed in float32.
    left, right : Operand
        Strides by axis: a free axis of one operand has stride 0 in the other; a batch axis is one
        that both move along and that is not summed.
    epilogue : Kernel
        Over the axes that are not summed, in order; it holds one `Product`.
    bounds : tuple of Bound
        Of ``left``, for a convolution.
    packed : (bool, bool)
        Whether the left and the right operand are read from panels that another kernel filled.
    prologues : (Kernel or None, Kernel or None)
        What the factors are computed by, over all axes: elementwise, of operands of its own. Its
        last operand stands for the factor, which is nowhere in memory but packed.
    """

    sizes: tuple[int, ...]
    summed: tuple[int, ...]
    dtype: str
    left: Operand
    right: Operand
    epilogue: Kernel
    bounds: tuple[Bound, ...] = ()
    packed: tuple[bool, bool] = (False, False)
    prologues: tuple[Kernel | None, Kernel | None] = (None, None)

    def factor(self, side: int) -> tuple[Operand, ...]:
        """The operands of the left (0) or the right (1) factor."""
        prologue = self.prologues[side]
        return prologue.operands[:-1] if prologue else ((self.left, self.right)[side],)

    @property
    def n_factor_operands(self) -> int:
        """How many operands come before those of the epilogue."""
        return len(self.factor(0)) + len(self.factor(1))


# fmt: off
EXPENSIVE = frozenset(
    {
        "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "power", "cbrt", "hypot", "mod",
        "floor_divide", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh",
        "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "erf", "erfc", "erfinv", "lgamma",
        "digamma",
    }
)
# fmt: on
"""Primitives that cost more than reading a value from the nearest cache."""
