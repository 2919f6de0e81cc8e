"""The executor of devices: a unit's launches on one arena of the device.

The first run launches one by one, which lets libraries load what they need. A program without
branches and library calls is recorded at the second run, and one launch of the recording from then
on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import mul
from typing import Any

import numpy as np

from graphnn.compiler.backends.failure import explain
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.cuda import device_limits
from graphnn.compiler.cuda.arrangement import arranged
from graphnn.compiler.cuda.code import Convolution, Matrices, Part
from graphnn.compiler.cuda.device import Device, Function, Recording
from graphnn.compiler.cuda.device_constants import constant_on, uploaded
from graphnn.compiler.cuda.device_state import bring_here
from graphnn.compiler.cuda.launches import STATUS, Launch, Place, Step, launched
from graphnn.compiler.cuda.library_calls import call_library, require_library
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.unit import Branch, Buffer, Instruction, Storage, Unit, View
from graphnn.core.errors import VerifyError
from graphnn.core.node import Node
from graphnn.core.op import Array

__all__ = ["DeviceExecutable"]

Action = Callable[[], None]

MOST_ALIGNED = 256
"""Bytes: no library asks for addresses that are multiples of more."""


MOST_RECORDED = 1 << 15
"""Launches of a recording: its memory, and the time to make it ready, grow with them."""


class DeviceExecutable:
    """A unit on a device.

    Parameters
    ----------
    unit : Unit
    device : Device
    """

    def __init__(self, unit: Unit, device: Device) -> None:
        self._given, self._device = unit, device
        # Whoever looks at values looks at those of the instructions that were given.
        unit = unit if unit.options.debug else arranged(unit, device.shared_nbytes)
        self._unit = unit
        assert unit.plan is not None
        self._offsets = unit.plan.offsets
        self._steps, codes = steps_of(unit)
        self._by_library: dict[Launch, Function] = {}
        calls = [each for each in self._steps if each.is_call and not each.is_constant]
        for each in calls:
            require_library(each.instruction)
        self._may_refuse = any(
            STATUS in launch.places
            for each in self._steps
            for launch in (*each.launches, *each.alternative)
        )
        with device.turn():
            self._arena = device.allocate(unit.plan.nbytes)
            self._status = device.allocate(8)
            self._accept()
            self._feeds = [device.allocate(each.tensor.nbytes) for each in unit.graph.inputs]
            self._constants = [constant_on(device, each) for each in unit.constants]
            self._kept: list[Any] = []
            self._steps = [self._chosen(each) for each in self._steps]
            launches = [launch for each in self._steps for launch in each.launches]
            unguarded = self._unguarded(launches) if self._may_refuse else ()
            self._spares = {each: device.allocate(each.nbytes) for each in unguarded}
            functions = device.load(launched(codes, launches))
            self._actions = [list(self._actions_of(each, functions)) for each in self._steps]
        self._rounds: list[int] = []
        options = unit.options
        self._records = (
            options.launch == "graph"
            and not (options.debug or unit.branches or calls)
            and sum(map(mul, map(len, self._actions), unit.runs)) <= MOST_RECORDED
        )
        self._has_run = False
        self._recording: Recording | None = None

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """See `Executable.run`; results stay on the device."""
        with self._device.turn():
            self._begin(feeds)
            if self._records and self._has_run:
                if self._recording is None:
                    self._recording = self._device.record(self._launch_all)
                self._recording()
            else:
                self._launch_all()
            self._require_accepted()
            self._has_run = True
            with self._device.stream():
                return [self._array(view).copy() for view in self._unit.results]

    def profile(self, feeds: Sequence[Any]) -> list[float]:
        """Run once, launch by launch; how many nanoseconds each instruction took.

        What a launch takes that does the work of several is divided among them by their bytes.
        """
        device, moments = self._device, []
        with device.turn():
            self._begin(feeds)
            self._keep_spares()
            for number in filter(self._actions.__getitem__, self._numbers()):
                before = device.mark()
                self._carry_out(number)
                moments.append((number, before, device.mark()))
            self._require_accepted()
            taken = [0.0] * len(self._steps)
            for number, before, after in moments:
                taken[number] += device.elapsed_ns(before, after)
        return _divided(taken, self._given, self._steps)

    def limits(self) -> Limits:
        """What the device reaches."""
        return device_limits.measured_limits(self._device)

    def now_ns(self) -> int:
        """The time when all runs so far are done."""
        self._device.wait()
        return time.perf_counter_ns()

    # ------------------------------------------------------------------------------- memory

    def _begin(self, feeds: Sequence[Any]) -> None:
        """Be ready for feeds: state is here, and so are they."""
        bring_here(self._unit.states, self._device)
        for memory, fed in zip(self._feeds, feeds, strict=True):
            self._feed(memory, fed)

    def _feed(self, memory: Any, fed: Any) -> None:
        """Copy a feed to its place, from the host or from the device."""
        target, source = self._device.address(memory), self._device.address_of(fed)
        if fed.nbytes == 0:
            return
        if source is not None:
            self._device.copy(source, target, fed.nbytes)
        else:
            self._device.upload(np.ascontiguousarray(fed), target)

    def _on_host(self, view: View) -> Array:
        """A copy of what lies in a view, in this round."""
        first, last = view.span
        found = np.zeros(last - first, np.uint8)
        place = Place(view.buffer, first, view.moves)
        if view.nbytes:
            self._device.download(self._address(place, self._rounds), found)
        return np.ndarray(view.shape, view.dtype, found, view.offset - first, view.strides)

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
                return self._constants[buffer.index].memory
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
        if step.is_constant:
            yield from self._constant_results(step.instruction)
        elif step.is_call:
            yield self._call(step.instruction)
        for launch in step.launches:
            yield self._action(launch, functions)

    def _chosen(self, step: Step) -> Step:
        """The step with its alternative for launches, if the device's library can do that."""
        if not step.alternative:
            return step
        function = self._library_function(step.alternative[0])
        if function is None:
            return step
        self._by_library[step.alternative[0]] = function
        return replace(step, launches=step.alternative)

    def _library_function(self, launch: Launch) -> Function | None:
        """What a library does at the places of a launch; None if it cannot."""
        precision = self._unit.options.matmul_precision
        match launch.does:
            case Matrices(epilogue=None):
                return self._device.product(launch.does, precision)
            case Matrices():
                starts = (self._address(each) for each in launch.places)
                moves = (by for each in launch.places for by in each.moves)
                alignment = math.gcd(MOST_ALIGNED, *starts, *moves)
                return self._device.fused_product(launch.does, precision, alignment)
            case Convolution():
                return self._device.convolution(launch.does, precision)
        return None

    def _constant_results(self, instruction: Instruction) -> Iterator[Action]:
        """What an operator makes of arrays without elements is known beforehand."""
        inputs = [np.empty(each.shape, each.dtype) for each in instruction.inputs]
        assert instruction.op is not None
        made = instruction.op.evaluate(*inputs, **instruction.attrs)
        results = made if len(instruction.outputs) > 1 else [made]
        for view, each in zip(instruction.outputs, results, strict=True):
            source = uploaded(self._device, np.asarray(each, view.dtype))
            self._kept.append(source)
            yield partial(self._copy_dense, self._device.address(source), view)

    def _copy_dense(self, source: int, view: View) -> None:
        """Copy dense elements to where a view has its own, in this round."""
        target = self._address(_place_of(view), self._rounds)
        for number, (offset, nbytes) in enumerate(_dense_runs(view)):
            self._device.copy(source + number * nbytes, target + offset, nbytes)

    def _call(self, instruction: Instruction) -> Action:
        """A call of the operator's own kernel, on arrays of the device."""
        writes_state = any(each.buffer.storage is Storage.STATE for each in instruction.outputs)

        def call() -> None:
            if writes_state:
                self._require_accepted()
            try:
                with self._device.stream():
                    inputs = [self._array(each) for each in instruction.inputs]
                    outputs = [self._array(each) for each in instruction.outputs]
                    call_library(instruction, inputs, outputs)
            except Exception as error:
                explain(error, instruction.node)
                raise

        return call

    def _action(self, launch: Launch, functions: dict[Part, Function]) -> Action:
        """What makes a launch, at the addresses of this round."""
        if isinstance(launch.does, Part):
            function: Function | None = functions[launch.does]
        else:
            function = self._by_library.get(launch) or self._library_function(launch)
        assert function is not None
        starts = [self._address(each) for each in launch.places]
        moves = [each.moves for each in launch.places]
        if not any(map(any, moves)):
            return lambda: function(starts)
        return lambda: function(
            [
                start + sum(a * b for a, b in zip(by, self._rounds, strict=False))
                for start, by in zip(starts, moves, strict=True)
            ]
        )

    def _launch_all(self) -> None:
        self._keep_spares()
        for number in self._numbers():
            self._carry_out(number)

    def _carry_out(self, number: int) -> None:
        """Do what a step does, in this round."""
        for action in self._actions[number]:
            action()
        if self._unit.options.launch == "debug":
            self._wait_for(self._unit.instructions[number])

    def _done_by(self, number: int) -> tuple[Instruction, ...]:
        """The instructions whose work a step does."""
        step = self._steps[number]
        return step.does or ((step.instruction,) if step.is_call else ())

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
        self._device.download(self._address(_place_of(branch.flag), self._rounds), flag)
        return bool(flag[0]) is branch.when

    # ----------------------------------------------------------------------------- refusals

    @staticmethod
    def _unguarded(launches: Sequence[Launch]) -> set[Buffer]:
        """The state that products write, which do not look at the status word."""
        products = (each for each in launches if not isinstance(each.does, Part))
        written = (each.places[-1].buffer for each in products)
        return {each for each in written if each is not None and each.storage is Storage.STATE}

    def _keep_spares(self) -> None:
        """Copy the state that products write, to have it if a kernel refuses."""
        for buffer, spare in self._spares.items():
            self._device.copy(self._start(buffer), self._device.address(spare), buffer.nbytes)

    def _start(self, buffer: Buffer) -> int:
        return self._address(Place(buffer))

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
        InterpretedExecutable(self._given).run(self._fed())
        raise VerifyError(
            "a kernel refuses what the operators' own kernels take",
            where="",
            hint="this is a bug in graphnn; please report it",
        )

    def _fed(self) -> list[Array]:
        """The feeds of this run, brought to the host."""
        found = []
        for memory, node in zip(self._feeds, self._unit.graph.inputs, strict=True):
            array = np.empty(tuple(int(size) for size in node.shape), node.dtype)
            self._device.download(self._device.address(memory), array)
            found.append(array)
        return found


def _divided(taken: Sequence[float], given: Unit, steps: Sequence[Step]) -> list[float]:
    """The times of the instructions that were given, where one step does the work of several."""
    same = {id(each): [number] for number, each in enumerate(given.instructions)}
    alike: dict[Node, list[int]] = {}
    for number, each in enumerate(given.instructions):
        alike.setdefault(each.node, []).append(number)
    times = [0.0] * len(given.instructions)
    for step, ns in zip(steps, taken, strict=True):
        numbers: list[int] = []
        for each in step.does or (step.instruction,):
            nodes = dict.fromkeys((each.node, *each.nodes))
            numbers += same.get(id(each)) or [n for node in nodes for n in alike.get(node, ())]
        total = sum(given.instructions[number].nbytes + 1 for number in numbers)
        for number in numbers:
            times[number] += ns * (given.instructions[number].nbytes + 1) / total
    return times


def _place_of(view: View) -> Place:
    return Place(view.buffer, view.offset, view.moves)


def _dense_runs(view: View) -> Iterator[tuple[int, int]]:
    """Where runs of neighbouring elements begin, from the view's first one, and their bytes."""
    nbytes, outer = view.dtype.itemsize, list(zip(view.shape, view.strides, strict=True))
    while outer and (outer[-1][0] == 1 or outer[-1][1] == nbytes):
        nbytes *= outer.pop()[0]
    for index in np.ndindex(*(size for size, _ in outer)):
        yield sum(n * step for n, (_, step) in zip(index, outer, strict=True)), nbytes
