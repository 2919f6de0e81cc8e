"""Who wrote what lies in memory: the way from a view back to the boxes that its values are from."""

from __future__ import annotations

from dataclasses import dataclass

from graphnn.compiler.unit import Branch, Buffer, Loop, Region, View

__all__ = ["Carried", "Writers"]

MOST_PARTS = 64
"""Parts of a buffer that are looked at to find out which of them are overwritten."""


@dataclass(frozen=True, slots=True)
class _Write:
    """A view, the number of the box that wrote it, and the branches around."""

    view: View
    box: int
    branches: tuple[Branch, ...]


class Writers:
    """The boxes that wrote every buffer last, part by part."""

    def __init__(self) -> None:
        self._parts: dict[Buffer, list[_Write]] = {}

    def write(self, view: View, box: int, around: tuple[Region, ...] = ()) -> None:
        """Note that a box writes a view; ``around`` are the regions that it does so in."""
        branches = _branches(around)
        parts = self._parts.setdefault(view.buffer, [])
        if len(parts) <= MOST_PARTS:
            parts[:] = [each for each in parts if not _replaces(view, branches, each)]
        parts.append(_Write(view, box, branches))

    def read(self, view: View, around: tuple[Region, ...] = ()) -> list[int]:
        """The boxes that may have written what a view shows, in the order of writing."""
        branches = _branches(around)
        return list(
            dict.fromkeys(
                each.box
                for each in self._parts.get(view.buffer, ())
                if each.view.overlaps(view) and not _exclude(each.branches, branches)
            )
        )

    def last(self) -> dict[Buffer, int]:
        """The box that wrote each buffer last."""
        return {buffer: parts[-1].box for buffer, parts in self._parts.items()}


def _branches(around: tuple[Region, ...]) -> tuple[Branch, ...]:
    return tuple(each for each in around if isinstance(each, Branch))


def _replaces(view: View, branches: tuple[Branch, ...], before: _Write) -> bool:
    """Whether a view that is written now leaves nothing of what was written before.

    What a branch writes may not be written at all, unless the earlier write is in it too.
    """
    if before.branches[: len(branches)] != branches:
        return False
    if view.is_whole:
        return True
    (start, stop), (begin, end) = view.span, before.view.span
    return view.moves == before.view.moves and start <= begin and end <= stop


def _exclude(one: tuple[Branch, ...], other: tuple[Branch, ...]) -> bool:
    """Whether instructions in these branches are never carried out both."""
    return any(a.flag == b.flag and a.when != b.when for a in one for b in other)


@dataclass(frozen=True, slots=True)
class _Access:
    """An instruction's number, its box, and the loops around it."""

    number: int
    box: int
    loops: tuple[Loop, ...]


class Carried:
    """What a step of a loop reads of what the step before it has written."""

    def __init__(self) -> None:
        self._reads: dict[Buffer, list[_Access]] = {}
        self._writes: dict[Buffer, list[_Access]] = {}

    def read(self, number: int, view: View, box: int, around: tuple[Region, ...]) -> None:
        """Note that the box of an instruction reads a view."""
        self._note(self._reads, number, view, box, around)

    def write(self, number: int, view: View, box: int, around: tuple[Region, ...]) -> None:
        """Note that the box of an instruction writes a view."""
        self._note(self._writes, number, view, box, around)

    @staticmethod
    def _note(
        known: dict[Buffer, list[_Access]],
        number: int,
        view: View,
        box: int,
        around: tuple[Region, ...],
    ) -> None:
        loops = tuple(each for each in around if isinstance(each, Loop))
        if loops:
            known.setdefault(view.buffer, []).append(_Access(number, box, loops))

    def pairs(self) -> list[tuple[int, int]]:
        """Boxes that write, and boxes that read it one step later.

        A buffer holds one value at a time: what is read in a loop before it is written there was
        written by the step before.
        """
        return list(
            dict.fromkeys(
                (write.box, read.box)
                for buffer, reads in self._reads.items()
                for read in reads
                for write in self._writes.get(buffer, ())
                if write.number >= read.number
                and write.box != read.box
                and write.loops[0] is read.loops[0]
            )
        )
