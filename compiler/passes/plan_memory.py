"""plan_memory: give every buffer its place in the arena.

Two buffers may share memory if they are never live at the same time; a kernel may write its
result over an input that dies there. One scan over the instructions with a list of free gaps,
best fit: n log n.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import replace

from graphnn.compiler.driver import Driver
from graphnn.compiler.overwriting import may_overwrite
from graphnn.compiler.unit import Buffer, Instruction, Loop, MemoryPlan, Storage, Unit
from graphnn.core.state import aligned

__all__ = ["live_ranges", "plan_memory"]


def plan_memory(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    live = live_ranges(unit)
    births: dict[int, list[Buffer]] = {}
    deaths: dict[int, list[Buffer]] = {}
    for buffer, (first, last) in zip(unit.buffers, live, strict=True):
        if last >= first:
            births.setdefault(first, []).append(buffer)
            deaths.setdefault(last, []).append(buffer)
    gaps, offsets = _Gaps(), [0] * len(unit.buffers)
    for time in range(len(unit.instructions) + 1):
        dying = deaths.get(time, [])
        inherited: set[Buffer] = set()
        for buffer in births.get(time, ()):
            heir = None
            if time < len(unit.instructions):
                heir = _overwritten(unit.instructions[time], buffer, dying, inherited)
            if heir is not None:
                inherited.add(heir)
                offsets[buffer.index] = offsets[heir.index]
            else:
                offsets[buffer.index] = gaps.take(aligned(buffer.nbytes))
        for buffer in dying:
            if buffer not in inherited:
                gaps.give(offsets[buffer.index], aligned(buffer.nbytes))
    return replace(unit, plan=MemoryPlan(tuple(offsets), gaps.end, live))


def live_ranges(unit: Unit) -> tuple[tuple[int, int], ...]:
    """First and last instruction that touches each buffer of the arena.

    Results live to the number of instructions; ``(0, -1)`` if never.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(buffer: Buffer, time: int) -> None:
        if buffer.storage is Storage.ARENA:
            first.setdefault(buffer.index, time)
            last[buffer.index] = max(time, last.get(buffer.index, time))

    for time, instruction in enumerate(unit.instructions):
        for view in (*instruction.sources, *instruction.outputs):
            touch(view.buffer, time)
        if instruction.scratch is not None:
            touch(instruction.scratch, time)
    for view in unit.results:
        touch(view.buffer, len(unit.instructions))
    for branch in unit.branches:
        touch(branch.flag.buffer, branch.begin)
        touch(branch.flag.buffer, branch.end)  # until all threads have looked at it
    for loop in reversed(unit.loops):
        _keep_through(loop, unit, first, last)
    return tuple((first.get(i, 0), last.get(i, -1)) for i in range(len(unit.buffers)))


def _keep_through(loop: Loop, unit: Unit, first: dict[int, int], last: dict[int, int]) -> None:
    """What is touched inside of a loop and outside of it is live all through it.

    And until behind it, for what dies at its last instruction would be overwritten in its first
    round. What is touched inside alone is live anew in every round.
    """
    inside = (each for each in unit.branches if loop.begin <= each.begin < loop.end)
    views = [each.flag for each in inside]
    for instruction in unit.instructions[loop.begin : loop.end]:
        views += [*instruction.sources, *instruction.outputs]
    touched = {view.buffer.index for view in views if view.buffer.storage is Storage.ARENA}
    for index in touched:
        if first[index] < loop.begin or last[index] >= loop.end:
            first[index] = min(first[index], loop.begin)
            last[index] = max(last[index], loop.end)


def _overwritten(
    instruction: Instruction, buffer: Buffer, dying: list[Buffer], taken: set[Buffer]
) -> Buffer | None:
    """An input that dies here and that the kernel may write a result over."""
    written = (n for n, view in enumerate(instruction.outputs) if view.buffer == buffer)
    number = next(written, None)
    if number is None:  # scratch memory, or an empty array, which nothing writes
        return None
    for view in instruction.inputs:
        heir = view.buffer
        if heir in dying and heir not in taken and may_overwrite(instruction, number, heir):
            return heir
    return None


class _Gaps:
    """Free pieces of the arena below its end, found by size and merged by offset."""

    def __init__(self) -> None:
        self.end = 0
        self._by_size: list[tuple[int, int]] = []  # (size, offset), sorted
        self._size_at: dict[int, int] = {}
        self._start_of_end: dict[int, int] = {}

    def take(self, size: int) -> int:
        """The offset of a piece of that size: the smallest gap that fits, or the end."""
        if size == 0:
            return 0
        place = bisect_left(self._by_size, (size, 0))
        if place < len(self._by_size):
            found, offset = self._by_size[place]
            self._remove(offset)
            if found > size:
                self._add(offset + size, found - size)
            return offset
        # No gap fits; a gap that touches the end is extended rather than left behind.
        offset = self._start_of_end.get(self.end, self.end)
        if offset != self.end:
            self._remove(offset)
        self.end = offset + size
        return offset

    def give(self, offset: int, size: int) -> None:
        """Return a piece; it merges with the gaps beside it."""
        if size == 0:
            return
        before = self._start_of_end.get(offset)
        if before is not None:
            size += self._size_at[before]
            self._remove(before)
            offset = before
        after = self._size_at.get(offset + size)
        if after is not None:
            self._remove(offset + size)
            size += after
        self._add(offset, size)

    def _add(self, offset: int, size: int) -> None:
        insort(self._by_size, (size, offset))
        self._size_at[offset] = size
        self._start_of_end[offset + size] = offset

    def _remove(self, offset: int) -> None:
        size = self._size_at.pop(offset)
        del self._start_of_end[offset + size]
        del self._by_size[bisect_left(self._by_size, (size, offset))]
