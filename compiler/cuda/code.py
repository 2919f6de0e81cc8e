"""What the CUDA generator gives: functions in CUDA C++, and how each of them is launched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

__all__ = [
    "Code",
    "Convolution",
    "Convolved",
    "Epilogue",
    "Matrices",
    "Matrix",
    "Part",
    "Product",
    "Tensor",
    "guarded",
    "named",
]


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
        Bytes of ``gn_shared_memory`` that the threads of a block share.
    static_nbytes : int
        Bytes that they share beside these: those of the arrays that the function declares.
    """

    name: str
    blocks: int
    threads: int
    shared_nbytes: int = 0
    static_nbytes: int = 0


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
    offsets : tuple of int
        Bytes from where these begin to the matrices; nothing, if they begin there.
    """

    matrices: Matrices
    operands: tuple[int, ...]
    offsets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tensor:
    """How one array of a convolution lies in memory.

    Attributes
    ----------
    shape : tuple of int
        ``(examples, channels, *space)``; of filters, ``(filters, channels of a group, *window)``.
    strides : tuple of int
        In elements.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, or one of its two gradients.

    ``y[n, f, i] = sum(x[n, c, stride * i + dilation * j - before] * w[f, c, j])``

    Attributes
    ----------
    kind : {"fprop", "dgrad", "wgrad"}
        What is computed: ``y`` of ``x`` and ``w``; what ``x`` is given by ``y`` and ``w``, its
        gradient; what ``w`` is given by ``x`` and ``y``.
    dtype : str
        Of all three; half floats are multiplied and summed in float32.
    x, w, y : Tensor
        There are as many groups as ``x`` has times the channels of ``w``.
    stride, dilation, before, after : tuple of int
        For every axis of space; the last two are zeros around ``x``. Where there is one such axis,
        the arrays have two, and the first of them is 1.
    """

    kind: str
    dtype: str
    x: Tensor
    w: Tensor
    y: Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        """Both factors and the result: x, w, y; or y, w, x; or x, y, w."""
        match self.kind:
            case "fprop":
                return self.x, self.w, self.y
            case "dgrad":
                return self.y, self.w, self.x
            case _:
                return self.x, self.y, self.w


@dataclass(frozen=True, slots=True)
class Convolved:
    """A convolution by a library of the device, where it has one.

    Attributes
    ----------
    convolution : Convolution
    operands, offsets : tuple of int
        As those of a `Product`, for `Convolution.arrays`.
    """

    convolution: Convolution
    operands: tuple[int, ...]
    offsets: tuple[int, ...] = ()


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
    alternative : tuple of Product, Convolved or Part
        What does the same on devices whose library can do the first of these: a product with an
        epilogue, or a convolution.
    """

    source: str
    parts: tuple[Part | Product, ...]
    scratch_nbytes: int = 0
    alternative: tuple[Product | Convolved | Part, ...] = ()

    @property
    def functions(self) -> tuple[Part, ...]:
        """The parts that are functions of the source, each of them once."""
        parts = (*self.parts, *self.alternative)
        return tuple(dict.fromkeys(each for each in parts if isinstance(each, Part)))


def named(word: str, *about: object) -> str:
    """A name for functions that are the same wherever they are the same, in every program.

    Parameters
    ----------
    word : str
        It begins with that.
    *about
        What their text depends on: its own text says it all.
    """
    return f"{word}_{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}"


def guarded(code: Code) -> Code:
    """The same code with one more address behind the others: of a word that forbids it to run.

    Functions return at once where the word is not 0. One that sets the word itself must not let
    threads wait for each other: some of them may have returned. Products do not look at the word.
    """
    source = code.source
    for part in code.functions:
        before, head, after = source.partition(f" {part.name}(")
        parameters, closing, body = after.partition(") {\n")
        assert "" not in (head, closing), f"{part.name} is not printed as functions are"
        guard = "    if (*(const i64*)refused) return;\n"
        source = f"{before}{head}{parameters}, char* refused{closing}{guard}{body}"
    return replace(code, source=source)
