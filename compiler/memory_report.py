"""The memory report: what every byte of a program is for, known before it runs.

`Program.memory` makes it from the plan; so does the error that says why a budget cannot be kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from graphnn.compiler.memory_size import size_text
from graphnn.compiler.reports import PlottedReport, table
from graphnn.compiler.unit import Storage, Unit
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.state import aligned

__all__ = ["BufferReport", "MemoryReport", "holders"]

MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class BufferReport:
    """One buffer of the arena.

    Attributes
    ----------
    number : int
    nbytes : int
    offset : int
        Bytes from the arena's start.
    first, last : int
        The instructions between which it is live; -1 for a feed, and the number of
        instructions for a result.
    node : Node or None
        What is computed into it; None if nothing ever is.
    reuses : tuple of int
        Buffers that were the last to have some of its memory before.
    in_place_of : int or None
        The one among them that it is written over while that is being read.
    is_recomputed : bool
        Whether its value was computed before, and forgotten.
    """

    number: int
    nbytes: int
    offset: int
    first: int
    last: int
    node: Node | None
    reuses: tuple[int, ...] = ()
    in_place_of: int | None = None
    is_recomputed: bool = False

    @property
    def what(self) -> str:
        """The node in words."""
        if self.node is None:
            return "scratch" if self.last >= self.first else "unused"
        name = self.node.name
        label = self.node.op.label(self.node)
        return f"{name} = {label}" if name else label

    @property
    def where(self) -> str:
        """The user's lines that built the node."""
        sources = provenance(self.node).sources if self.node is not None else ()
        return ", ".join(map(str, sources))

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and text."""
        return {
            "number": self.number,
            "nbytes": self.nbytes,
            "offset": self.offset,
            "first": self.first,
            "last": self.last,
            "what": self.what,
            "where": self.where,
            "reuses": list(self.reuses),
            "in_place_of": self.in_place_of,
            "is_recomputed": self.is_recomputed,
        }


@dataclass(frozen=True)
class MemoryReport(PlottedReport):
    """What a program's memory is used for.

    Its picture is the arena: instructions to the right, offsets upwards, a box for each buffer.

    Attributes
    ----------
    arena_nbytes : int
        Working memory: the only one that a call uses, but for the results it returns and what
        an operator on the host (a sort, a decomposition) takes for itself while it runs.
    feed_nbytes : int
        Outside of it: the arrays that a call is given, which are read where they lie.
    parameter_nbytes, constant_nbytes, result_nbytes : int
        Outside of it too: state that is read or written, constants, and the new arrays that a
        call returns.
    budget : int or None
        What was asked for.
    extra_flops : int
        Spent on computing values again.
    recomputed : tuple of Node
        The values that are computed again, once for each time; of a scan, those of one step.
    buffers : tuple of BufferReport
    n_instructions : int
    """

    arena_nbytes: int
    feed_nbytes: int
    parameter_nbytes: int
    constant_nbytes: int
    result_nbytes: int
    budget: int | None
    extra_flops: int
    recomputed: tuple[Node, ...]
    buffers: tuple[BufferReport, ...]
    n_instructions: int

    @staticmethod
    def of(unit: Unit) -> MemoryReport:
        """The report on a planned unit."""
        plan = unit.plan
        assert plan is not None
        return MemoryReport(
            plan.nbytes,
            sum(view.buffer.nbytes for view in unit.feeds),
            sum(parameter.tensor.nbytes for parameter in unit.states),
            sum(node.tensor.nbytes for node in unit.constants),
            sum(view.nbytes for view in unit.results),
            unit.options.memory_budget,
            0 if unit.plain_flops is None else unit.flops - unit.plain_flops,
            unit.recomputed,
            _buffers(unit),
            len(unit.instructions),
        )

    @property
    def predicted_peak(self) -> int:
        """Most bytes in use during a call: the plan's, for nothing is allocated outside of it."""
        return self.arena_nbytes

    @cached_property
    def live_nbytes(self) -> tuple[int, ...]:
        """Bytes of the arena that hold live values, before and at each instruction and after."""
        changes = [0] * (self.n_instructions + 3)
        for each in self.buffers:
            if each.last >= each.first:
                shared = each.in_place_of is not None  # at that time the memory counts once
                changes[each.first + 1 + shared] += each.nbytes
                changes[each.last + 2] -= each.nbytes
        return tuple(accumulate(changes))[:-1]

    @property
    def peak_instruction(self) -> int:
        """The instruction at which most bytes are live; -1 before the first."""
        return self.live_nbytes.index(self.peak_live) - 1

    @property
    def peak_live(self) -> int:
        """Most bytes that are live at a time; the arena has gaps and alignment besides."""
        return max(self.live_nbytes)

    def alive_at(self, instruction: int) -> list[BufferReport]:
        """The buffers that are live at an instruction, largest first."""
        found = [each for each in self.buffers if each.first <= instruction <= each.last]
        return sorted(found, key=lambda each: (-each.nbytes, each.number))

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and text, ready for JSON."""
        return {
            "arena_nbytes": self.arena_nbytes,
            "predicted_peak": self.predicted_peak,
            "peak_live": self.peak_live,
            "peak_instruction": self.peak_instruction,
            "feed_nbytes": self.feed_nbytes,
            "parameter_nbytes": self.parameter_nbytes,
            "constant_nbytes": self.constant_nbytes,
            "result_nbytes": self.result_nbytes,
            "budget": self.budget,
            "extra_flops": self.extra_flops,
            "n_recomputed": len(self.recomputed),
            "n_instructions": self.n_instructions,
            "buffers": [each.to_dict() for each in self.buffers],
        }

    def draw(self, axes: Any) -> None:
        """Draw the arena on axes of matplotlib."""
        from graphnn.compiler.memory_plot import draw

        draw(axes, self)

    def __str__(self) -> str:
        budget = f" of {size_text(self.budget)}" if self.budget is not None else ""
        alive = self.alive_at(self.peak_instruction)
        lines = [
            f"arena {size_text(self.arena_nbytes)}{budget}: {len(self.buffers)} buffers",
            f"besides: feeds {size_text(self.feed_nbytes)}, "
            f"parameters {size_text(self.parameter_nbytes)}, "
            f"constants {size_text(self.constant_nbytes)}, results {size_text(self.result_nbytes)}",
        ]
        if self.recomputed:
            lines.append(
                f"{len(self.recomputed)} values computed again, {self.extra_flops:,} FLOPs extra"
            )
        lines.append(
            f"peak at instruction {self.peak_instruction} of {self.n_instructions}: "
            f"{size_text(self.peak_live)} live in {len(alive)} buffers"
        )
        lines += [f"  {row}" for row in table(_rows(alive[:MOST_ROWS]), ">>>><<")]
        if len(alive) > MOST_ROWS:
            rest = sum(each.nbytes for each in alive[MOST_ROWS:])
            lines.append(f"  and {len(alive) - MOST_ROWS} more, {size_text(rest)} together")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<MemoryReport arena {self.arena_nbytes:,} bytes, {len(self.buffers)} buffers>"


def holders(unit: Unit, most: int = 5) -> list[str]:
    """The largest buffers that a planned unit holds at its peak, one a line."""
    report = MemoryReport.of(unit)
    return [
        f"{size_text(each.nbytes)} {each.what}" + (f"  # {each.where}" if each.where else "")
        for each in report.alive_at(report.peak_instruction)[:most]
    ]


def _rows(buffers: Sequence[BufferReport]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("buffer", "size", "offset", "live", "memory", "value")]
    for each in buffers:
        notes = []
        if each.in_place_of is not None:
            notes.append(f"over {each.in_place_of}")
        elif each.reuses:
            more = "..." if len(each.reuses) > 2 else ""
            notes.append(f"after {','.join(map(str, each.reuses[:2]))}{more}")
        if each.is_recomputed:
            notes.append("again")
        place = f"  # {each.where}" if each.where else ""
        rows.append(
            (
                str(each.number),
                size_text(each.nbytes),
                str(each.offset),
                f"{each.first}..{each.last}",
                " ".join(notes) or "new",
                each.what + place,
            )
        )
    return rows


def _buffers(unit: Unit) -> tuple[BufferReport, ...]:
    """The arena's buffers, each with who made it and whose memory it took over."""
    plan = unit.plan
    assert plan is not None
    made_by: dict[int, Node] = {}
    for instruction in unit.instructions:
        for view in instruction.outputs:
            if view.buffer.storage is Storage.ARENA:
                made_by.setdefault(view.buffer.index, instruction.node)
    recomputed = set(unit.recomputed)
    owners = _Owners()
    found: dict[int, BufferReport] = {}
    for buffer in sorted(unit.buffers, key=lambda each: plan.live[each.index]):
        index, offset = buffer.index, plan.offsets[buffer.index]
        first, last = plan.live[index]
        reuses: tuple[int, ...] = ()
        if last >= first and buffer.nbytes:
            size = aligned(buffer.nbytes)
            reuses = owners.take(offset, offset + size, index)
        over = next((each for each in reuses if plan.live[each][1] == first), None)
        maker = made_by.get(index)
        again = maker in recomputed
        found[index] = BufferReport(
            index, buffer.nbytes, offset, first, last, maker, reuses, over, again
        )
    return tuple(found[index] for index in range(len(unit.buffers)))


class _Owners:
    """Who had each part of the arena last, as pieces in order that do not overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[tuple[int, int]] = []  # (end, owner)

    def take(self, start: int, end: int, owner: int) -> tuple[int, ...]:
        """Hand a piece over; who had parts of it before."""
        low = max(bisect_right(self._starts, start) - 1, 0)
        high = bisect_left(self._starts, end)
        starts, pieces, before = [], [], []
        for begin, (stop, had) in zip(self._starts[low:high], self._pieces[low:high], strict=True):
            if stop <= start:
                starts.append(begin)
                pieces.append((stop, had))
                continue
            before.append(had)
            if begin < start:
                starts.append(begin)
                pieces.append((start, had))
            if stop > end:
                starts.append(end)
                pieces.append((stop, had))
        starts.append(start)
        pieces.append((end, owner))
        ordered = sorted(zip(starts, pieces, strict=True))
        self._starts[low:high] = [begin for begin, _ in ordered]
        self._pieces[low:high] = [piece for _, piece in ordered]
        return tuple(dict.fromkeys(before))
