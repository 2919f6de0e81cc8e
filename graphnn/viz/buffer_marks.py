"""What there is to say of a program's memory beside its boxes: marks at corners, and the strip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphnn.compiler.memory_report import BufferReport, MemoryReport
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.unit import Instruction, Storage, Unit, View
from graphnn.core.provenance import provenance
from graphnn.viz.scene import Block, Strip

__all__ = ["BufferMarks"]


class BufferMarks:
    """What the plan of a unit says of the buffers that its instructions write."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._report = MemoryReport.of(unit) if unit.plan is not None else None
        self.recomputed = frozenset(unit.recomputed)

    def place(self, view: View) -> str:
        """Which buffer a view is in, and at which byte of the arena it begins."""
        where = str(view.buffer)
        if self._report is not None and view.buffer.storage is Storage.ARENA:
            offset = self._report.buffers[view.buffer.index].offset
            where += f" at byte {offset + view.offset:,} of the arena"
        return where

    def of(self, instruction: Instruction, views: Iterable[View]) -> tuple[list[str], list[str]]:
        """Badges for what an instruction writes into these views, and the same in sentences."""
        badges, lines = [], []
        read = {view.buffer for view in instruction.sources}
        for view in dict.fromkeys(views):
            if view.buffer in read:
                badges.append("in place")
                lines.append(f"in place: {view.buffer} is overwritten while it is read")
            elif self._report is not None and view.buffer.storage is Storage.ARENA:
                report = self._report.buffers[view.buffer.index]
                if report.in_place_of is not None:
                    badges.append("in place")
                    lines.append(f"in place: {view.buffer} lies over arena{report.in_place_of}")
                elif report.reuses:
                    badges.append("reused")
                    before = ", ".join(f"arena{each}" for each in report.reuses)
                    lines.append(f"reused: {view.buffer} lies where {before} lay")
        return list(dict.fromkeys(badges)), lines

    def strip(self, numbers: Sequence[range | None]) -> Strip:
        """Bytes that are live at every instruction, and the buffers that they are in.

        ``numbers`` are those of the instructions of every box; None for what is not computed. A
        box of several, a loop that is not laid open, has the most that is live at one of them.
        """
        report = self._report
        if report is None:  # an order, but no plan yet
            return Strip("", "B", tuple(None if each is None else 0.0 for each in numbers))
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for box, inside in enumerate(numbers):
            for number in inside or ():
                first.setdefault(number, box)
                last[number] = box
        writers: dict[int, int] = {}
        for number, instruction in enumerate(self._unit.instructions):
            for view in instruction.outputs:
                if view.buffer.storage is Storage.ARENA:
                    writers.setdefault(view.buffer.index, number)
        live = report.live_nbytes
        values = [
            None if each is None else float(max(live[each.start + 1 : each.stop + 1]))
            for each in numbers
        ]
        blocks = [
            Block(
                _words(each, writers.get(each.number)),
                first[max(each.first, 0)],
                last[min(each.last, report.n_instructions - 1)],
                float(each.offset),
                float(each.offset + each.nbytes),
                provenance(each.node).role if each.node is not None else "scratch",
            )
            for each in report.buffers
            if each.last >= each.first and each.nbytes and first
        ]
        title = (
            f"live memory: peak {size_text(report.peak_live)} at instruction "
            f"{report.peak_instruction}, arena {size_text(report.arena_nbytes)}"
        )
        return Strip(title, "B", tuple(values), tuple(blocks))


def _words(buffer: BufferReport, writer: int | None) -> str:
    """The instruction that writes it first, by the number at its box, and what that computes.

    What is used in a loop is kept from before it; scratch is of the one instruction it is kept for.
    """
    number = buffer.first if buffer.node is None else writer
    return buffer.what if number is None else f"{number} {buffer.what}"
