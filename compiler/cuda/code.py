"""What the CUDA generator gives: functions in CUDA C++, and how each of them is launched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["Code", "Matrices", "Matrix", "Part", "Product", "guarded", "named"]


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
    """

    name: str
    blocks: int
    threads: int


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


@dataclass(frozen=True, slots=True)
class Matrices:
    """A product ``out = left @ right`` for every matrix of a batch.

    Attributes
    ----------
    m, n, k, batch : int
    dtype : str
        Of all three; half floats are multiplied and summed in float32.
    left, right, out : Matrix
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    left: Matrix
    right: Matrix
    out: Matrix


@dataclass(frozen=True, slots=True)
class Product:
    """Matrices that the device's library multiplies.

    Attributes
    ----------
    matrices : Matrices
    operands : (int, int, int)
        Which of the kernel's operands, or the scratch memory behind them, are left, right and
        out.
    """

    matrices: Matrices
    operands: tuple[int, int, int]


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
    """

    source: str
    parts: tuple[Part | Product, ...]
    scratch_nbytes: int = 0


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
    for part in code.parts:
        if isinstance(part, Product):
            continue
        before, head, after = source.partition(f" {part.name}(")
        parameters, closing, body = after.partition(") {\n")
        assert "" not in (head, closing), f"{part.name} is not printed as functions are"
        guard = "    if (*(const i64*)refused) return;\n"
        source = f"{before}{head}{parameters}, char* refused{closing}{guard}{body}"
    return Code(source, code.parts, code.scratch_nbytes)
