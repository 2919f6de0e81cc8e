"""Copies between the host and a GPU, through memory that the GPU can reach by itself."""

from __future__ import annotations

import ctypes
from typing import Any

from graphnn.core.op import Array

__all__ = ["SLOT_NBYTES", "Staging"]

SLOT_NBYTES = 4 << 20
"""Of each of two slots: while the GPU reads one, the host fills the other."""


class Staging:
    """Two slots of pinned memory that copies on one stream take turns with.

    Parameters
    ----------
    cupy : module
    stream : cupy.cuda.Stream
    """

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._runtime = cupy.cuda.runtime
        self._stream = stream
        self._slots = [_Slot(cupy), _Slot(cupy)]

    def upload(self, array: Array, address: int) -> None:
        """Copy a contiguous array to the GPU; it may change as soon as this returns."""
        source = int(array.ctypes.data)
        for start in range(0, array.nbytes, SLOT_NBYTES):
            nbytes = min(SLOT_NBYTES, array.nbytes - start)
            slot = self._next_slot()
            ctypes.memmove(slot.address, source + start, nbytes)
            kind = self._runtime.memcpyHostToDevice
            self._copy(address + start, slot.address, nbytes, kind)
            slot.is_read.record(self._stream)

    def download(self, address: int, array: Array) -> None:
        """Copy into a contiguous array, and wait for it."""
        target = int(array.ctypes.data)
        for start in range(0, array.nbytes, SLOT_NBYTES):
            nbytes = min(SLOT_NBYTES, array.nbytes - start)
            slot = self._next_slot()
            self._copy(slot.address, address + start, nbytes, self._runtime.memcpyDeviceToHost)
            self._stream.synchronize()
            ctypes.memmove(target + start, slot.address, nbytes)

    def _copy(self, target: int, source: int, nbytes: int, kind: int) -> None:
        self._runtime.memcpyAsync(target, source, nbytes, kind, self._stream.ptr)

    def _next_slot(self) -> _Slot:
        """The slot whose turn it is, as soon as nothing reads it any more."""
        self._slots.reverse()
        self._slots[0].is_read.synchronize()
        return self._slots[0]


class _Slot:
    """Pinned memory, and the event that says when the GPU has read it."""

    def __init__(self, cupy: Any) -> None:
        self._memory = cupy.cuda.alloc_pinned_memory(SLOT_NBYTES)
        self.address = int(self._memory.ptr)
        self.is_read = cupy.cuda.Event(disable_timing=True)
