"""The executor of devices: a unit's launches on one arena of the device.

A program without branches is recorded at its first run, and one launch of the recording after
that; others are launched one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.device import Device, Function, Recording
from graphnn.compiler.cuda.device_state import bring_here
from graphnn.compiler.cuda.launches import Launch, Place, Step
from graphnn.compiler.cuda.library_calls import call_library, require_library
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.unit import Branch, Buffer, Instruction, Storage, Unit, View
from graphnn.core.errors import VerifyError
from graphnn.core.op import Array

__all__ = ["DeviceExecutable"]

Action = Callable[[], None]


class DeviceExecutable:
    """A unit on a device.

    Parameters
    ----------
    unit : Unit
    device : Device
    records : bool
        Whether all launches of a run are recorded and made as one, where nothing hinders it.
    """

    n_threads = 1

    def __init__(self, unit: Unit, device: Device, *, records: bool = True) -> None:
        assert unit.plan is not None
        self._unit, self._device = unit, device
        self._offsets = unit.plan.offsets
        self._steps, codes = steps_of(unit)
        for each in self._steps:
            if each.is_call and not _reads_nothing(each):
                require_library(each.instruction)
        self._arena = device.allocate(unit.plan.nbytes)
        self._status = device.allocate(8)
        self._feeds = [device.allocate(each.tensor.nbytes) for each in unit.graph.inputs]
        self._constants = [self._uploaded(each.attrs["value"].array) for each in unit.constants]
        self._kept: list[Any] = []
        functions = device.load(codes)
        self._actions = [list(self._actions_of(each, functions)) for each in self._steps]
        self._rounds: list[int] = []
        has_calls = any(each.is_call and not _reads_nothing(each) for each in self._steps)
        self._records = records and not unit.branches and not has_calls
        self._recording: Recording | None = None
        self._zero = np.zeros(1, np.int64)
        self._refused = np.zeros(1, np.int64)
        self._may_refuse = any(
            place.buffer is None
            for each in self._steps
            for launch in each.launches
            for place in launch.places
        )

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`; results stay on the device."""
        bring_here(self._unit.states, self._device)
        for memory, fed in zip(self._feeds, feeds, strict=True):
            self._feed(memory, fed)
        if self._may_refuse:
            self._device.upload(self._zero, self._device.address(self._status))
        if not self._records:
            self._launch_all()
        else:
            if self._recording is None:
                self._recording = self._device.record(self._launch_all)
            self._recording()
        self._require_accepted(feeds)
        with self._device.stream():
            return [self._array(view).copy() for view in self._unit.results]

    # ------------------------------------------------------------------------------- memory

    def _uploaded(self, array: Array) -> Any:
        memory = self._device.allocate(array.nbytes)
        self._device.upload(np.ascontiguousarray(array), self._device.address(memory))
        return memory

    def _feed(self, memory: Any, fed: Any) -> None:
        """Copy a feed to its place, from the host or from the device."""
        target, source = self._device.address(memory), self._device.address_of(fed)
        if source is not None:
            self._device.copy(source, target, fed.nbytes)
        elif fed.nbytes:
            self._device.upload(np.ascontiguousarray(fed), target)

    def _array(self, view: View) -> Any:
        """The memory of a view as an array of the device, in this round."""
        address = self._address(_place_of(view), self._rounds)
        memory = self._memory(view.buffer)
        return self._device.view(memory, address, view.shape, view.strides, view.dtype)

    def _memory(self, buffer: Buffer) -> Any:
        """What a buffer lies in."""
        match buffer.storage:
            case Storage.ARENA:
                return self._arena
            case Storage.STATE:
                return bring_here([self._unit.states[buffer.index]], self._device)[0]
            case Storage.CONSTANT:
                return self._constants[buffer.index]
            case Storage.FEED:
                return self._feeds[buffer.index]

    def _address(self, place: Place, rounds: Sequence[int] = ()) -> int:
        """Where a place is, when so many rounds of the loops around it are done."""
        if place.buffer is None:
            return self._device.address(self._status)
        start = self._device.address(self._memory(place.buffer)) + place.offset
        if place.buffer.storage is Storage.ARENA:
            start += self._offsets[place.buffer.index]
        return start + sum(by * done for by, done in zip(place.moves, rounds, strict=False))

    # ----------------------------------------------------------------------------- launches

    def _actions_of(self, step: Step, functions: dict[Part, Function]) -> Iterator[Action]:
        """What carries out a step."""
        if _reads_nothing(step):
            yield from self._constant_results(step.instruction)
        elif step.is_call:
            yield self._call(step.instruction)
        for launch in step.launches:
            yield self._action(launch, functions)

    def _constant_results(self, instruction: Instruction) -> Iterator[Action]:
        """What an operator makes of arrays without elements is known beforehand."""
        inputs = [np.empty(each.shape, each.dtype) for each in instruction.inputs]
        assert instruction.op is not None
        made = instruction.op.evaluate(*inputs, **instruction.attrs)
        results = made if len(instruction.outputs) > 1 else [made]
        for view, each in zip(instruction.outputs, results, strict=True):
            source = self._uploaded(np.asarray(each, view.dtype))
            starts = self._device.address(source), self._address(_place_of(view))
            self._kept.append(source)
            yield partial(self._device.copy, *starts, view.nbytes)

    def _call(self, instruction: Instruction) -> Action:
        """A call of the operator's own kernel, on arrays of the device."""

        def call() -> None:
            with self._device.stream():
                inputs = [self._array(each) for each in instruction.inputs]
                outputs = [self._array(each) for each in instruction.outputs]
                call_library(instruction, inputs, outputs)

        return call

    def _action(self, launch: Launch, functions: dict[Part, Function]) -> Action:
        """What makes a launch, at the addresses of this round."""
        starts = [self._address(each) for each in launch.places]
        moves = [each.moves for each in launch.places]
        if isinstance(launch.does, Part):
            function = functions[launch.does]
        else:
            function = self._device.product(launch.does)

        if not any(map(any, moves)):
            return lambda: function(starts)
        return lambda: function(
            [
                start + sum(a * b for a, b in zip(by, self._rounds, strict=False))
                for start, by in zip(starts, moves, strict=True)
            ]
        )

    def _launch_all(self) -> None:
        for number in self._numbers():
            for action in self._actions[number]:
                action()

    def _numbers(self) -> Iterator[int]:
        self._rounds.clear()
        return in_rounds(0, len(self._actions), self._unit.regions, self._rounds, self._is_taken)

    def _is_taken(self, branch: Branch) -> bool:
        """Whether a branch is taken: the device is waited for, and asked."""
        flag = np.zeros(1, np.bool_)
        self._device.download(self._address(_place_of(branch.flag), self._rounds), flag)
        return bool(flag[0]) is branch.when

    def _require_accepted(self, feeds: Sequence[Any]) -> None:
        """Let the operator say in words what it refuses, if a kernel has met such a thing."""
        if not self._may_refuse:
            return
        self._device.download(self._device.address(self._status), self._refused)
        if self._refused[0]:
            InterpretedExecutable(self._unit).run([np.asarray(each) for each in feeds])
            raise VerifyError(
                "a kernel refuses what the operators' own kernels take",
                where="",
                hint="this is a bug in graphnn; please report it",
            )


def _place_of(view: View) -> Place:
    return Place(view.buffer, view.offset, view.moves)


def _reads_nothing(step: Step) -> bool:
    """Whether an operator is called on arrays without elements alone."""
    return step.is_call and not any(each.nbytes for each in step.instruction.inputs)
