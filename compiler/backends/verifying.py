"""``debug="verify"``: native code beside NumPy's kernels, instruction by instruction."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.backends.instruction_check import InstructionCheck
from graphnn.compiler.backends.native import NativeExecutable
from graphnn.compiler.native.runtime import Segment
from graphnn.compiler.unit import Buffer, Region, Unit
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec

__all__ = ["VerifyingExecutable"]


class VerifyingExecutable(NativeExecutable):
    """Native code that is compared, as it runs, with what the operators' own kernels give.

    Every instruction starts from what native code gave before it, so what differs is the fault
    of the instruction that is named.
    """

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self._updated = unit.updated

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`; state is as it was if a comparison fails.

        Raises
        ------
        VerifyError
            Naming the instruction, its nodes and the user's lines, and the largest difference.
        """
        feeds, _made, slots = self._begin(feeds)
        before = [each.array.copy() for each in self._updated]
        try:
            for number in self._numbers():
                step = self._steps[number]
                if isinstance(step, Segment):
                    self._compared(number, step, feeds, self._addresses(number, slots))
                else:
                    step()
        except Exception:
            for parameter, array in zip(self._updated, before, strict=True):
                parameter.array[...] = array
            raise
        return [result().copy() for result in self._results]

    def _straight_results(self) -> dict[Buffer, TensorSpec]:
        """None: what is compared is looked at in the arena."""
        return {}

    def _regions_in_python(self) -> list[Region]:
        """All of them, to look at every instruction in every round."""
        return list(self._unit.regions)

    def _together(self) -> list[list[int]]:
        """Every instruction by itself: steps have the numbers of instructions."""
        return [[number] for number in range(len(self._unit.instructions))]

    def _compared(
        self, number: int, segment: Segment, feeds: Sequence[Array], slots: Sequence[int]
    ) -> None:
        """Run an instruction; its operands are copied before, for it may write over them."""
        check = InstructionCheck.before(number, self._unit.instructions[number], self._memory.array)
        if segment.run(slots):
            self._fail(feeds)
        check.after(self._memory.array, "llvm")
