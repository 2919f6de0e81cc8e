"""Sets of addresses, to tell which calls touch the same memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Interval", "Intervals", "overlap_any"]

Interval: TypeAlias = tuple[int, int]
"""Addresses from the first up to the second, which is not in it."""


def overlap_any(intervals: Iterable[Interval], other: Interval) -> bool:
    """Whether one of some intervals has an address in common with another one."""
    return any(start < other[1] and other[0] < stop for start, stop in intervals)


class Intervals:
    """A set of addresses, as intervals that are disjoint and sorted."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, interval: Interval) -> None:
        """Include an interval; it melts with those that it touches."""
        start, stop = interval
        if start >= stop:
            return
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def copy(self) -> Intervals:
        """A set of the same addresses."""
        copied = Intervals()
        copied._starts, copied._stops = [*self._starts], [*self._stops]
        return copied

    def update(self, other: Intervals) -> None:
        """Include the addresses of another set."""
        for each in zip(other._starts, other._stops, strict=True):
            self.add(each)

    def overlaps(self, interval: Interval) -> bool:
        """Whether any address of an interval is in the set."""
        start, stop = interval
        first = bisect_right(self._stops, start)
        return start < stop and first < len(self._starts) and self._starts[first] < stop
