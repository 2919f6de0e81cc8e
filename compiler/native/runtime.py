"""The runtime: a segment is a list of native calls that runs as one call.

Who calls: the executor of a native program, which puts host instructions between segments.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

import numpy as np

from graphnn.compiler.native import spmd
from graphnn.compiler.native.partition import Call, Interval, Slot, Step, partition, slot_interval
from graphnn.compiler.native.pool import MAX_THREADS, pool, runner

__all__ = ["Call", "Interval", "Segment", "Slot", "slot_interval"]

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

    Attributes
    ----------
    n_threads : int
        How many threads do work on it.
    n_barriers : int
    """

    def __init__(
        self, calls: Sequence[Call], n_threads: int, *, n_slots: int = 0, status: int = 0
    ) -> None:
        n_threads = max(1, min(n_threads, MAX_THREADS))
        watched = (status, status + 8) if status else None
        programs = partition(calls, n_threads, watched)
        alone = programs[0] if len(programs) == 1 else partition(calls, 1, watched)[0]
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
        elif sum(call.cost_ns for call in calls) < HELD_NS:
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
        self._arguments, places, patches = _argument_table(calls)
        self._patches = np.array(patches, "int64").reshape(-1, 2)
        used = 1 + max((slot for _, slot in patches), default=-1)
        self.slots = (ctypes.c_int64 * max(used, n_slots))()
        self._status = np.zeros(1, "int64")
        self._programs = [_records(calls, each, places) for each in (alone, *programs)]
        addresses = [each.ctypes.data for each in self._programs]
        self.job = np.array(
            [
                len(programs),
                status or self._status.ctypes.data,
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


def _argument_table(
    calls: Sequence[Call],
) -> tuple[np.ndarray, list[int], list[tuple[int, int]]]:
    """The pointers of all calls in a row, where each call's begin, and those that are slots."""
    flat = [argument for call in calls for argument in call.arguments]
    numbers = [0 if isinstance(each, Slot) else each for each in flat]
    table = np.array([*numbers, 0], "int64")
    base = table.ctypes.data
    places, place = [], base
    for call in calls:
        places.append(place)
        place += 8 * len(call.arguments)
    patches = [
        (base + 8 * index, each.number) for index, each in enumerate(flat) if isinstance(each, Slot)
    ]
    return table, places, patches


def _records(calls: Sequence[Call], program: Sequence[Step], places: Sequence[int]) -> np.ndarray:
    """A program's records."""
    rows = []
    for step in program:
        if step == "barrier":
            rows.append((spmd.BARRIER, 0, 0, 0, 0))
        elif step == "check":
            rows.append((spmd.CHECK, 0, 0, 0, 0))
        else:
            call = calls[step.call]
            rows.append((call.address, places[step.call], step.begin, step.end, step.call))
    rows.append((spmd.END, 0, 0, 0, 0))
    return np.array(rows, "int64")
