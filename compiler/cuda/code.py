"""What the CUDA generator gives: functions in CUDA C++, and how each of them is launched."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Code", "Part", "guarded"]


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
class Code:
    """Generated code of one kernel.

    Attributes
    ----------
    source : str
        The functions, which need what ``prelude.cuh`` defines before them.
    parts : tuple of Part
        Launched one after the other.
    scratch_nbytes : int
        Bytes of memory that the parts share while the kernel runs.
    """

    source: str
    parts: tuple[Part, ...]
    scratch_nbytes: int = 0


def guarded(code: Code) -> Code:
    """The same code with one more address behind the others: of a word that forbids it to run.

    Functions return at once where the word is not 0.
    """
    source = code.source
    for part in code.parts:
        before, head, after = source.partition(f" {part.name}(")
        parameters, closing, body = after.partition(") {\n")
        assert head and closing, f"{part.name} is not printed as functions are"
        guard = "    if (*(const i64*)refused) return;\n"
        source = f"{before}{head}{parameters}, char* refused{closing}{guard}{body}"
    return Code(source, code.parts, code.scratch_nbytes)
