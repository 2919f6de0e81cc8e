"""The runtime: a segment is a list of native calls that runs as one call.

Who calls: the executor of a native program, which puts host instructions between segments.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphnn.compiler.native import spmd
from graphnn.compiler.native.calls import Call, Fork, Region, Slot, slot_interval
from graphnn.compiler.native.intervals import Interval
from graphnn.compiler.native.partition import Begin, End, Share, Step, partition, work_ns
from graphnn.compiler.native.pool import MAX_THREADS, pool, runner
from graphnn.compiler.unit import Loop

__all__ = ["Call", "Fork", "Interval", "Region", "Segment", "Slot", "slot_interval"]

ENDLESS = 2**62
"""Rounds of a loop that is left from inside."""

HELD_NS = 20_000.0
"""A segment that is shorter keeps the interpreter's lock: to give it up and to get it back may
take longer than the segment."""


class Segment:
    """Calls that run one after the other, or side by side where nothing forbids it.

    The memory of the calls belongs to the caller, who lets nobody else use it during a run: a
    segment is not run by two threads at a time. Two segments may run at a time; one of them has
    the pool and the other runs on its caller alone, with the same results.

    Parameters
    ----------
    calls : sequence of Call
    n_threads : int
        How many threads may work on it.
    n_slots : int
        How many addresses `run` is given, where that is more than the calls use.
    status : int
        Address of an int64 that calls set if something is wrong; 0 for none. It is never cleared
        here. Calls that commit do not run once it is set, nor does anything behind them.
    regions : sequence of Loop or Fork
        Of calls, by number; outer ones first.

    Attributes
    ----------
    n_threads : int
        How many threads do work on it.
    n_barriers : int
    """

    def __init__(
        self,
        calls: Sequence[Call],
        n_threads: int,
        *,
        n_slots: int = 0,
        status: int = 0,
        regions: Sequence[Region] = (),
    ) -> None:
        n_threads = max(1, min(n_threads, MAX_THREADS))
        watched = (status, status + 8) if status else None
        programs = partition(calls, n_threads, watched, regions)
        alone = programs[0] if len(programs) == 1 else partition(calls, 1, watched, regions)[0]
        self.n_threads = len(programs)
        self.n_barriers = programs[0].count("barrier")
        self._n_calls = len(calls)
        self._tables = _Tables(calls, programs, alone, status, n_slots)
        self._job = self._tables.job_address
        self._slots = self._tables.slots
        self._pack = struct.Struct(f"{len(self._slots)}q").pack_into
        native = runner()
        self._pool = pool() if self.n_threads > 1 else None
        if self._pool:
            self._call = native.run
        elif work_ns(calls, regions) < HELD_NS and not any(map(_is_endless, regions)):
            self._call = native.run_held
        else:
            self._call = native.run_alone

    def run(self, slots: Sequence[int] = ()) -> int:
        """Run all calls; gives the status word.

        Parameters
        ----------
        slots : sequence of int
            The address of every slot, by number.
        """
        if slots:
            self._pack(self._slots, 0, *slots)
        threads = self._pool
        if threads is None:
            return self._call(0, self._job)
        if threads.n_threads < self.n_threads and not threads.grow(self.n_threads):
            return runner().run_alone(0, self._job)
        return self._call(threads.control, self._job)

    def profile(self, slots: Sequence[int] = ()) -> list[int]:
        """Run all calls and tell how many nanoseconds each took.

        The largest of the threads that worked on it, where there are several.
        """
        times = np.zeros((self.n_threads, self._n_calls), "int64")
        self._tables.job[6] = times.ctypes.data
        try:
            self.run(slots)
        finally:
            self._tables.job[6] = 0
        return [int(each) for each in times.max(axis=0)] if self._n_calls else []


class _Tables:
    """What the native code reads; see `graphnn.compiler.native.spmd` for its form.

    Attributes
    ----------
    job : numpy.ndarray
    job_address : int
    slots : ctypes array of int64
        Addresses of the slots.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        programs: Sequence[Sequence[Step]],
        alone: Sequence[Step],
        status: int,
        n_slots: int,
    ) -> None:
        self._status = np.zeros(1, "int64")
        status = status or self._status.ctypes.data
        # Threads go round loops at their own pace, so each has pointers of its own.
        lonely = _Program(calls, alone, status)
        many = [lonely]
        if len(programs) > 1:
            many = [_Program(calls, each, status) for each in programs]
        made = [lonely, *many]
        patches = [patch for each in dict.fromkeys(made) for patch in each.patches]
        self._patches = np.array(patches, "int64").reshape(-1, 2)
        used = 1 + max((slot for _, slot in patches), default=-1)
        self.slots = (ctypes.c_int64 * max(used, n_slots))()
        self._programs = made
        addresses = [each.records.ctypes.data for each in made]
        self.job = np.array(
            [
                len(programs),
                status,
                addresses[0],
                len(patches),
                self._patches.ctypes.data,
                ctypes.addressof(self.slots),
                0,
                len(calls),
                *addresses[1:],
            ],
            "int64",
        )
        self.job_address: int = self.job.ctypes.data


class _Program:
    """The records of one thread, and the memory that they point to.

    Attributes
    ----------
    records : numpy.ndarray
    patches : list of (int, int)
        Addresses of the pointers that are slots, and the numbers of these.
    """

    def __init__(self, calls: Sequence[Call], steps: Sequence[Step], status: int) -> None:
        # What endless loops look at before every round, so that they end where a call refuses.
        self._status = Call(0, 0, (status,))
        called = [each for step in steps for each in self._calls_of(calls, step)]
        flat = [argument for call in called for argument in call.arguments]
        numbers = [0 if isinstance(each, Slot) else each for each in flat]
        self._pointers = np.array([*numbers, 0], "int64")
        base = self._pointers.ctypes.data
        self.patches = [
            (base + 8 * index, each.number)
            for index, each in enumerate(flat)
            if isinstance(each, Slot)
        ]
        self._counters = np.zeros(sum(isinstance(step, Begin) for step in steps), "int64")
        self._place, self._counter = base, int(self._counters.ctypes.data)
        self._rows: list[list[int]] = []
        self._begun: list[_Begun] = []
        self._skips: list[int] = []
        for step in steps:
            self._add(calls, step)
        self._rows.append([spmd.END, 0, 0, 0, 0])
        self.records = np.array(self._rows, "int64")

    def _calls_of(self, calls: Sequence[Call], step: Step) -> Iterator[Call]:
        """What a step needs pointers for."""
        match step:
            case Share(number):
                yield calls[number]
            case Begin(Fork() as fork):
                yield fork.test
            case Begin(loop) if _is_endless(loop):
                yield self._status

    def _add(self, calls: Sequence[Call], step: Step) -> None:
        """The records of a step."""
        place = self._place
        for call in self._calls_of(calls, step):
            if self._begun:
                self._begun[-1].calls.append((self._place, call))
            self._place += 8 * len(call.arguments)
        match step:
            case "barrier":
                self._rows.append([spmd.BARRIER, 0, 0, 0, 0])
            case "check":
                self._rows.append([spmd.CHECK, 0, 0, 0, 0])
            case Share(number, begin, end):
                self._rows.append([calls[number].address, place, begin, end, number])
            case Begin(Fork() as fork):
                self._skips.append(len(self._rows))
                self._rows.append([spmd.SKIP, place, int(fork.when), 0, 0])
            case Begin(loop):
                self._begun.append(_Begun(len(self._rows), self._counter))
                self._counter += 8
                if _is_endless(loop):
                    self._begun[-1].leaving.append(len(self._rows))
                    self._rows.append([spmd.SKIP, place, 0, 0, 0])
            case End(Fork() as fork):
                skip = self._skips.pop()
                if fork.leaves:
                    self._begun[-1].leaving.append(skip)
                else:
                    self._land(skip)
            case End(loop, depth):
                self._end_round(loop, depth)

    def _end_round(self, loop: Region, depth: int) -> None:
        """Move what moves, and go back; behind the loop, what has moved is put back."""
        assert isinstance(loop, Loop)
        begun = self._begun.pop()
        moves = list(_moves(begun.calls, depth))
        self._rows += [[spmd.MOVE, where, by, 0, 0] for where, by in moves]
        back = spmd.RECORD_WORDS * (len(self._rows) - begun.row)
        count = ENDLESS if loop.count is None else loop.count
        self._rows.append([spmd.REPEAT, begun.counter, count, back, 0])
        self._rows += [[spmd.MOVE, where, -by * count, 0, 0] for where, by in moves]
        for skip in begun.leaving:
            self._land(skip)
        if self._begun:
            self._begun[-1].calls.extend(begun.calls)

    def _land(self, skip: int) -> None:
        """Let a record skip all up to here."""
        self._rows[skip][3] = spmd.RECORD_WORDS * (len(self._rows) - skip)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A loop whose records are being written.

    Attributes
    ----------
    row : int
        Its first record.
    counter : int
        Address of the word that counts its rounds.
    calls : list of (int, Call)
        Those inside, with the places of their pointers.
    leaving : list of int
        Records that leave it.
    """

    row: int
    counter: int
    calls: list[tuple[int, Call]] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)


def _is_endless(region: Region) -> bool:
    """Whether a loop goes round until something leaves it."""
    return isinstance(region, Loop) and region.count is None


def _moves(calls: Iterable[tuple[int, Call]], depth: int) -> Iterator[tuple[int, int]]:
    """The pointers that a round of a loop moves, and by how many bytes."""
    for place, call in calls:
        for index, moves in enumerate(call.moves):
            if len(moves) > depth and moves[depth]:
                yield place + 8 * index, moves[depth]
