"""Elementwise kernels that read along one axis and write along another, through shared memory.

Neighbouring threads should touch neighbours in memory, both when they read and when they write. A
block brings a square tile of what lies otherwise into shared memory, along the axis in which it is
contiguous, and then works along the axis in which results are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.layout import STATIC_NBYTES, THREADS
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.scalars import load, register, register_nbytes, store
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import Kernel, Load, Pick
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype

__all__ = ["Tiles", "tiled", "tiles_of"]

SIDE = 32
"""Of a tile; a warp reads or writes one row or column of it."""

DEEP = THREADS // SIDE
"""Rows of a tile that the threads of a block are at together."""

LEAST = 16
"""Points along both axes for which most of a tile is used."""

MOST_STAGED = 3
"""Operands that a block brings in, if there is room."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """What goes through shared memory.

    Attributes
    ----------
    along, across : int
        The axes along which results, and what is staged, are contiguous.
    staged : tuple of int
        Operands.
    """

    along: int
    across: int
    staged: tuple[int, ...]

    def nbytes(self, kernel: Kernel) -> int:
        """Bytes that a block shares."""
        kept = sum(register_nbytes(kernel.operands[each].dtype) for each in self.staged)
        return SIDE * (SIDE + 1) * kept


def tiles_of(kernel: Kernel) -> Tiles | None:
    """The tiles of a kernel without sums; None if it reads as it writes."""
    along, *rest = {_contiguous_axis(kernel, number) for number, _ in kernel.stores}
    if along is None or rest:
        return None
    read = {value.operand for value in kernel.values if isinstance(value, Load)}
    read -= {value.operand for value in kernel.values if isinstance(value, Pick)}
    axes = {number: _contiguous_axis(kernel, number) for number in sorted(read)}
    across = next((axis for axis in axes.values() if axis not in (None, along)), None)
    if across is None:
        return None
    staged = tuple(
        number
        for number, axis in axes.items()
        if axis == across and kernel.operands[number].strides[along]
    )
    is_worth_it = min(kernel.sizes[along], kernel.sizes[across]) >= LEAST
    tiles = Tiles(along, across, staged)
    fits = 0 < len(staged) <= MOST_STAGED and tiles.nbytes(kernel) <= STATIC_NBYTES
    return tiles if is_worth_it and fits else None


def _contiguous_axis(kernel: Kernel, number: int) -> int | None:
    """The axis along which an operand's elements are neighbours."""
    operand = kernel.operands[number]
    size = as_dtype(operand.dtype).itemsize
    found = [
        axis
        for axis, stride in enumerate(operand.strides)
        if stride == size and kernel.sizes[axis] > 1
    ]
    return found[0] if len(found) == 1 else None


def tiled(sweeps: Sweeps, tiles: Tiles, name: str, n_before: int) -> Code:
    """Print a kernel as a function whose blocks take a tile each."""
    return _Tiled(sweeps, tiles, name, n_before).code()


class _Tiled(Printer):
    """A kernel without sums, a tile for every block."""

    def __init__(self, sweeps: Sweeps, tiles: Tiles, name: str, n_before: int) -> None:
        super().__init__(sweeps, name, Writer(), n_before)
        self.tiles, self.turn = tiles, 0

    def code(self) -> Code:
        """The function."""
        tiles = self.tiles
        sizes = self.kernel.sizes
        columns, rows = (-(-sizes[axis] // SIDE) for axis in (tiles.along, tiles.across))
        rest = [axis for axis in range(len(sizes)) if axis not in (tiles.along, tiles.across)]
        w, kind = self.w, self.index_type
        with w.block(signature(self.name, self.n_before + len(self.kernel.operands), THREADS)):
            for number in tiles.staged:
                kept = register(self.kernel.operands[number].dtype)
                w.line(f"__shared__ {kept} tile{number}[{SIDE}][{SIDE + 1}];")
            w.line(f"const int x = threadIdx.x % {SIDE}, y = threadIdx.x / {SIDE};")
            w.line(f"const {kind} column = ({kind})(blockIdx.x % {columns}) * {SIDE};")
            w.line(f"const {kind} row = ({kind})(blockIdx.x / {columns} % {rows}) * {SIDE};")
            w.line(f"const {kind} rest = blockIdx.x / {columns * rows};")
            indices = self.index_variables("rest", rest)
            self._stage(indices)
            w.line("__syncthreads();")
            self._points(indices)
        blocks = columns * rows * prod(sizes[axis] for axis in rest)
        nbytes = tiles.nbytes(self.kernel)
        return Code(w.text, (Part(self.name, blocks, THREADS, static_nbytes=nbytes),))

    def _addresses(self, indices: Mapping[int, str]) -> dict[int, str]:
        return {
            number: f"p{self.n_before + number} + ({self.offset(number, indices)})"
            for number in range(len(self.kernel.operands))
        }

    def _head(self, indices: Mapping[int, str], turn: int, *, swaps: bool) -> dict[int, str]:
        """The point of a thread, with x along the one axis or the other."""
        w, kind, tiles = self.w, self.index_type, self.tiles
        down = f"y + {turn * DEEP}" if turn else "y"
        a, b = (down, "x") if swaps else ("x", down)
        w.line(f"const {kind} along = column + {a}, across = row + {b};")
        sizes = self.kernel.sizes
        w.line(
            f"const bool is_in = along < {sizes[tiles.along]} && across < {sizes[tiles.across]};"
        )
        return {**indices, tiles.along: "along", tiles.across: "across"}

    def _stage(self, indices: Mapping[int, str]) -> None:
        """Bring tiles into shared memory."""
        w = self.w
        for turn in range(SIDE // DEEP):
            with w.block(""):
                addresses = self._addresses(self._head(indices, turn, swaps=True))
                for number in self.tiles.staged:
                    value = load(self.kernel.operands[number].dtype, addresses[number])
                    w.line(f"if (is_in) tile{number}[y + {turn * DEEP}][x] = {value};")

    def _points(self, indices: Mapping[int, str]) -> None:
        """Values and stores."""
        w, stores = self.w, self.kernel.stores
        needed = self.sweeps.needed([value for _, value in stores], frozenset())
        for self.turn in range(SIDE // DEEP):
            with w.block(""):
                self.values = {}
                here = self._head(indices, self.turn, swaps=False)
                addresses = self._addresses(here)
                with w.block("if (is_in)"):
                    for number in needed:
                        self.define(number, addresses, here)
                    for operand, value in stores:
                        dtype = self.kernel.operands[operand].dtype
                        w.line(store(dtype, addresses[operand], self.values[value]))

    def expression(
        self, number: int, address: Mapping[int, str], indices: Mapping[int, str]
    ) -> str:
        """The expression of a value; what is staged is read from its tile."""
        value = self.kernel.values[number]
        if isinstance(value, Load) and value.operand in self.tiles.staged:
            return f"tile{value.operand}[x][y + {self.turn * DEEP}]"
        return super().expression(number, address, indices)
