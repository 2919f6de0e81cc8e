"""postpone_updates: on a GPU, parameters are updated at the end, by as few launches as can be.

Before: product, sum, update, product, sum, update.
After: product, product, sum, sum, update, update, of which `side_by_side` makes two launches.

What is small, and needed by nothing but what waits, waits too, and what waits is ordered by what it
needs of each other. A gradient is kept until then, which takes no more memory than the state that
it changes: what reads more than it writes, and nothing else that waits reads, stays where it is.
Under a memory budget everything does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphnn.compiler.driver import Driver
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.unit import Branch, Buffer, Instruction, Storage, Unit

__all__ = ["postpone_updates"]

SMALL = 1 << 16
"""Bytes that may be kept for longer for nothing."""


def postpone_updates(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    if unit.options.backend != "cupy" or unit.options.memory_budget is not None:
        return unit
    late = _late(unit)
    if not late:
        return unit
    numbers = [number for number in range(len(unit.instructions)) if number not in late]
    numbers += _by_levels(unit.instructions, sorted(late))
    listed = [(unit.instructions[each], unit.regions_around(each)) for each in numbers]
    return unit.with_instructions(listed)


def _late(unit: Unit) -> set[int]:
    """Numbers of the instructions that can wait."""
    inside = {number for each in unit.regions for number in range(each.begin, each.end)}
    flags = {each.begin: each.flag.buffer for each in unit.regions if isinstance(each, Branch)}
    late: set[int] = set()
    kept: set[Buffer] = set()
    read: set[Buffer] = set()
    written: set[Buffer] = set()
    for number in reversed(range(len(unit.instructions))):
        instruction = unit.instructions[number]
        sources, targets = _touched(instruction)
        needs_nothing = targets.isdisjoint(read | written) and sources.isdisjoint(written)
        if needs_nothing and number not in inside and _may_wait(instruction, kept):
            late.add(number)
            kept |= sources
            continue
        read |= sources
        written |= targets
        if number in flags:
            read.add(flags[number])
    return late


def _touched(instruction: Instruction) -> tuple[set[Buffer], set[Buffer]]:
    """What an instruction reads, and what it writes."""
    sources = {each.buffer for each in instruction.sources}
    return sources, {each.buffer for each in instruction.outputs}


def _may_wait(instruction: Instruction, kept: set[Buffer]) -> bool:
    """Whether an instruction can be part of a launch, and costs no memory if it waits."""
    kernels: list[object] = [each.kernel for each in instruction.pieces]
    kernels = kernels or [instruction.kernel]
    sources, targets = _touched(instruction)
    made = _nbytes(each for each in targets if each.storage is Storage.ARENA)
    more = _nbytes(e for e in sources if e.storage is Storage.ARENA and e not in kept)
    return (
        all(isinstance(each, Kernel) for each in kernels)
        and made <= SMALL
        and more <= max(SMALL, _nbytes(targets))
    )


def _nbytes(buffers: Iterable[Buffer]) -> int:
    return sum(each.nbytes for each in buffers)


def _by_levels(instructions: Sequence[Instruction], numbers: Sequence[int]) -> list[int]:
    """Instructions, each behind all that come before it and touch what it touches."""
    level: dict[int, int] = {}
    reading: dict[Buffer, int] = {}
    writing: dict[Buffer, int] = {}
    for number in numbers:
        sources, targets = _touched(instructions[number])
        before = [writing.get(each, -1) for each in (*sources, *targets)]
        before += [reading.get(each, -1) for each in targets]
        level[number] = own = 1 + max(before, default=-1)
        reading.update((each, max(own, reading.get(each, -1))) for each in sources)
        writing.update((each, own) for each in targets)
    return sorted(numbers, key=level.__getitem__)
