"""A unit's instructions as launches: functions and products with places of memory.

It is known without a device; a device only makes functions of the code, and addresses of places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, TypeAlias

from graphnn.compiler.cuda.code import (
    Code,
    Convolution,
    Convolved,
    Matrices,
    Part,
    Product,
    guarded,
    named,
)
from graphnn.compiler.cuda.generators import generate
from graphnn.compiler.cuda.vectors import NBYTES, widened
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View

__all__ = ["STATUS", "Launch", "Place", "Step", "launched", "launches_of", "multiple_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operand begins.

    Attributes
    ----------
    buffer : Buffer or None
        None for the status word.
    offset : int
    moves : tuple of int
        Bytes that it moves by with every round of the loops around it, outermost first.
    """

    buffer: Buffer | None
    offset: int = 0
    moves: tuple[int, ...] = ()

    def further(self, nbytes: int) -> Place:
        """So many bytes behind."""
        return replace(self, offset=self.offset + nbytes) if nbytes else self


STATUS = Place(None)


@dataclass(frozen=True, slots=True)
class Launch:
    """A function, or what a library does, and where its operands lie."""

    does: Part | Matrices | Convolution
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What an instruction is on a device: launches, or a call of a library.

    Attributes
    ----------
    instruction : Instruction
    launches : tuple of Launch
    does : tuple of Instruction
        Whose work the launches do.
    is_call : bool
        Whether a library is called, on arrays of the device.
    alternative : tuple of Launch
        What does the same where the device's library can do the first of these.
    """

    instruction: Instruction
    launches: tuple[Launch, ...]
    does: tuple[Instruction, ...]
    is_call: bool
    alternative: tuple[Launch, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether an operator is called on arrays without elements alone."""
        return self.is_call and not any(each.nbytes for each in self.instruction.inputs)


Codes: TypeAlias = dict[tuple[Any, bool], Code]


def launches_of(unit: Unit) -> tuple[list[Step], list[Code]]:
    """The steps of a unit, one for each instruction, and the code of all their functions.

    Equal kernels are one function. Where a kernel of the unit may refuse what it meets, those that
    write state look at the status word first: state is as it was before a run that is refused.
    """
    codes: Codes = {}
    refuses = any(map(_may_refuse, unit.instructions))
    steps = [_step(unit, each, codes, refuses) for each in unit.instructions]
    return steps, list(codes.values())


def launched(codes: Iterable[Code], launches: Iterable[Launch]) -> list[Code]:
    """The code of which something is launched."""
    parts = {each.does for each in launches}
    return [code for code in codes if not parts.isdisjoint(code.functions)]


def _step(unit: Unit, instruction: Instruction, codes: Codes, refuses: bool) -> Step:
    launches: tuple[Launch, ...] = ()
    alternative: tuple[Launch, ...] = ()
    for kernel, operands in _works(instruction):
        places, code = _placed(unit, instruction, kernel, operands, codes, refuses)
        launches += tuple(_launch(part, places) for part in code.parts)
        alternative += tuple(_launch(part, places) for part in code.alternative)
    has_results = any(each.nbytes for each in instruction.outputs)
    is_call = not launches and has_results and instruction.kind != "move"
    does = (instruction,) if launches else ()
    return Step(instruction, launches, does, is_call, alternative)


def _may_refuse(instruction: Instruction) -> bool:
    """Whether an instruction may write into the status word."""
    operands = (operand for piece in instruction.pieces for operand in piece.operands)
    return any(_place(each) == STATUS for each in operands)


def _works(instruction: Instruction) -> Iterator[tuple[Any, Sequence[Any]]]:
    """The kernels of an instruction, and the operands of each."""
    if instruction.kernel is not None:
        yield instruction.kernel, (*instruction.inputs, *instruction.outputs)
    for piece in instruction.pieces:
        yield piece.kernel, piece.operands


def _placed(
    unit: Unit,
    instruction: Instruction,
    kernel: Any,
    operands: Sequence[Any],
    codes: Codes,
    refuses: bool,
) -> tuple[list[Place], Code]:
    """The code of a kernel, and the places that its functions are given."""
    places = [_place(each) for each in operands]
    is_guarded = refuses and _commits(instruction, places)
    if isinstance(kernel, Kernel):
        kernel = widened(kernel, [multiple_of(unit, each) for each in places])
    key = kernel, is_guarded
    if key not in codes:
        code = generate(kernel, named("kernel", kernel, is_guarded))
        codes[key] = guarded(code) if is_guarded else code
    code = codes[key]
    if code.scratch_nbytes:
        assert instruction.scratch is not None
        places.append(Place(instruction.scratch))
    if is_guarded:
        places.append(STATUS)
    return places, code


def _launch(part: Part | Product | Convolved, places: Sequence[Place]) -> Launch:
    if isinstance(part, Part):
        return Launch(part, tuple(places))
    does = part.matrices if isinstance(part, Product) else part.convolution
    starts = [places[each] for each in part.operands]
    offsets = part.offsets or (0,) * len(starts)
    return Launch(does, tuple(at.further(by) for at, by in zip(starts, offsets, strict=True)))


def _commits(instruction: Instruction, places: Sequence[Place]) -> bool:
    """Whether one of the places is where an instruction writes state."""
    written = {each.buffer for each in instruction.outputs if each.buffer.storage is Storage.STATE}
    return any(each.buffer in written for each in places)


def multiple_of(unit: Unit, place: Place) -> int:
    """Bytes that the address of a place is a multiple of, in every round; `NBYTES` at most.

    Memory begins at multiples of more, see `Device.allocate`.
    """
    if place.buffer is None:
        return 1
    start = place.offset
    if place.buffer.storage is Storage.ARENA:
        assert unit.plan is not None
        start += unit.plan.offsets[place.buffer.index]
    return gcd(NBYTES, start, *place.moves)


def _place(operand: Any) -> Place:
    if not isinstance(operand, View):
        return STATUS
    return Place(operand.buffer, operand.offset, operand.moves)
