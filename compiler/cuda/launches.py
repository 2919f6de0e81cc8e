"""A unit's instructions as launches: functions and products with places of memory.

It is known without a device; a device only makes functions of the code, and addresses of places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphnn.compiler.cuda.code import Code, Matrices, Part, Product, guarded, named
from graphnn.compiler.cuda.generators import generate
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View

__all__ = ["STATUS", "Launch", "Place", "Step", "launches_of"]


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


STATUS = Place(None)


@dataclass(frozen=True, slots=True)
class Launch:
    """A function, or a product, and where its operands lie."""

    does: Part | Matrices
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
    """

    instruction: Instruction
    launches: tuple[Launch, ...]
    does: tuple[Instruction, ...]
    is_call: bool


Codes: TypeAlias = dict[tuple[Any, bool], Code]


def launches_of(unit: Unit) -> tuple[list[Step], list[Code]]:
    """The steps of a unit, one for each instruction, and the code of all their functions.

    Equal kernels are one function. Where a kernel of the unit may refuse what it meets, those that
    write state look at the status word first: state is as it was before a run that is refused.
    """
    codes: Codes = {}
    refuses = any(map(_may_refuse, unit.instructions))
    steps = [_step(each, codes, refuses) for each in unit.instructions]
    return steps, list(codes.values())


def _step(instruction: Instruction, codes: Codes, refuses: bool) -> Step:
    launches = tuple(_launches(instruction, codes, refuses))
    has_results = any(each.nbytes for each in instruction.outputs)
    is_call = not launches and has_results and instruction.kind != "move"
    return Step(instruction, launches, (instruction,) if launches else (), is_call)


def _may_refuse(instruction: Instruction) -> bool:
    """Whether an instruction may write into the status word."""
    operands = (operand for piece in instruction.pieces for operand in piece.operands)
    return any(_place(each) == STATUS for each in operands)


def _launches(instruction: Instruction, codes: Codes, refuses: bool) -> Iterator[Launch]:
    if instruction.kernel is not None:
        operands = (*instruction.inputs, *instruction.outputs)
        yield from _parts(instruction, instruction.kernel, operands, codes, refuses)
    for piece in instruction.pieces:
        yield from _parts(instruction, piece.kernel, piece.operands, codes, refuses)


def _parts(
    instruction: Instruction, kernel: Any, operands: Sequence[Any], codes: Codes, refuses: bool
) -> Iterator[Launch]:
    places = [_place(each) for each in operands]
    is_guarded = refuses and _commits(instruction, places)
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
    for part in code.parts:
        if isinstance(part, Product):
            yield Launch(part.matrices, tuple(places[each] for each in part.operands))
        else:
            yield Launch(part, tuple(places))


def _commits(instruction: Instruction, places: Sequence[Place]) -> bool:
    """Whether one of the places is where an instruction writes state."""
    written = {each.buffer for each in instruction.outputs if each.buffer.storage is Storage.STATE}
    return any(each.buffer in written for each in places)


def _place(operand: Any) -> Place:
    if not isinstance(operand, View):
        return STATUS
    return Place(operand.buffer, operand.offset, operand.moves)
