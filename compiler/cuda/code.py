"""What the CUDA generator gives: functions in CUDA C++, and how each of them is launched."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Code", "Epilogue", "Matrices", "Matrix", "Part", "Product", "guarded"]


@dataclass(frozen=True, slots=True)
class Part:
    """One function, and how it is launched.

    Attributes
    ----------
    name : str
        Of the function: ``void name(char* p0, char* p1, ...)``, an address for every operand,
        then one of the scratch memory if there is any.
    blocks, threads : int
        Both along x alone. Threads of a block are a multiple of 32.
    shared_nbytes : int
        Bytes of ``gn_shared_memory`` that the threads of a block share, beside what the function
        says itself.
    """

    name: str
    blocks: int
    threads: int
    shared_nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Matrix:
    """How one operand of a product lies in memory, in elements.

    Attributes
    ----------
    row, column : int
        From one row, or column, to the next; one of them is 1, if there are several.
    batch : int
        From one matrix to the next.
    """

    row: int
    column: int
    batch: int = 0

    @property
    def transposed(self) -> Matrix:
        """The same elements, with rows for columns."""
        return Matrix(self.column, self.row, self.batch)

    def is_by_columns(self, rows: int, columns: int) -> bool:
        """Whether it lies as libraries want it: elements of a column are neighbours."""
        neighbours = self.row == 1 or rows == 1
        return neighbours and (columns == 1 or self.column >= max(rows, 1))

    def reach(self, rows: int, columns: int, batch: int) -> int:
        """Elements from the first one to behind the last."""
        steps = (rows, self.row), (columns, self.column), (batch, self.batch)
        return 1 + sum((size - 1) * step for size, step in steps)


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What a library does to a product before it writes it: ``function(product + addend + bias)``.

    Attributes
    ----------
    function : {"", "relu", "gelu"}
        "gelu" is the approximation by tanh.
    bias : Matrix or None
        A vector for every line of ``out`` whose elements are neighbours, as its own are; it does
        not move from line to line.
    addend : Matrix or None
        Of the product's size; its lines are those of ``out``. It may be ``out`` itself.
    """

    function: str
    bias: Matrix | None = None
    addend: Matrix | None = None

    @property
    def operands(self) -> tuple[Matrix, ...]:
        """The bias and the addend, if there are."""
        return tuple(each for each in (self.bias, self.addend) if each is not None)


@dataclass(frozen=True, slots=True)
class Matrices:
    """A product ``out = left @ right`` for every matrix of a batch.

    Attributes
    ----------
    m, n, k, batch : int
    dtype : str
        Of all operands; half floats are multiplied and summed in float32.
    left, right, out : Matrix
    epilogue : Epilogue or None
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    left: Matrix
    right: Matrix
    out: Matrix
    epilogue: Epilogue | None = None

    @property
    def operands(self) -> tuple[tuple[Matrix, int, int], ...]:
        """All matrices with their rows and columns: left, right, those of the epilogue, out."""
        m, n, k = self.m, self.n, self.k
        extra = self.epilogue.operands if self.epilogue else ()
        return (self.left, m, k), (self.right, k, n), *((each, m, n) for each in (*extra, self.out))


@dataclass(frozen=True, slots=True)
class Product:
    """Matrices that the device's library multiplies.

    Attributes
    ----------
    matrices : Matrices
    operands : tuple of int
        Which of the kernel's operands, or the scratch memory behind them, are left, right, the
        bias and the addend if there are, and out.
    """

    matrices: Matrices
    operands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Generated code of one kernel.

    Attributes
    ----------
    source : str
        The functions, which need what ``prelude.cuh`` defines before them.
    parts : tuple of Part or Product
        Launched one after the other.
    scratch_nbytes : int
        Bytes of memory that the parts share while the kernel runs.
    at_once : Product or None
        With an epilogue, does what all parts do: for devices whose library has it.
    """

    source: str
    parts: tuple[Part | Product, ...]
    scratch_nbytes: int = 0
    at_once: Product | None = None


def guarded(code: Code) -> Code:
    """The same code with one more address behind the others: of a word that forbids it to run.

    Functions return at once where the word is not 0. One that sets the word itself must not let
    threads wait for each other: some of them may have returned. Products do not look at the word.
    """
    source = code.source
    for part in code.parts:
        if isinstance(part, Product):
            continue
        before, head, after = source.partition(f" {part.name}(")
        parameters, closing, body = after.partition(") {\n")
        assert "" not in (head, closing), f"{part.name} is not printed as functions are"
        guard = "    if (*(const i64*)refused) return;\n"
        source = f"{before}{head}{parameters}, char* refused{closing}{guard}{body}"
    return replace(code, source=source)
