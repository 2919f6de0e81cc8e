"""Loops as a GPU carries them out, beside NumPy: whole loops, on the same memory.

NumPy's kernels carry a unit out. Where a loop begins whose launches have not been met before, these
are made as well, round for round or all rounds at once, and must leave behind what NumPy does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from cuda_shim import ShimDevice
from example_programs import Called

from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.cuda.arrangement import arranged
from graphnn.compiler.cuda.code import Code, Matrices, Part
from graphnn.compiler.cuda.launches import Launch, Place, Step, launches_of
from graphnn.compiler.cuda.row_loop import RowLoop
from graphnn.compiler.unit import Buffer, Instruction, Loop, Region, Storage, Unit
from graphnn.core.dtypes import is_floating
from graphnn.core.op import Array

__all__ = ["Looped", "check_loops", "loops_of"]

BLOCKS = 2
"""About so many blocks of a launch for all rounds are run: their rows are as those of others."""

ROUNDS = 3
"""Of a loop that is launched round by round."""

MOST_APART = 2e-5
"""Of the largest value: some roundings, handed on from round to round."""


@dataclass
class Looped:
    """Loops of a unit, as they are rearranged.

    Attributes
    ----------
    unit, made : Unit
        As it was, and as a GPU carries it out.
    steps : list of Step
        Of ``made``.
    parts : dict of Loop to range
        Of the unit's loops to instructions of ``made``.
    codes : list of Code
    """

    unit: Unit
    made: Unit
    steps: list[Step]
    parts: dict[Loop, range]
    codes: list[Code]

    def launched(self, loop: Loop) -> frozenset[Part]:
        """The functions that a loop launches."""
        steps = (self.steps[number] for number in self.parts[loop])
        does = (launch.does for step in steps for launch in step.launches)
        return frozenset(each for each in does if isinstance(each, Part))


def loops_of(unit: Unit) -> Looped | None:
    """The loops of a unit that are rearranged; those with launches in every round have few."""
    short = _few_rounds(unit)
    made = arranged(short)
    if made is short:
        return None
    steps, codes = launches_of(made)
    parts = _parts(short, made)
    used = frozenset().union(*(Looped(short, made, steps, parts, codes).launched(e) for e in parts))
    return Looped(short, made, steps, parts, [c for c in codes if not used.isdisjoint(c.functions)])


def _few_rounds(unit: Unit) -> Unit:
    whole = arranged(unit)
    at_once = {
        loop
        for loop, inside in _parts(unit, whole).items()
        if any(_is_row_loop(whole.instructions[n]) for n in inside)
    }
    regions = tuple(
        replace(each, count=min(each.count, ROUNDS))
        if isinstance(each, Loop) and each.count is not None and each not in at_once
        else each
        for each in unit.regions
    )
    return replace(unit, regions=regions)


def _is_row_loop(instruction: Instruction) -> bool:
    kernels = (instruction.kernel, *(each.kernel for each in instruction.pieces))
    return any(isinstance(each, RowLoop) for each in kernels)


def _parts(unit: Unit, made: Unit) -> dict[Loop, range]:
    """Where every rearranged loop is now: what is around it stays as it is."""
    inner = [
        each
        for each in unit.loops
        if each.count is not None and not any(_is_within(one, each) for one in unit.regions)
    ]
    kept = set(map(id, unit.instructions))
    parts: dict[Loop, range] = {}
    done = now = 0
    for loop in sorted(inner, key=lambda each: each.begin):
        begin = end = now + loop.begin - done
        behind = unit.instructions[loop.end : loop.end + 1]
        while end < len(made.instructions) and (made.instructions[end],) != behind:
            end += 1
        if not kept.issuperset(map(id, made.instructions[begin:end])):
            parts[loop] = range(begin, end)
        done, now = loop.end, end
    return parts


def _is_within(one: Region, other: Region) -> bool:
    return one is not other and other.begin <= one.begin and one.end <= other.end


def check_loops(calls: Sequence[Called]) -> set[Part]:
    """Carry out the units that have such loops; the functions that were run."""
    device, met = ShimDevice(), set[Part]()
    for call in calls:
        looped = loops_of(call.unit)
        if looped is None or all(looped.launched(each) <= met for each in looped.parts):
            continue
        with call.unchanged() as feeds:
            Lockstep(looped, device, met).run(feeds)
    return met


class Lockstep(InterpretedExecutable):
    """A unit that NumPy carries out, and its loops on a device beside it."""

    def __init__(self, looped: Looped, device: ShimDevice, met: set[Part]) -> None:
        super().__init__(looped.unit)
        arena = self._memory.arena[: looped.unit.plan.nbytes // 4 * 4].view(np.float32)
        arena[...] = np.random.default_rng(0).uniform(-1, 1, arena.size)
        self._looped, self._device, self._met = looped, device, met
        self._functions = device.load(looped.codes)
        self._status = np.zeros(1, np.int64)
        self._held: list[Array] = []
        self._share = 1.0  # of blocks that were run
        self._begins = {each.begin: each for each in looped.parts}

    def _numbers(self) -> Iterator[int]:
        for number in super()._numbers():
            loop = self._begins.get(number)
            if loop is not None and not self._looped.launched(loop) <= self._met:
                depth = self._unit.loops_around(number).index(loop)
                self._check(loop, self._memory.rounds[:depth])
            yield number

    def _check(self, loop: Loop, outer: list[int]) -> None:
        """The launches of a loop in both orders of threads, and what NumPy makes of it."""
        kept = list(self._memory.rounds)
        before, found = self._copies(), []
        self._poison(loop)
        start = self._copies()
        for is_reversed in (False, True):
            self._restore(start)
            self._launch(loop, outer, is_reversed)
            found.append(self._copies())
        for one, other in zip(*found, strict=True):
            assert np.array_equal(one, other), "the order of threads matters"
        self._restore(start)
        self._memory.rounds[:] = outer
        inside = [each for each in self._unit.regions if _is_within(each, loop) or each is loop]
        for number in in_rounds(
            loop.begin, loop.end, inside, self._memory.rounds, self._memory.is_taken
        ):
            self._calls[number]()
        self._memory.rounds[:] = kept
        needed = self._needed(loop)
        assert needed, "nothing of the loop is needed"
        for buffer in needed:
            self._compare(loop, buffer, start[0], found[0][0])
        self._restore(before)
        self._met |= self._looped.launched(loop)

    def _compare(self, loop: Loop, buffer: Buffer, start: Array, found: Array) -> None:
        """What the launches wrote of a buffer must be NumPy's, and so much as was to be written."""
        assert buffer.storage is Storage.ARENA
        begin = self._unit.plan.offsets[buffer.index]
        instructions = self._unit.instructions[loop.begin : loop.end]
        views = (view for each in instructions for view in each.outputs)
        dtype = next(view.dtype for view in views if view.buffer is buffer)
        was, one, other = (
            arena[begin : begin + buffer.nbytes].reshape(-1, dtype.itemsize)
            for arena in (start, found, self._memory.arena)
        )
        is_written, is_wanted = ((one != was).any(axis=1), (other != was).any(axis=1))
        assert is_written.sum() >= 0.5 * self._share * is_wanted.sum() > 0, "little is written"
        one, other = (each[is_written].copy().view(dtype) for each in (one, other))
        if not is_floating(dtype):
            assert np.array_equal(one, other)
            return
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0)
        largest = np.abs(other.astype(np.float64)).max(initial=0)
        assert apart <= MOST_APART * largest, f"{buffer} is {apart} off, of {largest}"

    # ------------------------------------------------------------------------------- memory

    def _written(self, loop: Loop) -> list[Buffer]:
        instructions = self._unit.instructions[loop.begin : loop.end]
        return list(dict.fromkeys(view.buffer for each in instructions for view in each.outputs))

    def _needed(self, loop: Loop) -> list[Buffer]:
        """What the loop writes for others."""
        live = self._unit.plan.live
        return [each for each in self._written(loop) if live[each.index][1] >= loop.end]

    def _poison(self, loop: Loop) -> None:
        """NaN where the loop writes first."""
        plan = self._unit.plan
        for each in self._written(loop):
            if plan.live[each.index][0] >= loop.begin:
                begin = plan.offsets[each.index]
                self._memory.arena[begin : begin + each.nbytes] = 0xFF

    def _copies(self) -> list[Array]:
        return [self._memory.arena.copy(), *(each.array.copy() for each in self._unit.states)]

    def _restore(self, copies: Sequence[Array]) -> None:
        arrays = [self._memory.arena, *(each.array for each in self._unit.states)]
        for array, copy in zip(arrays, copies, strict=True):
            array[...] = copy

    # ----------------------------------------------------------------------------- launches

    def _launch(self, loop: Loop, outer: list[int], is_reversed: bool) -> None:
        made, inside = self._looped.made, self._looped.parts[loop]
        regions = [e for e in made.regions if inside.start <= e.begin and e.end <= inside.stop]
        self._device.is_reversed = is_reversed
        rounds = list(outer)
        for number in in_rounds(inside.start, inside.stop, regions, rounds, self._memory.is_taken):
            step = self._looped.steps[number]
            at_once = _is_row_loop(step.instruction)
            for launch in step.launches:
                blocks = launch.does.blocks if isinstance(launch.does, Part) else 1
                self._device.every = max(1, blocks // BLOCKS) if at_once else 1
                self._share = min(1.0, BLOCKS / blocks) if at_once else 1.0
                self._function(launch)([self._address(each, rounds) for each in launch.places])
        self._device.every = 1
        self._held.clear()
        assert not self._status[0], "a kernel refuses what NumPy takes"

    def _function(self, launch: Launch):
        if isinstance(launch.does, Matrices):
            return self._device.product(launch.does, "float32")
        return self._functions[launch.does]

    def _address(self, place: Place, rounds: Sequence[int]) -> int:
        if place.buffer is None:
            return int(self._status.ctypes.data)
        moved = sum(a * b for a, b in zip(place.moves, rounds, strict=False))
        return self._start(place.buffer) + place.offset + moved

    def _start(self, buffer: Buffer) -> int:
        if buffer.storage is not Storage.CONSTANT:
            return self._memory.address(buffer)
        dense = np.ascontiguousarray(self._unit.constants[buffer.index].attrs["value"].array)
        self._held.append(dense)
        return int(dense.ctypes.data)
