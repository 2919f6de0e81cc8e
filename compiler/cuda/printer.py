"""What all kernels of points and rows share: indices, offsets and values as variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from graphnn.compiler.cuda import indices as numbers
from graphnn.compiler.cuda.scalars import apply, literal, load, register
from graphnn.compiler.cuda.writer import Writer
from graphnn.compiler.kernel import Apply, Index, Literal, Load, Pick
from graphnn.compiler.sweeps import Sweeps

__all__ = ["Printer"]


class Printer:
    """What all forms share: indices, offsets and values as variables.

    Parameters
    ----------
    sweeps : Sweeps
    name : str
        Of the function.
    w : Writer
    n_before : int
        How many addresses come before those of the kernel's operands.
    """

    def __init__(self, sweeps: Sweeps, name: str, w: Writer, n_before: int = 0) -> None:
        self.sweeps, self.kernel, self.name = sweeps, sweeps.kernel, name
        self.w, self.n_before = w, n_before
        self.values: dict[int, str] = {}
        self.suffix = ""
        """Of the names of variables, where there are several of a kind."""
        sizes, operands = self.kernel.sizes, self.kernel.operands
        ends = [numbers.reach(each.strides, sizes) for each in operands]
        self.index_type = numbers.index_type(prod(sizes), *ends)

    def size_of(self, axis: int) -> int:
        """Steps along an axis."""
        return self.kernel.sizes[axis]

    def decode(self, number: str, axes: Sequence[int]) -> dict[int, str]:
        """The indices along some axes, the last of which is the fastest, of a number."""
        made = numbers.decoded(number, [self.size_of(axis) for axis in axes])
        return dict(zip(axes, made, strict=True))

    def index_variables(self, number: str, axes: Sequence[int]) -> dict[int, str]:
        """Variables for the indices along some axes of a number."""
        found = {}
        for axis, index in self.decode(number, axes).items():
            found[axis] = f"i{axis}{self.suffix}"
            self.w.line(f"const {self.index_type} {found[axis]} = {index};")
        return found

    def offset(self, operand: int, indices: Mapping[int, str]) -> str:
        """Bytes from an operand's start that some indices make."""
        return numbers.offset(indices, self.kernel.operands[operand].strides)

    def expression(
        self, number: int, address: Mapping[int, str], indices: Mapping[int, str]
    ) -> str:
        """The expression of a value whose arguments are variables."""
        value, dtypes = self.kernel.values[number], self.sweeps.dtypes
        match value:
            case Load(operand):
                return load(self.kernel.operands[operand].dtype, address[operand])
            case Pick(operand, terms):
                at = self.address_of(operand, terms, address)
                return load(self.kernel.operands[operand].dtype, at)
            case Literal(dtype, text):
                return literal(dtype, text)
            case Index(axis):
                return f"(i64)({indices[axis]})"
            case Apply(op, dtype, args):
                given = [self.values[each] for each in args]
                return apply(op, dtype, given, [dtypes[each] for each in args])
        raise TypeError(f"a kernel of loops holds {value!r}")

    def define(self, number: int, address: Mapping[int, str], indices: Mapping[int, str]) -> None:
        """A variable for a value; a literal needs none."""
        made = self.expression(number, address, indices)
        if isinstance(self.kernel.values[number], Literal):
            self.values[number] = made
            return
        name = f"v{number}{self.suffix}"
        self.w.line(f"const {register(self.sweeps.dtypes[number])} {name} = {made};")
        self.values[number] = name

    def address_of(
        self, operand: int, terms: Sequence[tuple[int, int]], address: Mapping[int, str]
    ) -> str:
        """Where an operand has what is at this point, moved by the terms of a `Pick`."""
        moved = [address[operand], *(f"{self.values[index]} * {by}ll" for index, by in terms)]
        return " + ".join(moved)
