"""The native executor: runs of instructions are one native call, the others are NumPy's."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from graphnn.compiler.backends.failure import explain
from graphnn.compiler.backends.interpreted import InterpretedExecutable, bind_host
from graphnn.compiler.backends.memory import Memory
from graphnn.compiler.backends.native_calls import NativeCalls
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.backends.straight import new_result, straight_results
from graphnn.compiler.native import limits
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.native.runtime import Call, Fork, Segment, Slot
from graphnn.compiler.threads import get_num_threads
from graphnn.compiler.unit import Buffer, Instruction, Loop, Region, Unit
from graphnn.core.errors import VerifyError
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import bring_home

__all__ = ["NativeExecutable"]

Host: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Moving:
    """An argument that moves with the rounds of loops."""

    start: int | Slot
    moves: tuple[int, ...]

    def address(self, slots: Sequence[int], rounds: Sequence[int]) -> int:
        """Where it is in this round."""
        start = slots[self.start.number] if isinstance(self.start, Slot) else self.start
        return start + sum(by * done for by, done in zip(self.moves, rounds, strict=False))


class NativeExecutable:
    """A unit as segments of native code, with calls of operators' own kernels between them."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._memory = Memory(unit)
        self._status = np.zeros(1, np.int64)
        self._straight = self._straight_results()
        self._straight_specs = [(each, each.nbytes) for each in self._straight.values()]
        status = int(self._status.ctypes.data)
        self._calls = NativeCalls(unit, self._memory, status, tuple(self._straight))
        self._results = [self._memory.view(view) for view in unit.results]
        places = {buffer: place for place, buffer in enumerate(self._straight)}
        self._places = [places.get(view.buffer) for view in unit.results]
        self._in_python = self._regions_in_python()
        self._steps: list[Segment | Host] = []
        self._begins: list[int] = []
        self._owners: list[list[int]] = []
        self._moving: dict[int, list[_Moving]] = {}
        self.n_threads = get_num_threads()
        self._divide(self.n_threads)
        self._regions = self._regions_of_steps()

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        feeds, made, slots = self._begin(feeds)
        try:
            if self._regions:
                self._go_round(feeds, slots)
            else:
                for step in self._steps:
                    if isinstance(step, Segment):
                        if step.run(slots):
                            self._fail(feeds)
                    else:
                        step()
            return [
                result().copy() if place is None else made[place]
                for result, place in zip(self._results, self._places, strict=True)
            ]
        finally:
            self._memory.give_back()

    def limits(self) -> Limits:
        """What this machine reaches with as many threads."""
        return limits.measured_limits(self.n_threads)

    now_ns = staticmethod(time.perf_counter_ns)

    def profile(self, feeds: Sequence[Array]) -> list[int]:
        """Run once; how many nanoseconds each instruction took."""
        feeds, _made, slots = self._begin(feeds)
        taken = [0] * len(self._unit.instructions)
        for number in self._numbers():
            step = self._steps[number]
            if isinstance(step, Segment):
                times = step.profile(self._addresses(number, slots))
                if self._status[0]:
                    self._fail(feeds)
            else:
                start = time.perf_counter_ns()
                step()
                times = [time.perf_counter_ns() - start]
            for owner, nanoseconds in zip(self._owners[number], times, strict=True):
                taken[owner] += nanoseconds
        return taken

    def _go_round(self, feeds: Sequence[Array], slots: list[int]) -> None:
        """Run all steps, where Python goes round loops and skips branches."""
        for number in self._numbers():
            step = self._steps[number]
            if not isinstance(step, Segment):
                step()
            elif step.run(self._addresses(number, slots)):
                self._fail(feeds)

    def _numbers(self) -> Iterator[int]:
        """The numbers of steps in the order in which they are taken."""
        memory = self._memory
        memory.rounds.clear()
        return in_rounds(0, len(self._steps), self._regions, memory.rounds, memory.is_taken)

    def _addresses(self, number: int, slots: list[int]) -> list[int]:
        """The slots of a segment: those of all, and what moves with rounds made by Python."""
        moving = self._moving.get(number)
        if moving is None:
            return slots
        return [*slots, *(each.address(slots, self._memory.rounds) for each in moving)]

    def _straight_results(self) -> dict[Buffer, TensorSpec]:
        """The results that are not copied."""
        return straight_results(self._unit, NativeCalls.is_native)

    def _begin(self, feeds: Sequence[Array]) -> tuple[Sequence[Array], list[Array], list[int]]:
        """Be ready for feeds: these as they will be read, new results, addresses of the slots."""
        bring_home(self._unit.states)
        feeds = self._memory.lend(feeds)
        made = [new_result(each, nbytes) for each, nbytes in self._straight_specs]
        return feeds, made, self._calls.addresses([*feeds, *made])

    def _regions_in_python(self) -> list[Region]:
        """The loops that native code does not go round by itself, and branches with host code."""
        instructions = self._unit.instructions
        return [
            each
            for each in self._unit.regions
            if not all(map(NativeCalls.is_native, instructions[each.begin : each.end]))
        ]

    def _regions_of_steps(self) -> list[Region]:
        """The regions that Python looks after, of steps."""
        begins = self._begins
        return [
            replace(each, begin=bisect_left(begins, each.begin), end=bisect_left(begins, each.end))
            for each in self._in_python
        ]

    def _divide(self, n_threads: int) -> None:
        """Make steps, and say for each the instructions that its calls belong to."""
        for numbers in self._together():
            if self._calls.is_native(self._unit.instructions[numbers[0]]):
                self._add_segment(numbers, n_threads)
                continue
            for number in numbers:
                self._steps.append(self._host(self._unit.instructions[number]))
                self._begins.append(number)
                self._owners.append([number])

    def _together(self) -> list[list[int]]:
        """The instructions by number: what is native and follows each other is one segment.

        A segment does not reach over the ends of a region that Python looks after.
        """
        instructions = self._unit.instructions

        def kind(number: int) -> tuple[object, ...]:
            around = (each for each in self._in_python if each.begin <= number < each.end)
            return self._calls.is_native(instructions[number]), *around

        return [list(numbers) for _, numbers in groupby(range(len(instructions)), kind)]

    def _add_segment(self, numbers: Sequence[int], n_threads: int) -> None:
        """Native instructions as one segment, which knows the instruction of each of its calls."""
        depth = sum(
            isinstance(each, Loop) and each.begin <= numbers[0] < each.end
            for each in self._in_python
        )
        moving: list[_Moving] = []
        calls: list[Call] = []
        owners: list[int] = []
        places = {}
        for number in numbers:
            places[number] = len(calls)
            for call in self._calls.of(self._unit.instructions[number]):
                calls.append(self._told_where(call, depth, moving) if depth else call)
                owners.append(number)
        places[numbers[-1] + 1] = len(calls)
        inside = (each for each in self._unit.regions if each not in self._in_python)
        regions: list[Loop | Fork] = []
        for each in inside:
            if numbers[0] <= each.begin and each.end <= numbers[-1] + 1:
                begin, end = places[each.begin], places[each.end]
                if isinstance(each, Loop):
                    regions.append(Loop(begin, end, each.count))
                else:
                    test = self._calls.test_of(each)
                    test = self._told_where(test, depth, moving) if depth else test
                    regions.append(Fork(begin, end, test, each.when, each.leaves))
        if moving:
            self._moving[len(self._steps)] = moving
        status = int(self._status.ctypes.data)
        n_slots = self._calls.n_slots + len(moving)
        segment = Segment(calls, n_threads, n_slots=n_slots, status=status, regions=regions)
        self._steps.append(segment)
        self._begins.append(numbers[0])
        self._owners.append(owners)

    def _told_where(self, call: Call, depth: int, moving: list[_Moving]) -> Call:
        """The call with slots for what moves in the loops that Python goes round."""
        arguments = list(call.arguments)
        for place, moves in enumerate(call.moves):
            if any(moves[:depth]):
                moving.append(_Moving(arguments[place], moves[:depth]))
                arguments[place] = Slot(self._calls.n_slots + len(moving) - 1)
        inner = tuple(moves[depth:] for moves in call.moves)
        return replace(call, arguments=tuple(arguments), moves=inner)

    def _host(self, instruction: Instruction) -> Host:
        """A call of the operator's own kernel."""
        carry_out = bind_host(instruction, self._memory)

        def step() -> None:
            try:
                with np.errstate(all="ignore"):
                    carry_out()
            except Exception as error:
                explain(error, instruction.node)
                raise

        return step

    def _fail(self, feeds: Sequence[Array]) -> None:
        """Native code met what an operator refuses: let that operator say it in words.

        No state has been written; interpreted, the program stops at the same place.
        """
        self._status[0] = 0
        InterpretedExecutable(self._unit).run(feeds)
        raise VerifyError(
            "native code refuses what the operators' own kernels take",
            where="",
            hint="this is a bug in graphnn; please report it",
        )
