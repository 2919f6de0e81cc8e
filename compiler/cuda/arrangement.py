"""A planned unit as a GPU carries it out: loops with as few launches in a round as can be.

A launch costs some microseconds, and a recurrence has thousands of rounds. What is done stays the
same, and so does the order that memory was planned for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphnn.compiler.cuda.chains import chained, conflict, is_by_point
from graphnn.compiler.cuda.row_loops import row_loop
from graphnn.compiler.kernel import Kernel, Load
from graphnn.compiler.unit import Instruction, Loop, Region, Unit, View

__all__ = ["SHARED_NBYTES", "arranged"]

Listed = list[tuple[Instruction, tuple[Region, ...]]]


SHARED_NBYTES = 227 << 10
"""What the threads of a block may share on a GPU of compute capability 9.0."""


def arranged(unit: Unit, shared_nbytes: int = SHARED_NBYTES) -> Unit:
    """The unit with its innermost loops rearranged.

    Parameters
    ----------
    unit : Unit
        With planned memory.
    shared_nbytes : int
        Most bytes that the threads of a block may share.
    """
    listed: Listed = []
    regions: dict[Region, Region] = {each: each for each in unit.regions}
    done = 0
    for loop in _innermost(unit):
        listed += _as_it_is(unit, done, loop.begin)
        rearranged, regions[loop] = _loop(unit, loop, shared_nbytes)
        listed += rearranged
        done = loop.end
    if not done:
        return unit
    listed += _as_it_is(unit, done, len(unit.instructions))
    return replace(unit, regions=tuple(regions.values())).with_instructions(listed)


def _as_it_is(unit: Unit, begin: int, end: int) -> Listed:
    """Some instructions, and the regions that they are in."""
    return [(unit.instructions[n], unit.regions_around(n)) for n in range(begin, end)]


def _innermost(unit: Unit) -> list[Loop]:
    """Loops that go round so many times, without regions inside of them, in their order."""
    ordered = sorted(unit.regions, key=lambda each: (each.begin, -each.end))
    following = [each.begin for each in ordered[1:]]
    return [
        each
        for each, begin in zip(ordered, [*following, len(unit.instructions)], strict=False)
        if isinstance(each, Loop) and each.count is not None and each.end <= begin
    ]


def _loop(unit: Unit, loop: Loop, shared_nbytes: int) -> tuple[Listed, Loop]:
    """The instructions for a loop, and what is left of it."""
    assert loop.count is not None
    outer = tuple(each for each in unit.regions_around(loop.begin) if each is not loop)
    depth = sum(isinstance(each, Loop) for each in outer)
    apart = [part for n in range(loop.begin, loop.end) for part in _apart(unit.instructions[n])]
    early = _with_copies_early(unit, apart)
    body = _in_chains(unit, early)
    whole = row_loop(unit, loop, body, shared_nbytes)
    if whole is not None:
        return [(whole, outer)], loop
    before, body, after = _rotated(unit, body, loop.count, depth)
    left = replace(loop, count=loop.count - 1) if before else loop
    listed: Listed = [(each, outer) for each in before]
    listed += [(each, (*outer, left)) for each in body]
    listed += [(each, outer) for each in after]
    return listed, left


def _apart(instruction: Instruction) -> list[Instruction]:
    """Pieces that are kernels as instructions of their own: parts that are joined, for example."""
    if instruction.scratch is not None or not instruction.pieces:
        return [instruction]
    found = []
    for kernel, operands in ((each.kernel, each.operands) for each in instruction.pieces):
        views = tuple(each for each in operands if isinstance(each, View))
        if not isinstance(kernel, Kernel) or len(views) < len(operands):
            return [instruction]
        n_inputs = min(operand for operand, _ in kernel.stores)
        kind = "copy" if kernel.values == (Load(0),) else "kernel"
        inputs, outputs = views[:n_inputs], views[n_inputs:]
        found.append(
            replace(
                instruction, kind=kind, inputs=inputs, outputs=outputs, kernel=kernel, pieces=()
            )
        )
    return found


def _with_copies_early(unit: Unit, body: Sequence[Instruction]) -> list[Instruction]:
    """Copies directly behind what they copy, so that they become part of it."""
    found: list[Instruction] = []
    for each in body:
        place = len(found)
        if each.kind == "copy":
            while place and not conflict(unit, found[place - 1], each):
                place -= 1
        if place == 0 or not is_by_point(found[place - 1]):
            place = len(found)
        found.insert(place, each)
    return found


def _in_chains(unit: Unit, body: Sequence[Instruction]) -> list[Instruction]:
    """Elementwise kernels that follow each other as one."""
    found: list[Instruction] = []
    for each in body:
        is_needed = found and conflict(unit, found[-1], each)
        both = chained(unit, found[-1], each) if is_needed else None
        if both is None:
            found.append(each)
        else:
            found[-1] = both
    return found


def _rotated(
    unit: Unit, body: list[Instruction], count: int, depth: int
) -> tuple[list[Instruction], list[Instruction], list[Instruction]]:
    """What comes before a loop, what is in it, and what comes behind it.

    What ends a round and what begins the next one are one kernel, if they can be: the first round
    begins before the loop, and the last one ends behind it.
    """
    if count < 2 or len(body) < 3:
        return [], body, []
    first, *middle, last = body
    both = chained(unit, last, _later(first, depth, 1))
    if both is None:
        return [], body, []
    after = [_at(each, depth, count - 1) for each in (*middle, last)]
    return [_at(first, depth, 0)], _in_chains(unit, [*middle, both]), after


def _at(instruction: Instruction, depth: int, rounds: int) -> Instruction:
    """An instruction of a loop, outside of it: in one of its rounds."""
    later = _later(instruction, depth, rounds)

    def fixed(view: View) -> View:
        return replace(view, moves=view.moves[:depth])

    return _with_views(later, fixed)


def _later(instruction: Instruction, depth: int, rounds: int) -> Instruction:
    """An instruction of a loop as it is some rounds later."""

    def moved(view: View) -> View:
        by = view.moves[depth] if len(view.moves) > depth else 0
        return replace(view, offset=view.offset + by * rounds)

    return _with_views(instruction, moved)


def _with_views(instruction: Instruction, change: Callable[[View], View]) -> Instruction:
    return replace(
        instruction,
        inputs=tuple(map(change, instruction.inputs)),
        outputs=tuple(map(change, instruction.outputs)),
    )
