"""Kernels whose threads take several neighbours at a time, with one read of 16 bytes for all.

A read of 16 bytes is one instruction for what else takes four, and four times as many bytes are
under way. It wants an address that is a multiple of them: where operands begin, and how far rows
lie apart, is known when code is made, and what is known is part of what code is made for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from graphnn.compiler.cuda.layout import PROCESSORS, THREADS
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.scalars import as_register, as_stored, register, store, stored
from graphnn.compiler.cuda.transposition import tiles_of
from graphnn.compiler.cuda.writer import Writer
from graphnn.compiler.kernel import Index, Kernel, Load, Pick
from graphnn.compiler.sweeps import Sweeps

__all__ = ["MOST_UNROLLED", "NBYTES", "Neighbours", "Turn", "Wide", "has_rows", "widened"]

NBYTES = 16
"""What a thread reads or writes at once at most."""

MOST_NEIGHBOURS = 8
"""Points of a thread that lie side by side: their values are in registers together."""

MOST_UNROLLED = 4
"""Turns of a thread that are printed one by one."""


@dataclass(frozen=True, slots=True)
class Wide:
    """A kernel whose threads take several neighbours along the axis that lanes lie along.

    Attributes
    ----------
    kernel : Kernel
    width : int
        How many, a power of two.
    whole : tuple of int
        Operands of which they are read or written at once: where the operand begins, and where
        any such neighbours do, is a multiple of their bytes.
    """

    kernel: Kernel
    width: int
    whole: tuple[int, ...]


def widened(kernel: Kernel, multiples: Sequence[int]) -> Wide | Kernel:
    """The kernel with as many neighbours to a thread as its operands' places allow.

    Parameters
    ----------
    kernel : Kernel
    multiples : sequence of int
        What the address of every operand is a multiple of, in bytes.

    Returns
    -------
    Wide or Kernel
        The kernel itself, if a thread takes one point after the other.
    """
    sweeps = Sweeps(kernel)
    if sweeps.vector_axis < 0 or (not has_rows(sweeps) and tiles_of(kernel) is not None):
        return kernel
    needed = _dense(sweeps)
    width = min([MOST_NEIGHBOURS, *(NBYTES // sweeps.itemsize(each) for each in needed)])
    while width > 1 and needed:
        is_aligned = all(_is_aligned(sweeps, each, multiples[each], width) for each in needed)
        if is_aligned and _is_divided(sweeps, width):
            picked = _picked(sweeps, multiples, width)
            return Wide(kernel, width, tuple(sorted({*needed, *picked})))
        width //= 2
    return kernel


def has_rows(sweeps: Sweeps) -> bool:
    """Whether a kernel is one of rows, with several elements or with sums."""
    kernel = sweeps.kernel
    return prod(kernel.sizes[axis] for axis in kernel.reduced) > 1 or bool(sweeps.sums)


def _dense(sweeps: Sweeps) -> list[int]:
    """Operands whose neighbours are neighbours in memory, but for those that are jumped into."""
    kernel, axis = sweeps.kernel, sweeps.vector_axis
    used = {each.operand for each in kernel.values if isinstance(each, Load)}
    used |= {operand for operand, _ in kernel.stores}
    return [each for each in used if kernel.operands[each].strides[axis] == sweeps.itemsize(each)]


def _is_aligned(sweeps: Sweeps, operand: int, multiple: int, width: int) -> bool:
    """Whether neighbours of an operand begin at multiples of their bytes."""
    nbytes = width * sweeps.itemsize(operand)
    strides = sweeps.kernel.operands[operand].strides
    return multiple % nbytes == 0 and all(
        stride % nbytes == 0
        for axis, stride in enumerate(strides)
        if axis != sweeps.vector_axis and sweeps.kernel.sizes[axis] > 1
    )


def _is_divided(sweeps: Sweeps, width: int) -> bool:
    """Whether points come in so many neighbours, and leave work for all processors."""
    sizes = sweeps.kernel.sizes
    size, total = sizes[sweeps.vector_axis], prod(sizes)
    is_even = size % width == 0 or (width < size == total and not has_rows(sweeps))
    return is_even and total >= width * THREADS * PROCESSORS


def _picked(sweeps: Sweeps, multiples: Sequence[int], width: int) -> set[int]:
    """Operands that are jumped into, to places where so many neighbours can be read at once."""
    kernel, axis = sweeps.kernel, sweeps.vector_axis
    found, refused = set[int](), set[int]()
    for value in kernel.values:
        if isinstance(value, Pick):
            size = sweeps.itemsize(value.operand)
            fits = (
                kernel.operands[value.operand].strides[axis] == size
                and width * size <= NBYTES
                and _is_aligned(sweeps, value.operand, multiples[value.operand], width)
                and all(
                    by % (width * size) == 0 and axis not in sweeps.varies[index]
                    for index, by in value.terms
                )
            )
            (found if fits else refused).add(value.operand)
    return found - refused


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the turns of a thread that are under way together: its names, and where it is."""

    suffix: str
    guard: str
    indices: dict[int, str]
    address: dict[int, str]
    values: dict[int, str]


class Neighbours(Printer):
    """What kernels of points and rows share: values of one point, or of several neighbours.

    What differs between neighbours is computed in a loop over ``e``, which is unrolled; what is
    known outside of it is an array.

    Parameters
    ----------
    sweeps, name, w, n_before
        See `Printer`.
    wide : Wide or None
        None if a thread takes one point at a time.
    """

    def __init__(
        self, sweeps: Sweeps, name: str, w: Writer, n_before: int, wide: Wide | None
    ) -> None:
        super().__init__(sweeps, name, w, n_before)
        self.width = wide.width if wide else 1
        self.whole = frozenset(wide.whole if wide else ())
        self._is_within = False

    def is_many(self, number: int) -> bool:
        """Whether a value differs between the neighbours of a thread."""
        return self.width > 1 and self.sweeps.vector_axis in self.sweeps.varies[number]

    def size_of(self, axis: int) -> int:
        """Steps along an axis: neighbours are one."""
        size = super().size_of(axis)
        return size // self.width if axis == self.sweeps.vector_axis else size

    def decode(self, number: str, axes: Sequence[int]) -> dict[int, str]:
        """See `Printer.decode`; the index of the first of neighbours."""
        found = super().decode(number, axes)
        axis = self.sweeps.vector_axis
        if self.width > 1 and found.get(axis, "0") != "0":
            found[axis] = f"{found[axis]} * {self.width}"
        return found

    @contextmanager
    def each(self) -> Iterator[None]:
        """Lines for each of the neighbours."""
        if self.width == 1 or self._is_within:
            yield
            return
        self.w.line("#pragma unroll")
        self._is_within = True
        with self.w.block(f"for (int e = 0; e < {self.width}; ++e)"):
            yield
        self._is_within = False

    def array(self, number: int) -> str:
        """What follows the name of a variable that is declared, for one value or for many."""
        return f"[{self.width}]" if self.is_many(number) else ""

    def element(self, number: int) -> str:
        """What follows the name of a variable that is used."""
        return "[e]" if self.is_many(number) else ""

    def fetch(self, number: int, address: Mapping[int, str]) -> None:
        """Read neighbours at once, if that is how they are read."""
        value = self.kernel.values[number]
        if isinstance(value, Load | Pick) and self._is_whole(number):
            kind = self._kind(value.operand)
            terms = value.terms if isinstance(value, Pick) else ()
            at = self.address_of(value.operand, terms, address)
            self.w.line(f"const {kind} x{number}{self.suffix} = *(const {kind}*)({at});")

    def _is_whole(self, number: int) -> bool:
        """Whether neighbours of a value are read at once."""
        value = self.kernel.values[number]
        is_read = isinstance(value, Load | Pick) and value.operand in self.whole
        return is_read and self.is_many(number)

    def _kind(self, operand: int) -> str:
        return f"gn_many<{stored(self.kernel.operands[operand].dtype)}, {self.width}>"

    def expression(
        self, number: int, address: Mapping[int, str], indices: Mapping[int, str]
    ) -> str:
        """See `Printer.expression`; of neighbour ``e``."""
        if self.width == 1:
            return super().expression(number, address, indices)
        axis = self.sweeps.vector_axis
        match self.kernel.values[number]:
            case Load(operand) | Pick(operand) if self._is_whole(number):
                dtype = self.kernel.operands[operand].dtype
                return as_register(dtype, f"x{number}{self.suffix}.at[e]")
            case Load(operand) | Pick(operand):
                return super().expression(
                    number, {**address, operand: self._beside(operand, address)}, indices
                )
            case Index(along) if along == axis:
                return f"(i64)({indices[axis]} + e)"
        return super().expression(number, address, indices)

    def _beside(self, operand: int, address: Mapping[int, str]) -> str:
        """The address of neighbour ``e``."""
        stride = self.kernel.operands[operand].strides[self.sweeps.vector_axis]
        return f"{address[operand]} + e * {stride}" if stride else address[operand]

    def define(self, number: int, address: Mapping[int, str], indices: Mapping[int, str]) -> None:
        """See `Printer.define`."""
        if self._is_within or not self.is_many(number):
            super().define(number, address, indices)
            return
        self.fetch(number, address)
        name = f"v{number}{self.suffix}"
        self.w.line(f"{register(self.sweeps.dtypes[number])} {name}[{self.width}];")
        with self.each():
            self.w.line(f"{name}[e] = {self.expression(number, address, indices)};")
        self.values[number] = f"{name}[e]"

    def define_first(
        self, numbers: Sequence[int], address: Mapping[int, str], indices: Mapping[int, str]
    ) -> None:
        """Values that neighbours share, and reads of those that lie side by side."""
        for number in numbers:
            if not self.is_many(number):
                self.define(number, address, indices)
            else:
                self.fetch(number, address)

    def define_others(
        self, numbers: Sequence[int], address: Mapping[int, str], indices: Mapping[int, str]
    ) -> None:
        """Within `each`: values of a neighbour."""
        for number in numbers:
            if self.is_many(number):
                self.define(number, address, indices)

    # ------------------------------------------------------------------------------- stores

    def declare(self, stores: Sequence[tuple[int, int]]) -> None:
        """Variables for what neighbours have stored together."""
        for operand, _ in stores:
            if self._moves(operand):
                self.w.line(f"{self._kind(operand)} y{operand}{self.suffix};")

    def fill(self, stores: Sequence[tuple[int, int]]) -> None:
        """Within `each`: what a neighbour stores."""
        for operand, value in stores:
            if self._moves(operand):
                made = as_stored(self.kernel.operands[operand].dtype, self.values[value])
                self.w.line(f"y{operand}{self.suffix}.at[e] = {made};")

    def _moves(self, operand: int) -> bool:
        """Whether neighbours have places of their own in an operand."""
        axis = self.sweeps.vector_axis
        return self.width > 1 and self.kernel.operands[operand].strides[axis] != 0

    def write(
        self, stores: Sequence[tuple[int, int]], address: Mapping[int, str], guard: str
    ) -> None:
        """Write to memory, where a condition holds."""
        for operand, value in stores:
            dtype, at = self.kernel.operands[operand].dtype, address[operand]
            if not self._moves(operand):
                self.w.line(guard + store(dtype, at, self.values[value]))
                continue
            name = f"y{operand}{self.suffix}"
            if operand in self.whole:
                self.w.line(f"{guard}*({self._kind(operand)}*)({at}) = {name};")
                continue
            with self.each():
                at = self._beside(operand, address)
                self.w.line(f"{guard}*({stored(dtype)}*)({at}) = {name}.at[e];")
