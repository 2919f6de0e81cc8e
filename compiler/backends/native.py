"""The native executor: runs of instructions are one native call, the others are NumPy's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np

from graphnn.compiler.backends.failure import explain
from graphnn.compiler.backends.interpreted import InterpretedExecutable, bind_host
from graphnn.compiler.backends.memory import Memory
from graphnn.compiler.backends.native_calls import NativeCalls
from graphnn.compiler.backends.straight import straight_results
from graphnn.compiler.native.runtime import Segment
from graphnn.compiler.threads import get_num_threads
from graphnn.compiler.unit import Buffer, Instruction, Loop, Unit
from graphnn.core.errors import VerifyError
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import aligned_empty

__all__ = ["NativeExecutable"]

Host: TypeAlias = Callable[[], None]


class NativeExecutable:
    """A unit as segments of native code, with calls of operators' own kernels between them."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._memory = Memory(unit)
        self._status = np.zeros(1, np.int64)
        self._straight = self._straight_results()
        status = int(self._status.ctypes.data)
        self._calls = NativeCalls(unit, self._memory, status, tuple(self._straight))
        self._results = [self._memory.view(view) for view in unit.results]
        places = {buffer: place for place, buffer in enumerate(self._straight)}
        self._places = [places.get(view.buffer) for view in unit.results]
        self._steps: list[Segment | Host] = []
        self._owners: list[list[int]] = []
        self._divide(get_num_threads())

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        feeds, made, slots = self._begin(feeds)
        try:
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

    def profile(self, feeds: Sequence[Array]) -> list[int]:
        """Run once; how many nanoseconds each instruction took."""
        feeds, _made, slots = self._begin(feeds)
        taken = [0] * len(self._unit.instructions)
        for step, owners in zip(self._steps, self._owners, strict=True):
            if isinstance(step, Segment):
                times = step.profile(slots)
                if self._status[0]:
                    self._fail(feeds)
            else:
                start = time.perf_counter_ns()
                step()
                times = [time.perf_counter_ns() - start]
            for owner, nanoseconds in zip(owners, times, strict=True):
                taken[owner] += nanoseconds
        return taken

    def _straight_results(self) -> dict[Buffer, TensorSpec]:
        """The results that are not copied."""
        return straight_results(self._unit, NativeCalls.is_native)

    def _begin(self, feeds: Sequence[Array]) -> tuple[Sequence[Array], list[Array], list[int]]:
        """Be ready for feeds: these as they will be read, new results, addresses of the slots."""
        feeds = self._memory.lend(feeds)
        made = [aligned_empty(each) for each in self._straight.values()]
        return feeds, made, self._calls.addresses([*feeds, *made])

    def _divide(self, n_threads: int) -> None:
        """Make steps, and say for each the instructions that its calls belong to."""
        for numbers in self._together():
            instructions = [self._unit.instructions[number] for number in numbers]
            if self._calls.is_native(instructions[0]):
                step, owners = self._segment(numbers, n_threads)
                self._steps.append(step)
                self._owners.append(owners)
            else:
                self._steps += map(self._host, instructions)
                self._owners += [[number] for number in numbers]

    def _together(self) -> list[list[int]]:
        """The instructions by number: what is native and follows each other is one segment."""
        instructions = self._unit.instructions
        runs = groupby(range(len(instructions)), lambda n: self._calls.is_native(instructions[n]))
        return [list(numbers) for _, numbers in runs]

    def _segment(self, numbers: Sequence[int], n_threads: int) -> tuple[Segment, list[int]]:
        """Native instructions as one segment, and the instruction of each of its calls."""
        owned = [
            (call, number)
            for number in numbers
            for call in self._calls.of(self._unit.instructions[number])
        ]
        first = {number: place for place, (_, number) in reversed(list(enumerate(owned)))}
        first[numbers[-1] + 1] = len(owned)
        loops = [
            Loop(first[each.begin], first[each.end], each.count)
            for each in self._unit.loops
            if numbers[0] <= each.begin and each.end <= numbers[-1] + 1
        ]
        status = int(self._status.ctypes.data)
        calls = [call for call, _ in owned]
        segment = Segment(calls, n_threads, n_slots=self._calls.n_slots, status=status, loops=loops)
        return segment, [number for _, number in owned]

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
