"""The executor of devices: a unit's launches on one arena of the device.

The first run launches one by one, which lets libraries load what they need. A program without
branches is recorded at the second run, and one launch of the recording from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.backends.failure import explain
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.cuda.device import Device, Function, Matrices, Recording
from graphnn.compiler.cuda.device_state import bring_here
from graphnn.compiler.cuda.launches import STATUS, Launch, Place, launches_of
from graphnn.compiler.unit import Branch, Buffer, Instruction, Storage, Unit, View
from graphnn.core.errors import ArgumentError, UnsupportedOpError, VerifyError
from graphnn.core.op import Array
from graphnn.core.provenance import provenance

__all__ = ["DeviceExecutable"]

Action = Callable[[], None]


class DeviceExecutable:
    """A unit on a device.

    Parameters
    ----------
    unit : Unit
    device : Device
    """

    def __init__(self, unit: Unit, device: Device) -> None:
        assert unit.plan is not None
        self._unit, self._device = unit, device
        self._offsets = unit.plan.offsets
        self._steps, codes = launches_of(unit)
        for each in self._steps:
            if not each.launches and each.instruction.kind == "host":
                _refuse(each.instruction)
        if unit.options.debug:
            raise ArgumentError(
                f'there is no debug="{unit.options.debug}" on a GPU',
                hint='compile with backend="numpy" for it; launch="debug" tells which launch fails',
                where="",
            )
        launches = [launch for each in self._steps for launch in each.launches]
        self._may_refuse = any(STATUS in each.places for each in launches)
        with device.turn():
            self._arena = device.allocate(unit.plan.nbytes)
            self._status = device.allocate(8)
            self._accept()
            self._feeds = [device.allocate(each.tensor.nbytes) for each in unit.graph.inputs]
            self._constants = [self._uploaded(each.attrs["value"].array) for each in unit.constants]
            self._spares = {
                each: device.allocate(each.nbytes) for each in self._unguarded(launches)
            }
            functions = device.load(codes)
            self._actions = [
                [self._action(launch, functions) for launch in each.launches]
                for each in self._steps
            ]
        self._rounds: list[int] = []
        self._records = unit.options.launch == "graph" and not unit.branches
        self._has_run = False
        self._recording: Recording | None = None

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """See `Executable.run`; results stay on the device."""
        with self._device.turn():
            bring_here(self._unit.states, self._device)
            for memory, fed in zip(self._feeds, feeds, strict=True):
                self._feed(memory, fed)
            if self._records and self._has_run:
                if self._recording is None:
                    self._recording = self._device.record(self._launch_all)
                self._recording()
            else:
                self._launch_all()
            self._require_accepted()
            self._has_run = True
            return [self._result(view) for view in self._unit.results]

    # ------------------------------------------------------------------------------- memory

    def _uploaded(self, array: Array) -> Any:
        memory = self._device.allocate(array.nbytes)
        self._device.upload(np.ascontiguousarray(array), self._device.address(memory))
        return memory

    def _feed(self, memory: Any, fed: Any) -> None:
        """Copy a feed to its place, from the host or from the device."""
        target, source = self._device.address(memory), self._device.address_of(fed)
        if fed.nbytes == 0:
            return
        if source is not None:
            self._device.copy(source, target, fed.nbytes)
        else:
            self._device.upload(np.ascontiguousarray(fed), target)

    def _result(self, view: View) -> Any:
        """A new array of the device with the elements of a view, which is row-major."""
        memory = self._device.allocate(view.nbytes)
        if view.nbytes:
            start = self._start(view.buffer) + view.offset
            self._device.copy(start, self._device.address(memory), view.nbytes)
        return self._device.array(memory, 0, view.shape, view.dtype)

    def _start(self, buffer: Buffer) -> int:
        """The address where a buffer begins."""
        match buffer.storage:
            case Storage.ARENA:
                return self._device.address(self._arena) + self._offsets[buffer.index]
            case Storage.STATE:
                return self._device.address(
                    bring_here([self._unit.states[buffer.index]], self._device)[0]
                )
            case Storage.CONSTANT:
                return self._device.address(self._constants[buffer.index])
            case Storage.FEED:
                return self._device.address(self._feeds[buffer.index])

    # ----------------------------------------------------------------------------- launches

    def _action(self, launch: Launch, functions: dict[Any, Function]) -> Action:
        """What makes a launch, at the addresses of this round."""
        starts = [self._address(each) for each in launch.places]
        moves = [each.moves for each in launch.places]
        if launch.does in functions:
            function = functions[launch.does]
        else:
            product = self._device.product(launch.does, self._unit.options.precision)

            def function(addresses: Sequence[int]) -> None:
                product(*addresses)

        if not any(map(any, moves)):
            return lambda: function(starts)
        return lambda: function(
            [
                start + sum(a * b for a, b in zip(by, self._rounds, strict=False))
                for start, by in zip(starts, moves, strict=True)
            ]
        )

    def _address(self, place: Place) -> int:
        if place.buffer is None:
            return self._device.address(self._status)
        return self._start(place.buffer) + place.offset

    def _launch_all(self) -> None:
        waits = self._unit.options.launch == "debug"
        for buffer, spare in self._spares.items():
            self._device.copy(self._start(buffer), self._device.address(spare), buffer.nbytes)
        for number in self._numbers():
            for action in self._actions[number]:
                action()
            if waits:
                self._wait_for(self._unit.instructions[number])

    def _wait_for(self, instruction: Instruction) -> None:
        """Wait for what was launched last: what goes wrong is told with the user's line."""
        try:
            self._device.wait()
        except Exception as error:
            explain(error, instruction.node)
            raise

    def _numbers(self) -> Iterator[int]:
        self._rounds.clear()
        return in_rounds(0, len(self._actions), self._unit.regions, self._rounds, self._is_taken)

    def _is_taken(self, branch: Branch) -> bool:
        """Whether a branch is taken: the device is waited for, and asked."""
        flag = np.zeros(1, np.bool_)
        at = Place(branch.flag.buffer, branch.flag.offset, branch.flag.moves)
        moved = sum(a * b for a, b in zip(at.moves, self._rounds, strict=False))
        self._device.download(self._address(at) + moved, flag)
        return bool(flag[0]) is branch.when

    # ----------------------------------------------------------------------------- refusals

    def _unguarded(self, launches: Sequence[Launch]) -> set[Buffer]:
        """State that products write, which do not look at the status word, if it may be set."""
        written = (each.places[-1].buffer for each in launches if isinstance(each.does, Matrices))
        return {
            each
            for each in written
            if self._may_refuse and each is not None and each.storage is Storage.STATE
        }

    def _accept(self) -> None:
        """Clear the status word."""
        self._device.upload(np.zeros(1, np.int64), self._device.address(self._status))

    def _require_accepted(self) -> None:
        """Let the operator say in words what it refuses, if a kernel has met such a thing."""
        if not self._may_refuse:
            return
        refused = np.zeros(1, np.int64)
        self._device.download(self._device.address(self._status), refused)
        if not refused[0]:
            return
        self._accept()
        for buffer, spare in self._spares.items():
            self._device.copy(self._device.address(spare), self._start(buffer), buffer.nbytes)
        InterpretedExecutable(self._unit).run(self._fed_arrays())
        raise VerifyError(
            "a kernel refuses what the operators' own kernels take",
            where="",
            hint="this is a bug in graphnn; please report it",
        )

    def _fed_arrays(self) -> list[Array]:
        """The feeds of this run, brought to the host."""
        fed = []
        for memory, node in zip(self._feeds, self._unit.graph.inputs, strict=True):
            array = np.empty(tuple(int(size) for size in node.shape), node.dtype)
            self._device.download(self._device.address(memory), array)
            fed.append(array)
        return fed


def _refuse(instruction: Instruction) -> None:
    node = instruction.node
    raise UnsupportedOpError(
        f"{node.op.name} has no code for GPUs",
        where=provenance(node).where,
        hint='compile with backend="numpy"',
    )
