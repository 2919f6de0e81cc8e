"""The memory of a unit: its arena, and where in memory each view lies."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

from graphnn.compiler.unit import Branch, Buffer, Storage, Unit, View
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import aligned_empty

__all__ = ["Memory"]


class Memory:
    """The arena of a unit, and the arrays of what lies outside of it.

    Feeds lie where the user has them: `lend` says where that is in one run. An executor that
    copies them has memory of its own, from `hold_feeds`.

    Attributes
    ----------
    arena : numpy.ndarray
    rounds : list of int
        Rounds done of the loops that are under way, outermost first; an interpreter counts them.
    """

    def __init__(self, unit: Unit) -> None:
        assert unit.plan is not None
        self._unit = unit
        self._offsets = unit.plan.offsets
        self.arena = aligned_empty(TensorSpec((unit.plan.nbytes,), np.dtype(np.uint8)))
        self._arena_start = int(self.arena.ctypes.data)
        self._feeds: Sequence[Array] = ()
        self.rounds: list[int] = []
        spans = sorted(_span(each.array) for each in unit.updated if each.tensor.nbytes)
        self._written_starts = [start for start, _ in spans]
        self._written_ends = [end for _, end in spans]

    def hold_feeds(self) -> list[Array]:
        """Arrays to copy feeds into."""
        made = [aligned_empty(node.tensor) for node in self._unit.graph.inputs]
        self._feeds = made
        return made

    def lend(self, feeds: Sequence[Array]) -> Sequence[Array]:
        """Take arrays as the feeds of one run.

        Copies of those that are not contiguous, or that a parameter's update would change.
        """
        whole = [
            each if _is_plain(each) and not self._is_written(each) else np.array(each, order="C")
            for each in feeds
        ]
        self._feeds = whole
        return whole

    def give_back(self) -> None:
        """Forget the feeds of a run, which are the caller's."""
        self._feeds = ()

    def _is_written(self, feed: Array) -> bool:
        """Whether a contiguous feed lies in state that the unit updates."""
        if not self._written_starts:
            return False
        start, end = _span(feed)
        place = bisect_left(self._written_starts, end)
        return place > 0 and self._written_ends[place - 1] > start

    def view(self, view: View) -> Callable[[], Array]:
        """Gives the memory of a view as an array: anew each time, if it is lent."""
        if view.buffer.storage is Storage.FEED or any(view.moves):
            return lambda: self.array(view)
        array = self.array(view)
        return lambda: array

    def array(self, view: View) -> Array:
        """The memory of a view as an array; in loops, where it lies in this round."""
        if view.nbytes == 0:
            return np.empty(view.shape, view.dtype)
        memory, offset = self._place(view.buffer)
        offset += view.offset + sum(a * b for a, b in zip(view.moves, self.rounds, strict=False))
        return np.ndarray(view.shape, view.dtype, memory, offset, view.strides)

    def is_taken(self, branch: Branch) -> bool:
        """Whether the instructions of a branch are carried out, as its flag says now."""
        return bool(self.array(branch.flag)) is branch.when

    def address(self, buffer: Buffer) -> int:
        """Where a buffer begins; it is no feed."""
        if buffer.storage is Storage.ARENA:
            return self._arena_start + self._offsets[buffer.index]
        memory, offset = self._place(buffer)
        return int(memory.ctypes.data) + offset

    def _place(self, buffer: Buffer) -> tuple[Array, int]:
        """The bytes that hold a buffer, and where in them it begins."""
        match buffer.storage:
            case Storage.ARENA:
                return self.arena, self._offsets[buffer.index]
            case Storage.STATE:
                whole = self._unit.states[buffer.index].array
            case Storage.CONSTANT:
                whole = self._unit.constants[buffer.index].attrs["value"].array
            case Storage.FEED:
                whole = self._feeds[buffer.index]
        return _as_bytes(whole), 0


def _as_bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _span(array: Array) -> tuple[int, int]:
    """The addresses of a contiguous array: the first byte, and the first behind it."""
    start: int = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def _is_plain(array: Array) -> bool:
    """Whether native code can read an array where it is."""
    return array.flags.c_contiguous and array.flags.aligned
