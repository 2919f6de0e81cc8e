"""Programs for GPUs, run on the CPU: both orders of threads, and nothing stays unwritten."""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from cuda_shim import ShimDevice
from duck_arrays import bare

from graphnn.compiler.backends.on_device import Action, DeviceExecutable
from graphnn.compiler.cuda.launches import Place, Step
from graphnn.compiler.unit import Unit, View
from graphnn.core.op import Array


class PoisoningExecutable(DeviceExecutable):
    """What an instruction writes and does not read is NaN when its launches begin.

    So what they leave unwritten is no value of an earlier run, which may well be right.
    """

    def _actions_of(self, step: Step, functions: Any) -> Iterator[Action]:
        if step.launches:
            yield lambda: self._poison(step)
        yield from super()._actions_of(step, functions)

    def _poison(self, step: Step) -> None:
        written = [view for each in step.does for view in each.outputs if view.nbytes]
        written += [
            View(each.scratch, 0, (each.scratch.nbytes,), (1,), np.dtype(np.uint8))
            for each in step.does
            if each.scratch is not None
        ]
        read = [self._extent(view) for each in step.does for view in each.inputs]
        for view in written:
            begin, end = self._extent(view)
            if not any(first < end and begin < last for first, last in read):
                self._bytes_of(view)[...] = 0xFF

    def _extent(self, view: View) -> tuple[int, int]:
        """The addresses that a view lies in, in this round: buffers may share memory."""
        first, last = view.span
        begin = self._address(Place(view.buffer, first, view.moves), self._rounds)
        return begin, begin + last - first

    def _bytes_of(self, view: View) -> Array:
        """Every byte of a view's elements."""
        begin, end = self._extent(view)
        return np.ndarray(
            (*view.shape, view.dtype.itemsize),
            np.uint8,
            (ctypes.c_char * (end - begin)).from_address(begin),
            view.offset - view.span[0],
            (*view.strides, 1),
        )


class TwiceExecutable:
    """A program in forward and in reversed order of threads: bit by bit the same.

    The second run begins with the state of the first.
    """

    def __init__(self, unit: Unit, device: ShimDevice) -> None:
        self._unit, self._device = unit, device
        self._once = PoisoningExecutable(unit, device)

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        before = [each.value for each in self._unit.states]
        found = []
        for is_reversed in (False, True):
            for parameter, value in zip(self._unit.states, before, strict=True):
                parameter.value = value
            self._device.is_reversed = is_reversed
            results = [bare(each) for each in self._once.run(feeds)]
            after = [each.value for each in self._unit.states]
            found.append([each.tobytes() for each in (*results, *after)])
        assert found[0] == found[1], "the order of threads makes a difference"
        return results
