"""The memory of a unit: its arena, and where in memory each view lies."""

from __future__ import annotations

import numpy as np

from graphnn.compiler.unit import Buffer, Storage, Unit, View
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.core.state import aligned_empty

__all__ = ["Memory"]


class Memory:
    """The arena of a unit, and the arrays of what lies outside of it.

    Feeds have no memory of their own here: `hold_feeds` makes some, for an executor that copies
    them.
    """

    def __init__(self, unit: Unit) -> None:
        assert unit.plan is not None
        self._unit = unit
        self._offsets = unit.plan.offsets
        self.arena = aligned_empty(TensorSpec((unit.plan.nbytes,), np.dtype(np.uint8)))
        self._feeds: list[Array] = []

    def hold_feeds(self) -> list[Array]:
        """Arrays to copy feeds into."""
        made = [aligned_empty(node.tensor) for node in self._unit.graph.inputs]
        self._feeds = [each.reshape(-1).view(np.uint8) for each in made]
        return made

    def array(self, view: View) -> Array:
        """The memory of a view as an array."""
        if view.nbytes == 0:
            return np.empty(view.shape, view.dtype)
        memory, offset = self._place(view.buffer)
        return np.ndarray(view.shape, view.dtype, memory, offset + view.offset, view.strides)

    def address(self, buffer: Buffer) -> int:
        """Where a buffer begins; it is no feed."""
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
                return self._feeds[buffer.index], 0
        return whole.reshape(-1).view(np.uint8), 0
