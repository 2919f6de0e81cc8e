"""Generated kernels run beside NumPy's, instruction by instruction, on the same memory.

NumPy's kernels carry a unit out. Every launch whose code has not been met before is made as well,
on memory as it is at that moment, and must write what NumPy's kernel writes, and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from cuda_shim import ShimDevice
from example_programs import Called

from graphnn.compiler.backends.comparison import Expected, expect_instruction
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.rounds import in_rounds
from graphnn.compiler.cuda.code import Code, Matrices, Part
from graphnn.compiler.cuda.launches import Launch, Place, Step
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.unit import Buffer, Loop, Region, Storage, Unit, View
from graphnn.core.dtypes import is_floating
from graphnn.core.op import Array

__all__ = ["Launches", "check_launches", "launches_of"]

BLOCKS = 16
"""About so many blocks of a large grid are run, the first and the last among them."""

PERIOD = 65537
"""So many random numbers, again and again, are in memory before anything writes to it."""

ROUNDS = 3
"""Of a loop; kernels are checked in the first and the second one."""


@dataclass
class Launches:
    """The steps of some units. Functions are named by what they compute: equal ones are one.

    Attributes
    ----------
    steps : list of list of Step
        Of every unit.
    codes : dict of str to Code
        By their text.
    """

    steps: list[list[Step]]
    codes: dict[str, Code]


def launches_of(units: Sequence[Unit]) -> Launches:
    """What some units launch."""
    made = Launches([], {})
    for unit in units:
        steps, codes = steps_of(unit)
        made.steps.append(steps)
        made.codes.update((each.source, each) for each in codes)
    return made


def check_launches(calls: Sequence[Called], launches: Launches) -> set[str]:
    """Carry out units; the names of the functions that were run.

    A launch is checked when it is first met, and in loops once more, in a later round.
    """
    device = ShimDevice()
    functions = device.load(list(launches.codes.values()))
    met: set[tuple[Any, ...]] = set()
    joined = {
        part
        for code in launches.codes.values()
        for part in code.parts
        if "__device__" in code.source and isinstance(part, Part)
    }
    for call, steps in zip(calls, launches.steps, strict=True):
        if not _keys(call.unit, steps) <= met:
            Lockstep(call.unit, steps, functions, device, met, joined).run(call.feeds)
    return {each.name for key, _ in met for each in key if isinstance(each, Part)}


def _key(step: Step, is_later: bool) -> tuple[Any, ...]:
    return tuple(each.does for each in step.launches), is_later


def _keys(unit: Unit, steps: Sequence[Step]) -> set[tuple[Any, ...]]:
    """All that there is to check in a unit."""
    looped = {n for each in unit.loops for n in range(each.begin, each.end) if each.count != 1}
    generated = [(number, each) for number, each in enumerate(steps) if _is_generated(each)]
    return {_key(each, False) for _, each in generated} | {
        _key(each, True) for number, each in generated if number in looped
    }


def _is_generated(step: Step) -> bool:
    return any(isinstance(each.does, Part) for each in step.launches)


class Lockstep(InterpretedExecutable):
    """A unit that NumPy carries out, and kernels beside it."""

    def __init__(
        self,
        unit: Unit,
        steps: Sequence[Step],
        functions: dict[Part, Callable[[Sequence[int]], None]],
        device: ShimDevice,
        met: set[tuple[Any, ...]],
        joined: set[Part],
    ) -> None:
        super().__init__(unit)
        self._joined = joined
        numbers = np.random.default_rng(0).uniform(-1, 1, PERIOD).astype(np.float32)
        self._memory.arena[...] = np.resize(numbers.view(np.uint8), self._memory.arena.size)
        self._functions, self._device, self._met = functions, device, met
        self._steps = steps
        self._status = np.zeros(1, np.int64)
        self._held: list[Array] = []
        host = dict(zip(map(id, unit.instructions), self._calls, strict=True))
        others = {id(each) for step in steps for each in step.does[1:]}
        self._calls = [
            _nothing
            if id(step.instruction) in others
            else self._beside(step, [host[id(each)] for each in step.does or [step.instruction]])
            for step in steps
        ]

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        results = super().run(feeds)
        for number, call in enumerate(self._calls):  # of branches that were not taken as well
            around = [each for each in self._unit.loops if each.begin <= number < each.end]
            self._memory.rounds[:] = [0] * len(around)
            if not self._is_met(number):
                call()
        self._memory.rounds.clear()
        return results

    def _numbers(self) -> Iterator[int]:
        """As long as there is something to check; a few rounds of every loop.

        What later rounds would have stored is random.
        """
        regions = [
            replace(each, count=ROUNDS) if self._is_cut_short(each) else each
            for each in self._unit.regions
        ]
        memory = self._memory
        wanted = _keys(self._unit, self._steps)
        for number in in_rounds(0, len(self._calls), regions, memory.rounds, memory.is_taken):
            if wanted <= self._met:
                return
            yield number

    def _is_cut_short(self, region: Region) -> bool:
        """Whether later rounds of a loop are left out: not where they give integers to look up."""
        if not isinstance(region, Loop) or region.count is None or region.count <= ROUNDS:
            return False
        inside = self._unit.instructions[region.begin : region.end]
        return not any(view.dtype.kind in "iu" for each in inside for view in each.outputs)

    def _is_met(self, number: int) -> bool:
        step = self._steps[number]
        return not _is_generated(step) or _key(step, False) in self._met

    def _beside(self, step: Step, host: Sequence[Callable[[], None]]) -> Callable[[], None]:
        def both() -> None:
            key = _key(step, any(self._memory.rounds))
            if _is_generated(step) and key not in self._met:
                self._met.add(key)
                self._check(step, host)
            else:
                for call in host:
                    call()

        return both

    def _check(self, step: Step, host: Sequence[Callable[[], None]]) -> None:
        """Make a step's launches in both orders of threads, and compare what they write."""
        labels, before, found = [each.label for each in step.does], self._everything(), []
        places = [self._bytes_of(view) for view in (*self._written(step), *self._scratch(step))]
        kept = [place.copy() for place in places]
        for is_reversed in (False, True):
            self._launch(step, is_reversed)
            found.append([np.array(self._memory.array(view)) for view in self._written(step)])
            for place, was in zip(places, kept, strict=True):
                place[...] = was
        for now, was in zip(self._everywhere(), before, strict=True):
            assert _are_same(now, was), f"{labels} write elsewhere"
        for call in host:
            call()
        wanted = [self._memory.array(view) for view in self._written(step)]
        for want, one, other in zip(wanted, *found, strict=True):
            assert one.tobytes() == other.tobytes(), f"{labels}: the order of threads matters"
            if self._device.every > 1:
                _fill(one, want)
        if not all(map(_is_near, found[0], wanted)):
            after = self._everything()
            self._restore(before)
            for want, one in zip(self._expected(step), found[0], strict=True):
                assert want.compare(one) is None, f"{labels}: {want.compare(one)}"
            self._restore(after)

    def _expected(self, step: Step) -> list[Expected]:
        """What the error model allows, from memory as it is now."""
        pairs = (expect_instruction(each, self._memory.array) for each in step.does)
        return [each for _, expected in pairs for each in expected]

    # ------------------------------------------------------------------------------- memory

    def _written(self, step: Step) -> list[View]:
        return [view for each in step.does for view in each.outputs if view.nbytes]

    def _everywhere(self) -> list[Array]:
        """The arena, and all state."""
        return [self._memory.arena, *(each.array for each in self._unit.states)]

    def _everything(self) -> list[Array]:
        return [each.copy() for each in self._everywhere()]

    def _restore(self, copies: Sequence[Array]) -> None:
        for array, copy in zip(self._everywhere(), copies, strict=True):
            array[...] = copy

    @staticmethod
    def _scratch(step: Step) -> list[View]:
        found = [each.scratch for each in step.does if each.scratch is not None]
        return [View(each, 0, (each.nbytes,), (1,), np.dtype(np.uint8)) for each in found]

    def _bytes_of(self, view: View) -> Array:
        as_bytes = replace(
            view,
            shape=(*view.shape, view.dtype.itemsize),
            strides=(*view.strides, 1),
            dtype=np.dtype(np.uint8),
        )
        return self._memory.array(as_bytes)

    # ----------------------------------------------------------------------------- launches

    def _launch(self, step: Step, is_reversed: bool) -> None:
        """On results and scratch memory that are NaN where nothing of them is read."""
        read = [self._extent(view) for each in step.does for view in each.inputs]
        is_poisoned = True
        for view in (*self._written(step), *self._scratch(step)):
            begin, end = self._extent(view)
            if any(first < end and begin < last for first, last in read):
                is_poisoned = False
            else:
                self._bytes_of(view)[...] = 0xFF
        self._device.is_reversed = is_reversed
        self._device.every = self._every(step) if is_poisoned else 1
        self._status[0] = 0
        for launch in step.launches:
            self._function(launch)([self._address(each) for each in launch.places])
        self._held.clear()
        assert not self._status[0], f"{step.does[0].label} refuses what NumPy takes"

    def _every(self, step: Step) -> int:
        """Every how many-th block of a launch is run: of those whose blocks do the same work."""
        does = step.launches[0].does
        if len(step.launches) > 1 or isinstance(does, Matrices) or does in self._joined:
            return 1
        return max(1, does.blocks // BLOCKS)

    def _function(self, launch: Launch) -> Callable[[Sequence[int]], None]:
        if isinstance(launch.does, Matrices):
            return self._device.product(launch.does, "float32")
        return self._functions[launch.does]

    def _extent(self, view: View) -> tuple[int, int]:
        first, last = view.span
        begin = self._address(Place(view.buffer, first, view.moves))
        return begin, begin + last - first

    def _address(self, place: Place) -> int:
        if place.buffer is None:
            return int(self._status.ctypes.data)
        moved = sum(a * b for a, b in zip(place.moves, self._memory.rounds, strict=False))
        return self._start(place.buffer) + place.offset + moved

    def _start(self, buffer: Buffer) -> int:
        if buffer.storage is not Storage.CONSTANT:
            return self._memory.address(buffer)
        dense = np.ascontiguousarray(self._unit.constants[buffer.index].attrs["value"].array)
        self._held.append(dense)
        return int(dense.ctypes.data)


def _nothing() -> None:
    """What an earlier step has done."""


def _fill(found: Array, expected: Array) -> None:
    """Take as expected what blocks would have written that were not run."""
    raw = _bytes(np.ascontiguousarray(found)).reshape(found.size, -1)
    missing = np.all(raw == 0xFF, axis=1).reshape(found.shape)
    assert not missing.all(), "no block writes anything"
    found[missing] = expected[missing]


def _is_near(found: Array, expected: Array) -> bool:
    """Whether nothing but some roundings is between two arrays: no model of errors is needed."""
    if not is_floating(found.dtype):
        return np.array_equal(found, expected)
    largest = np.abs(expected).max(initial=0)
    slack = 8 * float(ml_dtypes.finfo(found.dtype).eps) * float(largest)
    return bool(np.isfinite(slack) and np.all(np.abs(found - expected) <= slack))


def _are_same(one: Array, other: Array) -> bool:
    """Whether all bits are; eight bytes at once as far as they go, for arenas are large."""
    pairs = list(zip(*(_words(each) for each in (one, other)), strict=True))
    return all(np.array_equal(some, others) for some, others in pairs)


def _words(array: Array) -> tuple[Array, Array]:
    raw = _bytes(array)
    whole = raw.size // 8 * 8
    return raw[:whole].view(np.uint64), raw[whole:]


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)
