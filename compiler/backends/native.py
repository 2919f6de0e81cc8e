"""The native executor: runs of instructions are one native call, the others are NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from graphnn.compiler.backends.failure import explain
from graphnn.compiler.backends.interpreted import InterpretedExecutable, bind_host
from graphnn.compiler.backends.memory import Memory
from graphnn.compiler.backends.native_calls import NativeCalls
from graphnn.compiler.native.runtime import Segment
from graphnn.compiler.threads import get_num_threads
from graphnn.compiler.unit import Instruction, Unit
from graphnn.core.errors import VerifyError
from graphnn.core.op import Array

__all__ = ["NativeExecutable"]

Host: TypeAlias = Callable[[], None]


class NativeExecutable:
    """A unit as segments of native code, with calls of operators' own kernels between them."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._memory = Memory(unit)
        self._status = np.zeros(1, np.int64)
        self._calls = NativeCalls(unit, self._memory, int(self._status.ctypes.data))
        self._results = [self._memory.view(view) for view in unit.results]
        self._steps: list[Segment | Host] = []
        self._divide(get_num_threads())

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        feeds = self._memory.lend(feeds)
        slots = self._calls.addresses(feeds)
        for step in self._steps:
            if isinstance(step, Segment):
                if step.run(slots):
                    self._fail(feeds)
            else:
                step()
        return [result().copy() for result in self._results]

    def _divide(self, n_threads: int) -> None:
        """Make segments of what is native and follows each other."""
        native: list[Instruction] = []

        def close() -> None:
            if native:
                calls = [call for each in native for call in self._calls.of(each)]
                status = int(self._status.ctypes.data)
                self._steps.append(
                    Segment(calls, n_threads, n_slots=self._calls.n_slots, status=status)
                )
                native.clear()

        for instruction in self._unit.instructions:
            if self._calls.is_native(instruction):
                native.append(instruction)
            else:
                close()
                self._steps.append(self._host(instruction))
        close()

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
