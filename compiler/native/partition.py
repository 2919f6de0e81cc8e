"""Partition: which thread runs which chunks of which call, and where all must meet.

Decided once, when a segment is built, from the costs and the memory that calls say they touch.
Results do not depend on it: chunks are independent, and calls that are not keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from graphnn.compiler.native.calls import Call, Fork, Region
from graphnn.compiler.native.intervals import Interval, Intervals, overlap_any
from graphnn.compiler.regions import Loop, parts_of

__all__ = ["Begin", "End", "Share", "Step", "partition", "work_ns"]

SPLIT_NS = 2_000.0
"""Work that is worth a thread of its own: many times what a barrier costs."""

ALONE_NS = 8_000.0
"""A segment with less work than this is not worth waking a thread for."""

LEAST_GAIN = 0.8
"""Share of the time on one thread that several may take at most; else one is as good, and leaves
the other processors free."""

MEETING_NS = 500.0
"""What it costs that all threads meet, and read what another one has written."""

ROUNDS = 64
"""What is reckoned with where nobody knows how often a loop goes round."""


@dataclass(frozen=True, slots=True)
class Share:
    """Chunks of a call, by its number."""

    call: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Begin:
    """From here on a thread goes round a loop, or it skips what is behind a fork."""

    region: Region


@dataclass(frozen=True, slots=True)
class End:
    """Here a round of a loop ends, the ``depth``-th around, or what is behind a fork."""

    region: Region
    depth: int


Step: TypeAlias = Share | Begin | End | Literal["barrier", "check"]


def partition(
    calls: Sequence[Call],
    n_threads: int,
    status: Interval | None = None,
    regions: Sequence[Region] = (),
) -> list[list[Step]]:
    """The program of every thread; just one if more are not worth it.

    Before a call that commits there is a check of the status word, in all programs or in none.
    Regions are of calls, by number; outer ones come first.
    """
    if n_threads > 1 and work_ns(calls, regions) >= ALONE_NS:
        planner = _Planner(calls, n_threads, status, regions)
        programs = planner.plan()
        if planner.span_ns() < LEAST_GAIN * work_ns(calls, regions):
            return programs
    return _Planner(calls, 1, status, regions).plan()


def work_ns(calls: Sequence[Call], regions: Sequence[Region]) -> float:
    """What all calls cost in all rounds, if none is skipped."""
    costs = [call.cost_ns for call in calls]
    for region in regions:
        for number in range(region.begin, region.end):
            costs[number] *= _rounds(region)
    return sum(costs)


def _rounds(region: Region) -> int:
    """How often what is in a region is done."""
    if isinstance(region, Fork):
        return 1
    return ROUNDS if region.count is None else region.count


class _Planner:
    """Hands out calls in their order."""

    def __init__(
        self,
        calls: Sequence[Call],
        n_threads: int,
        status: Interval | None,
        regions: Sequence[Region],
    ) -> None:
        self.programs: list[list[Step]] = [[] for _ in range(n_threads)]
        self._calls = calls
        self._regions = regions
        self._status = status
        self._is_checked = False
        self._span_ns = 0.0
        self._rounds = 1
        self._meet()

    def plan(self) -> list[list[Step]]:
        """The program of every thread."""
        self._add_range(0, len(self._calls), self._regions, 0)
        return self.programs

    def _add_range(self, begin: int, end: int, regions: Sequence[Region], depth: int) -> None:
        """Hand out calls and the regions among them."""
        last: tuple[Fork, _Touched] | None = None
        for part in parts_of(begin, end, regions):
            if isinstance(part, int):
                self._add(part, self._calls[part])
                continue
            region, inside = part
            if not isinstance(region, Fork) or region.leaves:
                self._add_region(region, inside, depth)
                continue
            before = self._touched()
            if last is not None and self._excludes(last[0], region):
                # Who comes here has not been there.
                after, before = before, last[1]
                self._read, self._written = map(_copies, before)
                self._add_region(region, inside, depth)
                self._include(after)
            else:
                self._add_region(region, inside, depth)
            last = region, before

    def _add_region(self, region: Region, inside: Sequence[Region], depth: int) -> None:
        """All threads go the same way together, meeting where it ends; or one goes alone.

        A region of calls that are not worth being divided has no barrier in it.
        """
        calls = self._calls[region.begin : region.end]
        if len(self.programs) == 1 or all(call.cost_ns < 2 * SPLIT_NS for call in calls):
            self._add_lonely(region, inside, depth)
            return
        if isinstance(region, Fork) and not region.leaves:
            self._add_fork(region, inside, depth)
            return
        self._barrier()
        self._note_looks((region,))
        for program in self.programs:
            program.append(Begin(region))
        self._rounds *= _rounds(region)
        is_loop = isinstance(region, Loop)
        self._add_range(region.begin, region.end, inside, depth + is_loop)
        self._barrier()
        self._rounds //= _rounds(region)
        for program in self.programs:
            program.append(End(region, depth))
        # Who has skipped something has met nobody since he looked.
        self._note_looks((region, *inside))

    def _add_fork(self, fork: Fork, inside: Sequence[Region], depth: int) -> None:
        """All threads go the same way; they meet only where what they touch asks for it.

        Who skips the calls does not meet the others among them, so what was touched before still
        counts behind them.
        """
        if self._threads_before(fork.test.reads, ()):
            self._barrier()
        self._note_looks((fork,))
        before = self._touched()
        is_checked = self._is_checked
        for program in self.programs:
            program.append(Begin(fork))
        self._add_range(fork.begin, fork.end, inside, depth)
        for program in self.programs:
            program.append(End(fork, depth))
        self._include(before)
        self._is_checked = self._is_checked and is_checked

    def _excludes(self, one: Fork, other: Fork) -> bool:
        """Whether the calls of one of two forks, one behind the other, are made, and not of both.

        They look at one flag, which the first does not change.
        """
        writes = (each for call in self._calls[one.begin : one.end] for each in call.writes)
        return (
            one.end == other.begin
            and one.test == other.test
            and one.when != other.when
            and not any(overlap_any(one.test.reads, each) for each in writes)
        )

    def _touched(self) -> _Touched:
        """What every thread has read, and what it has written, since all met; copied."""
        return _copies(self._read), _copies(self._written)

    def _include(self, touched: _Touched) -> None:
        """Note what may have been touched too."""
        for mine, others in zip((self._read, self._written), touched, strict=True):
            for one, other in zip(mine, others, strict=True):
                one.update(other)

    def _note_looks(self, regions: Sequence[Region]) -> None:
        """All threads look at flags: nobody may change one before all have looked."""
        for region in regions:
            for thread in range(len(self.programs)):
                self._note(thread, self._looked_at(region), ())

    def _looked_at(self, region: Region) -> Sequence[Interval]:
        """What says whether a region is entered: a flag; for an endless loop, the status word."""
        if isinstance(region, Fork):
            return region.test.reads
        return (self._status,) if region.count is None and self._status else ()

    def _add_lonely(self, region: Region, inside: Sequence[Region], depth: int) -> None:
        """Give a whole region to one thread."""
        calls = self._calls[region.begin : region.end]
        looked_at = [each for one in (region, *inside) for each in self._looked_at(one)]
        reads = [*looked_at, *(each for call in calls for each in call.reads)]
        writes = [each for call in calls for each in call.writes]
        before = self._threads_before(reads, writes)
        thread = next(iter(before)) if len(before) == 1 else self._quietest()
        if before - {thread}:
            self._barrier()
        self.programs[thread] += self._alone(region, inside, depth)
        self._loads[thread] += work_ns(
            calls,
            [
                replace(each, begin=each.begin - region.begin, end=each.end - region.begin)
                for each in (region, *inside)
            ],
        )
        self._note(thread, reads, writes)
        if self._status and overlap_any(writes, self._status):
            self._is_checked = False

    def _alone(self, region: Region, inside: Sequence[Region], depth: int) -> Iterator[Step]:
        """The steps of a region, for one thread."""
        yield Begin(region)
        for part in parts_of(region.begin, region.end, inside):
            if isinstance(part, int):
                yield Share(part, 0, self._calls[part].n_chunks)
            else:
                yield from self._alone(*part, depth + isinstance(region, Loop))
        yield End(region, depth)

    def span_ns(self) -> float:
        """How long all threads together take, about."""
        return self._span_ns + max(self._loads)

    def _quietest(self) -> int:
        return min(range(len(self._loads)), key=self._loads.__getitem__)

    def _add(self, number: int, call: Call) -> None:
        """Give a call to one thread or to several."""
        if call.is_commit and self._status and not self._is_checked:
            self._check(self._status)
        before = self._threads_before(call.reads, call.writes)
        shares = self._shares(call, before)
        if any(before - {thread} for thread, _, _ in shares):
            self._barrier()
            shares = self._shares(call, set())
        total = max(call.n_chunks, 1)
        for thread, begin, end in shares:
            self.programs[thread].append(Share(number, begin, end))
            self._loads[thread] += call.cost_ns * (end - begin) / total
            self._note(thread, call.reads, call.writes)
        if self._status and overlap_any(call.writes, self._status):
            self._is_checked = False

    def _shares(self, call: Call, before: set[int]) -> list[tuple[int, int, int]]:
        """``(thread, begin, end)``; loads are levelled where a call is large.

        What a small call depends on may have run on one thread: there it needs no barrier.
        """
        n_threads = min(len(self.programs), call.n_chunks, int(call.cost_ns / SPLIT_NS))
        if n_threads <= 1:
            thread = next(iter(before)) if len(before) == 1 else self._quietest()
            return [(thread, 0, call.n_chunks)]
        return _level(self._loads, call.n_chunks, call.cost_ns, n_threads)

    def _check(self, status: Interval) -> None:
        """All threads look at the status; none may write it before all have looked."""
        if self._threads_before((status,), ()):
            self._barrier()
        for thread, program in enumerate(self.programs):
            program.append("check")
            self._note(thread, (status,), ())
        self._is_checked = True

    def _barrier(self) -> None:
        for program in self.programs:
            program.append("barrier")
        self._span_ns += self._rounds * (max(self._loads) + MEETING_NS)
        self._meet()

    def _meet(self) -> None:
        """Forget what happened before: all have seen it."""
        n_threads = len(self.programs)
        self._loads = [0.0] * n_threads
        self._read = [Intervals() for _ in range(n_threads)]
        self._written = [Intervals() for _ in range(n_threads)]

    def _note(self, thread: int, reads: Iterable[Interval], writes: Iterable[Interval]) -> None:
        if len(self.programs) == 1:
            return
        for each in reads:
            self._read[thread].add(each)
        for each in writes:
            self._written[thread].add(each)

    def _threads_before(self, reads: Iterable[Interval], writes: Iterable[Interval]) -> set[int]:
        """Threads that touched this memory since the last barrier, one of the two writing."""
        return {
            thread
            for thread, (read, written) in enumerate(zip(self._read, self._written, strict=True))
            if any(written.overlaps(each) for each in reads)
            or any(written.overlaps(each) or read.overlaps(each) for each in writes)
        }


def _level(
    loads: Sequence[float], n_chunks: int, cost_ns: float, n_threads: int
) -> list[tuple[int, int, int]]:
    """Split chunks so that the least loaded threads end together.

    >>> _level([0.0, 0.0], 10, 100.0, 2)
    [(0, 0, 5), (1, 5, 10)]
    >>> _level([20.0, 0.0], 10, 100.0, 2)
    [(0, 0, 4), (1, 4, 10)]
    """
    chosen = sorted(sorted(range(len(loads)), key=loads.__getitem__)[:n_threads])
    level = (sum(loads[thread] for thread in chosen) + cost_ns) / len(chosen)
    rooms = [max(level - loads[thread], 0.0) for thread in chosen]
    shares, done, begin = [], 0.0, 0
    for thread, room in zip(chosen, rooms, strict=True):
        done += room
        end = round(n_chunks * done / sum(rooms))
        if end > begin:
            shares.append((thread, begin, end))
        begin = end
    return shares


_Touched: TypeAlias = tuple[list[Intervals], list[Intervals]]
"""What every thread has read, and what it has written."""


def _copies(sets: Iterable[Intervals]) -> list[Intervals]:
    return [each.copy() for each in sets]
