"""The plan of a product of matrices: all decisions, made before any code is printed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from graphnn.compiler.native.contraction.matrices import Axis, Matrices
from graphnn.compiler.native.memory import ITEMSIZE

__all__ = ["FLOATS", "HALVES", "Plan", "Segment", "accumulated", "accumulated_size", "n_blocks"]

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring blocks of one width, along rows or columns.

    Attributes
    ----------
    first, n_blocks : int
        Numbers of its blocks.
    start : int
        The first element of the first block.
    width, stored : int
        Elements of a block, and with those that fill up the last vector.
    """

    first: int
    n_blocks: int
    start: int
    width: int
    stored: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions about a product of matrices.

    Attributes
    ----------
    matrices : Matrices
    is_dot : bool
        Whether vectors lie along the innermost summed axis, not along the columns.
    outer : tuple of Axis
        Loops around single products of matrices.
    row, column : Axis
    lanes : int
        Elements of a vector.
    rows, columns : tuple of Segment
        Blocks of registers.
    copies : int
        Sets of sums that are added to in turn, to hide latency.
    packs_left, packs_right : bool
    cycles : float
        What the model expects.
    row_group, column_group : int
        Blocks that make a chunk.
    summed_step : int
        How far along the outermost summed axis the whole chunk goes before it goes on.
    in_registers : bool
        Whether the epilogue is evaluated on sums in registers; else on a tile of them in memory.
    """

    matrices: Matrices
    is_dot: bool
    outer: tuple[Axis, ...]
    row: Axis
    column: Axis
    lanes: int
    rows: tuple[Segment, ...]
    columns: tuple[Segment, ...]
    copies: int
    packs_left: bool
    packs_right: bool
    cycles: float
    row_group: int = 1
    column_group: int = 1
    summed_step: int = 1
    in_registers: bool = True

    @property
    def n_row_groups(self) -> int:
        """Chunks along the rows."""
        return ceil(n_blocks(self.rows) / self.row_group)

    @property
    def n_column_groups(self) -> int:
        """Chunks along the columns."""
        return ceil(n_blocks(self.columns) / self.column_group)

    @property
    def n_shapes(self) -> int:
        """How many different blocks there are."""
        return len(self.rows) * len(self.columns)

    @property
    def is_summed_in_steps(self) -> bool:
        """Whether the sums wait in memory between steps."""
        return self.summed_step < self.matrices.summed[0].size


def n_blocks(segments: tuple[Segment, ...]) -> int:
    """How many blocks segments hold."""
    return sum(segment.n_blocks for segment in segments)


def accumulated_size(matrices: Matrices) -> int:
    """Bytes of an element in registers and panels."""
    return 4 if matrices.dtype in HALVES else ITEMSIZE[matrices.dtype]


def accumulated(dtype: str) -> str:
    """The dtype in which products are summed."""
    return "float32" if dtype in HALVES else dtype
