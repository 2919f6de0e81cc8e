"""From instructions to native calls: addresses of functions, of operands, and costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from typing import Any

from graphnn.compiler.backends.memory import Memory
from graphnn.compiler.kernel import EXPENSIVE, Apply, Contraction, Kernel
from graphnn.compiler.native.generators import request_for
from graphnn.compiler.native.library import Loaded, host_library
from graphnn.compiler.native.moves import Piece
from graphnn.compiler.native.pointers import address_of
from graphnn.compiler.native.runtime import Call, Interval, Slot, slot_interval
from graphnn.compiler.unit import Branch, Buffer, Instruction, Storage, Unit, View
from graphnn.core.op import Array

__all__ = ["NativeCalls", "is_quick", "kernels_of"]

BYTES_PER_NS = 10.0
FLOPS_PER_NS = 50.0
"""About what one core does; only how work is divided depends on it."""

QUICK_NS = 150.0
"""A program with less work than this takes longer to be called than to run: its code is compiled
without optimisation, four times faster."""

STATUS_NBYTES = 8


class NativeCalls:
    """The native instructions of a unit, compiled and with their memory.

    Parameters
    ----------
    unit : Unit
    memory : Memory
    status : int
        Address of the word that kernels set when they meet what their operator refuses.
    straight : sequence of Buffer
        Results whose memory is another one in every run.
    """

    def __init__(
        self, unit: Unit, memory: Memory, status: int, straight: Sequence[Buffer] = ()
    ) -> None:
        self._memory = memory
        self._status = status
        self._lent = {each: len(unit.feeds) + number for number, each in enumerate(straight)}
        self._slots: dict[tuple[int, int], int] = {}  # (number of the array, offset) -> number
        kernels = list(dict.fromkeys(k for each in unit.instructions for k in kernels_of(each)))
        quick = is_quick(unit)
        loaded = host_library().load([request_for(each, is_quick=quick) for each in kernels])
        self._loaded: dict[Any, Loaded] = dict(zip(kernels, loaded, strict=True))
        # By identity, for equality looks at every value of every kernel.
        self._made = {id(each): tuple(self._calls(each)) for each in unit.instructions}
        self._tests = {each: self._test(each.flag) for each in unit.branches}

    @staticmethod
    def is_native(instruction: Instruction) -> bool:
        """Whether native code carries it out."""
        return bool(instruction.pieces) or instruction.kernel is not None

    @property
    def n_slots(self) -> int:
        """How many addresses every segment is run with."""
        return len(self._slots)

    def addresses(self, arrays: Sequence[Array]) -> list[int]:
        """The address of every slot, for the feeds and then the straight results of one run."""
        starts = [address_of(each) for each in arrays]
        return [starts[number] + offset for number, offset in self._slots]

    def of(self, instruction: Instruction) -> Sequence[Call]:
        """The calls of an instruction of the unit, in order."""
        return self._made[id(instruction)]

    def test_of(self, branch: Branch) -> Call:
        """What native code looks at to see whether a branch of the unit is taken."""
        return self._tests[branch]

    def _test(self, flag: View) -> Call:
        return Call(0, 0, (self._argument(flag),), (self._interval(flag),), moves=(flag.moves,))

    def _calls(self, instruction: Instruction) -> Iterator[Call]:
        if instruction.kernel is not None:
            operands = (*instruction.inputs, *instruction.outputs, *instruction.panels)
            yield from self._parts(instruction, instruction.kernel, operands, instruction.nbytes)
        for piece in instruction.pieces:
            yield from self._parts(instruction, piece.kernel, piece.operands, _nbytes(piece))

    def _parts(
        self, instruction: Instruction, kernel: Any, operands: Sequence[Any], nbytes: int
    ) -> Iterator[Call]:
        loaded = self._loaded[kernel]
        arguments = [self._argument(each) for each in operands]
        touched = [self._interval(each) for each in operands]
        reads, writes = list(touched), list(touched)
        if instruction.kernel is not None:
            reads = [self._interval(each) for each in instruction.sources]
            writes = [self._interval(each) for each in instruction.outputs]
        if loaded.scratch_nbytes:
            assert instruction.scratch is not None
            start = self._memory.address(instruction.scratch)
            arguments.append(start)
            writes.append((start, start + loaded.scratch_nbytes))
        is_commit = any(each.buffer.storage is Storage.STATE for each in instruction.outputs)
        cost = cost_ns(kernel, nbytes, instruction.flops)
        *preparing, main = loaded.parts
        scratch_ns = 2 * loaded.scratch_nbytes / BYTES_PER_NS
        costs = [scratch_ns / len(preparing) for _ in preparing] + [cost]
        for (address, n_chunks), each_ns in zip((*preparing, main), costs, strict=True):
            yield Call(
                address=address,
                n_chunks=n_chunks,
                arguments=tuple(arguments),
                reads=tuple(reads),
                writes=tuple(writes),
                cost_ns=each_ns,
                is_commit=is_commit,
                moves=tuple(each.moves if isinstance(each, View) else () for each in operands),
            )

    def _number_lent(self, buffer: Buffer) -> int | None:
        """Which of the arrays of a run a buffer is: a feed, or behind them a straight result."""
        if buffer.storage is Storage.FEED:
            return buffer.index
        return self._lent.get(buffer)

    def _argument(self, operand: Any) -> int | Slot:
        """The address of an operand's first element."""
        if not isinstance(operand, View):
            return self._status
        number = self._number_lent(operand.buffer)
        if number is not None:
            key = (number, operand.offset)
            return Slot(self._slots.setdefault(key, len(self._slots)))
        if operand.nbytes == 0:
            return 0
        return self._memory.address(operand.buffer) + operand.offset

    def _interval(self, operand: Any) -> Interval:
        """The memory of an operand's buffer."""
        if not isinstance(operand, View):
            return self._status, self._status + STATUS_NBYTES
        buffer: Buffer = operand.buffer
        number = self._number_lent(buffer)
        if number is not None:
            return slot_interval(number, buffer.nbytes)
        if operand.nbytes == 0:
            return 0, 0
        start = self._memory.address(buffer)
        return start, start + buffer.nbytes


def is_quick(unit: Unit) -> bool:
    """Whether a program has so little to do that its code may be slow."""
    if any(each.count is None for each in unit.loops):
        return False  # nobody knows
    pairs = zip(unit.instructions, unit.runs, strict=True)
    costs = (runs * cost for each, runs in pairs for cost in _costs_ns(each))
    return not any(work_ns >= QUICK_NS for work_ns in accumulate(costs))


def kernels_of(instruction: Instruction) -> list[Any]:
    """Everything that code is generated for."""
    own = [] if instruction.kernel is None else [instruction.kernel]
    return own + [each.kernel for each in instruction.pieces]


def _nbytes(piece: Piece) -> int:
    """Bytes that one piece of an instruction, which may have thousands, reads and writes."""
    return sum(each.nbytes for each in piece.operands if isinstance(each, View))


def _costs_ns(instruction: Instruction) -> Iterator[float]:
    """About how long everything takes that code is generated for, one after the other."""
    if instruction.kernel is not None:
        yield cost_ns(instruction.kernel, instruction.nbytes, instruction.flops)
    for piece in instruction.pieces:
        yield cost_ns(piece.kernel, _nbytes(piece), instruction.flops)


def cost_ns(kernel: Any, nbytes: int, flops: int) -> float:
    """About how long a kernel takes on one thread, by the bytes and FLOPs of what it does."""
    moved = nbytes / BYTES_PER_NS
    match kernel:
        case Contraction():
            return max(moved, 2 * prod(kernel.sizes) / FLOPS_PER_NS)
        case Kernel():
            applied = [each for each in kernel.values if isinstance(each, Apply)]
            costly = sum(each.op in EXPENSIVE for each in applied)
            return max(moved, prod(kernel.sizes) * (0.05 * len(applied) + 0.6 * costly))
        case _:
            return max(moved, flops / FLOPS_PER_NS)
