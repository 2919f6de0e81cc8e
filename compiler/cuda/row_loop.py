"""What a row loop is: rows of a batch that a block takes through all rounds, stage after stage."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.compiler.cuda.scalars import HALVES
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.native.moves.piece import DeviceWork
from graphnn.core.dtypes import as_dtype

__all__ = ["RowKernel", "RowLoop", "RowOperand", "RowProduct"]

MOST_THREADS = 512
"""Of a block: each may have 128 registers."""

TOGETHER = 4
"""Terms that a thread adds up before it looks for the next ones."""


@dataclass(frozen=True, slots=True)
class RowOperand:
    """Where a stage finds its operand.

    Attributes
    ----------
    move : int
        Bytes from one round to the next.
    is_written : bool
        Whether the loop writes there, in this round or in another one.
    local : int
        Number of the array of shared memory that it lies in; -1 if it is in the memory of all.
    offset, row : int
        In that array: bytes to the first element, and from one row to the next.
    """

    move: int
    is_written: bool
    local: int = -1
    offset: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class RowProduct:
    """Rows times a matrix of ``k`` rows and ``n`` columns that is the same in all rounds.

    Attributes
    ----------
    k, n : int
    dtype : str
    left, right, out : int
        Numbers of operands.
    left_steps, right_steps, out_steps : (int, int)
        Bytes along their two axes.
    """

    k: int
    n: int
    dtype: str
    left: int
    left_steps: tuple[int, int]
    right: int
    right_steps: tuple[int, int]
    out: int
    out_steps: tuple[int, int]

    @property
    def written(self) -> tuple[int, ...]:
        """Operands that it writes."""
        return (self.out,)

    @property
    def matrix(self) -> tuple[object, ...]:
        """What its matrix is: products that agree in all of this share one."""
        return "matrix", self.right, self.right_steps, self.k, self.n, self.dtype

    @property
    def depth(self) -> int:
        """Rows of the matrix in shared memory: so many that terms are taken together."""
        return -(-self.k // TOGETHER) * TOGETHER

    @property
    def pairs(self) -> int:
        """Columns are taken by two."""
        return -(-self.n // 2)

    def points(self, rows: int) -> int:
        """What threads can do side by side."""
        return self.pairs * (self.depth // TOGETHER)

    def cycles(self, loop: RowLoop) -> int:
        """About how long it takes: reading the matrix, or multiplying."""
        read = loop.matrix_nbytes(self) // 128
        return max(read, loop.rows_per_block * self.k * self.n // 100)


@dataclass(frozen=True, slots=True)
class RowKernel:
    """An elementwise kernel whose first axis are all rows.

    Attributes
    ----------
    kernel : Kernel
    operands : tuple of int
        Numbers of its operands.
    """

    kernel: Kernel
    operands: tuple[int, ...]

    @property
    def written(self) -> tuple[int, ...]:
        """Operands that it writes."""
        return tuple(self.operands[each] for each, _ in self.kernel.stores)

    def points(self, rows: int) -> int:
        """What threads can do side by side."""
        return rows * prod(self.kernel.sizes[1:])

    def cycles(self, loop: RowLoop) -> int:
        """About how long it takes: ten for every value of a point, and what memory takes."""
        turns = -(-self.points(loop.rows_per_block) // loop.threads)
        return 600 + turns * 10 * len(self.kernel.values)


@dataclass(frozen=True, slots=True)
class RowLoop(DeviceWork):
    """A loop whose rows need nothing of each other.

    Attributes
    ----------
    count : int
        Rounds.
    rows, rows_per_block : int
    operands : tuple of RowOperand
    stages : tuple of RowProduct or RowKernel
        Threads of a block meet behind each.
    precision : str
        That of `Options.matmul_precision`.
    """

    count: int
    rows: int
    rows_per_block: int
    operands: tuple[RowOperand, ...]
    stages: tuple[RowProduct | RowKernel, ...]
    precision: str

    @property
    def products(self) -> tuple[RowProduct, ...]:
        """The stages that are products."""
        return tuple(each for each in self.stages if isinstance(each, RowProduct))

    @property
    def threads(self) -> int:
        """Of a block."""
        most = max(each.points(self.rows_per_block) for each in self.stages)
        return max(32, min(MOST_THREADS, -(-most // 32) * 32))

    def factor(self, product: RowProduct) -> str:
        """The dtype that the matrix is kept in, and that rows are rounded to."""
        is_rounded = product.dtype == "float32" and self.precision == "bfloat16"
        return "bfloat16" if is_rounded else product.dtype

    def wide(self, product: RowProduct) -> str:
        """The dtype of sums."""
        return "float32" if product.dtype in HALVES else product.dtype

    def slices(self, product: RowProduct) -> int:
        """Into how many parts its sums are divided, so that all threads have something to do."""
        return max(1, min(self.threads // product.pairs, product.depth // TOGETHER))

    # ------------------------------------------------------------------------ shared memory

    def matrix_nbytes(self, product: RowProduct) -> int:
        """Bytes of its matrix in shared memory."""
        itemsize = as_dtype(self.factor(product)).itemsize
        return product.depth * product.pairs * 2 * itemsize

    @property
    def places(self) -> dict[object, int]:
        """Where everything begins in shared memory.

        `RowProduct.matrix` for each matrix, ``("local", number)`` for each array,
        ``"rows"`` for the factors of a product, ``"sums"`` for its parts, and ``"end"``.
        """
        found: dict[object, int] = {}
        end, per_block = 0, self.rows_per_block

        def take(name: object, nbytes: int) -> None:
            nonlocal end
            if name not in found:
                found[name] = end
                end += -(-nbytes // 16) * 16

        rows = sums = 0
        for each in self.products:
            take(each.matrix, self.matrix_nbytes(each))
            itemsize = as_dtype(self.wide(each)).itemsize
            rows = max(rows, per_block * each.depth * itemsize)
            sums = max(sums, self.slices(each) * per_block * each.pairs * 2 * itemsize)
        for operand in self.operands:
            if operand.local >= 0:
                take(("local", operand.local), per_block * operand.row)
        take("rows", rows)
        take("sums", sums)
        found["end"] = end
        return found

    @property
    def shared_nbytes(self) -> int:
        """Bytes of shared memory."""
        return self.places["end"]
