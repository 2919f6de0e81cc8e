"""What a program for a GPU launches and calls, as text: the "cuda" of `Program.source`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphnn.compiler.cuda.arrangement import arranged
from graphnn.compiler.cuda.code import Code, Convolution, Matrices, Part
from graphnn.compiler.cuda.launches import Step
from graphnn.compiler.cuda.library_calls import has_library
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.source import heading
from graphnn.compiler.unit import Unit

__all__ = ["cuda_texts"]


def cuda_texts(unit: Unit) -> Iterator[str]:
    """The code of every distinct launch, below the instructions whose work it does.

    And what has no code, with what becomes of it.
    """
    unit = arranged(unit)
    steps, codes = steps_of(unit)
    number_of = {id(each): number for number, each in enumerate(unit.instructions)}
    users: dict[Any, dict[int, None]] = {}
    for step in steps:
        for launch in (*step.launches, *step.alternative):
            own = dict.fromkeys(number_of[id(each)] for each in step.does)
            users.setdefault(launch.does, {}).update(own)
    code_of = {part: code for code in codes for part in code.functions}
    printed: set[int] = set()
    for step in steps:
        if step.is_call:
            yield from heading(unit, [number_of[id(step.instruction)]], "//")
            yield f"// {_words_of_call(step)}\n"
        for launch in (*step.launches, *step.alternative):
            numbers = users.pop(launch.does, None)
            if numbers is not None:  # else it is printed already
                yield from heading(unit, numbers, "//")
                yield from _texts_of_launch(launch.does, code_of, printed)


def _words_of_call(step: Step) -> str:
    if step.is_constant:
        return "of arrays without elements: known beforehand"
    if has_library(step.instruction):
        return "by CuPy: a program with such a call is not recorded"
    return "no code for GPUs: this program cannot run on one"


def _texts_of_launch(
    does: Part | Matrices | Convolution, code_of: Mapping[Part, Code], printed: set[int]
) -> Iterator[str]:
    if isinstance(does, Matrices) and does.epilogue is None:
        yield f"// a library multiplies: {does}\n"
    elif not isinstance(does, Part):
        library = "cuBLASLt" if isinstance(does, Matrices) else "cuDNN"
        yield f"// in one call in place of these, where {library} has it: {does}\n"
    else:
        yield f"// {does.name}: {does.blocks:,} blocks of {does.threads} threads"
        if id(code_of[does]) not in printed:
            printed.add(id(code_of[does]))
            yield code_of[does].source
