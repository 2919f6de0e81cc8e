"""How to cut a recurrence into segments: the least work within a number of bytes.

A schedule says for every level how many segments there are and how long they are: ``((9, 1000),
(30, 32))`` for nine segments of 1000 steps, each in 30 segments of 32. What is left over at each
level is the last segment on the way there, and longer or shorter than the others.

On the way there the carry is kept where a segment begins; on the way back a segment is computed
again, and what its steps need is kept for the innermost segments alone. A last segment is not
computed again: its steps are kept at once, as many as there is room for.

Segments of a level have one length, so that a program holds every level once, however many
segments there are. What schedules without that restriction could save (Griewank and Walther's
`revolve`, 2000) is measured in the decision record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["MOST_LEVELS", "Recurrence", "Schedule", "cheapest", "extra_steps", "smallest"]

Schedule = tuple[tuple[int, int], ...]
"""For every level, outermost first, how many segments beside the last one, and how long."""

MOST_LEVELS = 4
"""More save next to nothing: with four, 25 places are enough for 10,000 steps."""

RATIO = 8
"""Numbers of segments that are tried differ by at least one in so many."""

FINENESS = 64
"""The smallest schedule is sought to one part in so many."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What matters of a scan and its way back.

    Attributes
    ----------
    steps : int
    carry_nbytes : int
        What is kept where a segment begins.
    kept_nbytes : int
        What is kept of each step of an innermost segment; at least 1.
    """

    steps: int
    carry_nbytes: int
    kept_nbytes: int

    def nbytes(self, schedule: Schedule) -> int:
        """What all that is kept takes at most."""
        if not schedule:
            return self.steps * self.kept_nbytes
        (count, length), *inner = schedule
        last = self.of(self.steps - count * length).nbytes(())
        return count * self.carry_nbytes + max(last, self.of(length).nbytes(tuple(inner)))

    def of(self, steps: int) -> Recurrence:
        """The same of other length."""
        return Recurrence(steps, self.carry_nbytes, self.kept_nbytes)


def extra_steps(schedule: Schedule) -> int:
    """How many steps are computed again."""
    total, times = 0, 1
    for count, length in schedule:
        times *= count
        total += times * length
    return total


def cheapest(recurrence: Recurrence, nbytes: int) -> Schedule | None:
    """The schedule with least work within ``nbytes``; None if there is none.

    A schedule of fewer levels takes less work than one of more.
    """
    tried = (_cheapest(recurrence, nbytes, levels) for levels in range(MOST_LEVELS + 1))
    return next((each for each in tried if each is not None), None)


def smallest(recurrence: Recurrence, levels: int) -> Schedule:
    """The schedule of so many levels, or fewer, that keeps least."""
    low, high = 0, recurrence.nbytes(())
    best: Schedule = ()
    while high - low > 1 + low // FINENESS:
        middle = (low + high) // 2
        tried = (_cheapest(recurrence, middle, each) for each in range(levels + 1))
        found = [each for each in tried if each is not None]
        if found:
            best = min(found, key=recurrence.nbytes)
            high = min(middle, recurrence.nbytes(best))
        else:
            low = middle
    return best


@lru_cache(maxsize=1 << 14)
def _cheapest(recurrence: Recurrence, nbytes: int, levels: int) -> Schedule | None:
    """The schedule of so many levels with least work within ``nbytes``; None if there is none."""
    steps = recurrence.steps
    if levels == 0:
        return () if recurrence.nbytes(()) <= nbytes else None
    best: Schedule | None = None
    for count in _counts(steps):
        left = nbytes - count * recurrence.carry_nbytes
        room = min(left // recurrence.kept_nbytes, steps - count)  # for steps of the last segment
        if room < 1:
            break
        length = -(-(steps - room) // count)
        if count * length >= steps:
            continue
        inner = _cheapest(recurrence.of(length), left, levels - 1)
        if inner is None:
            continue
        schedule = ((count, length), *inner)
        if best is None or extra_steps(schedule) < extra_steps(best):
            best = schedule
        if levels == 1:
            break  # more segments only take more work
    return best


def _counts(steps: int) -> Iterator[int]:
    """Numbers of segments to try, all of the small ones."""
    count = 1
    while count < steps:
        yield count
        count += 1 + count // RATIO
