"""A planned convolution as LLVM IR: copies first, then chunks of register blocks."""

from __future__ import annotations

from dataclasses import astuple
from functools import lru_cache
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.builder import Builder
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.convolution.chunk import ChunkWriter
from graphnn.compiler.native.convolution.cost import free_axes, item_bytes
from graphnn.compiler.native.convolution.layout import Layout, layout
from graphnn.compiler.native.convolution.packing import copy_function
from graphnn.compiler.native.convolution.phases import with_phases
from graphnn.compiler.native.convolution.plan import Plan, plan
from graphnn.compiler.native.convolution.squares import Squares
from graphnn.compiler.native.convolution.windows import is_tabled, table, with_bounds
from graphnn.compiler.native.target import Target

__all__ = ["generate", "scratch_nbytes"]


def generate(contraction: Contraction, target: Target, name: str) -> Code:
    """Generate code for a convolution.

    Parameters
    ----------
    contraction : Contraction
        Of floats; with or without bounds.
    target : Target
    name : str
        The functions' names begin with it.

    Returns
    -------
    Code
        Its functions take the left operand, the right one, those of the epilogue, the scratch
        memory.
    """
    contraction, way, memory = _planned(contraction, target)
    return code_of(contraction, target, name, way, memory)


def scratch_nbytes(contraction: Contraction, target: Target) -> int:
    """Bytes of scratch memory that the code will ask for."""
    return _planned(contraction, target)[2].scratch_nbytes


@lru_cache(maxsize=256)
def _planned(contraction: Contraction, target: Target) -> tuple[Contraction, Plan, Layout]:
    contraction = with_phases(with_bounds(contraction))
    way = plan(contraction, target)
    return contraction, way, layout(contraction, way)


def code_of(contraction: Contraction, target: Target, name: str, way: Plan, memory: Layout) -> Code:
    """The code of a plan."""
    scratch = 2 + len(contraction.epilogue.operands)
    item = item_bytes(contraction)
    squares = Squares(f"{name}_turn", target.lanes(item), item, target)
    functions: list[Builder] = []
    parts: list[tuple[str, int]] = []
    for number, copy in enumerate(memory.copies):
        part = f"{name}_copy{number}"
        function, n_chunks = copy_function(copy, part, target, scratch, squares)
        functions.append(function)
        parts.append((part, n_chunks))
    writer = ChunkWriter(contraction, way, memory, target, name, squares)
    functions += [writer.function(), *squares.functions]
    counts = [
        -(-_steps(contraction, way, axis) // way.chunks[axis]) for axis in free_axes(contraction)
    ]
    parts.append((name, prod(counts)))
    declared = sorted(set().union(*(function.declared for function in functions)))
    texts = [*_tables(contraction, way, name), *declared]
    return Code(
        "\n".join([*texts, *(each.function() for each in functions)]),
        tuple(parts),
        memory.scratch_nbytes,
    )


def _steps(contraction: Contraction, way: Plan, axis: int) -> int:
    return way.n_steps(contraction, axis)


def _tables(contraction: Contraction, way: Plan, name: str) -> list[str]:
    """For places or phases of a bound: the first tap, how many, and the element."""
    tables = []
    for number, (bound, linear) in enumerate(zip(contraction.bounds, way.linear, strict=True)):
        if not is_tabled(bound, linear):
            continue
        taps = table(bound, contraction.sizes[bound.place], contraction.sizes[bound.tap])
        numbers = [f"i64 {number}" for each in taps for number in astuple(each)]
        tables.append(
            f"@{name}_taps{number} = internal constant [{len(numbers)} x i64] "
            f"[{', '.join(numbers)}], align 8"
        )
    return tables
