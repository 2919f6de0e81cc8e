"""A unit's instructions as launches: functions and products with places of memory.

It is known without a device; a device only makes functions of the code, and addresses of places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, TypeAlias

from graphnn.compiler.cuda.code import Code, Matrices, Part, Product, guarded
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
    at_once : Launch or None
        A product and its epilogue, which does what all launches do: for devices that have it.
    """

    instruction: Instruction
    launches: tuple[Launch, ...]
    does: tuple[Instruction, ...]
    is_call: bool
    at_once: Launch | None = None


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
    return [code for code in codes if not parts.isdisjoint(code.parts)]


def _step(unit: Unit, instruction: Instruction, codes: Codes, refuses: bool) -> Step:
    launches = tuple(_launches(unit, instruction, codes, refuses))
    has_results = any(each.nbytes for each in instruction.outputs)
    is_call = not launches and has_results and instruction.kind != "move"
    at_once = _at_once(instruction, codes)
    return Step(instruction, launches, (instruction,) if launches else (), is_call, at_once)


def _at_once(instruction: Instruction, codes: Codes) -> Launch | None:
    """One launch for a contraction and its epilogue; it does not look at the status word."""
    code = codes.get((instruction.kernel, False)) or codes.get((instruction.kernel, True))
    if code is None or code.at_once is None:
        return None
    operands = (*instruction.inputs, *instruction.outputs)
    places = tuple(_place(operands[each]) for each in code.at_once.operands)
    return Launch(code.at_once.matrices, places)


def _may_refuse(instruction: Instruction) -> bool:
    """Whether an instruction may write into the status word."""
    operands = (operand for piece in instruction.pieces for operand in piece.operands)
    return any(_place(each) == STATUS for each in operands)


def _launches(
    unit: Unit, instruction: Instruction, codes: Codes, refuses: bool
) -> Iterator[Launch]:
    if instruction.kernel is not None:
        operands = (*instruction.inputs, *instruction.outputs)
        yield from _parts(unit, instruction, instruction.kernel, operands, codes, refuses)
    for piece in instruction.pieces:
        yield from _parts(unit, instruction, piece.kernel, piece.operands, codes, refuses)


def _parts(
    unit: Unit,
    instruction: Instruction,
    kernel: Any,
    operands: Sequence[Any],
    codes: Codes,
    refuses: bool,
) -> Iterator[Launch]:
    places = [_place(each) for each in operands]
    is_guarded = refuses and _commits(instruction, places)
    if isinstance(kernel, Kernel):
        kernel = widened(kernel, [multiple_of(unit, each) for each in places])
    key = kernel, is_guarded
    if key not in codes:
        code = generate(kernel, f"kernel{len(codes)}")
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
