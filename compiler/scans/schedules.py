"""How long the segments of a recurrence should be: the least work within a number of bytes.

A schedule is a tuple of lengths, ``(1000, 32)``: segments of 1000 steps, each in segments of 32.
On the way there the carry is kept where a segment begins; on the way back a segment is computed
again, and what its steps need is kept for the innermost segments alone. The last segment of each
level is left to the end of the way there and not computed again.

Lengths are the same throughout a level, so that a program holds every level once, however many
segments there are. Schedules without that restriction (Griewank and Walther's `revolve`, 2000)
need up to ``r`` times fewer places for the same work; see the decision record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Lengths", "Recurrence", "cheapest", "extra_steps", "places", "smallest"]

Lengths = tuple[int, ...]

MOST_LEVELS = 4
"""More save next to nothing: four take 10,000 steps down to 30 places."""

RATIO = 16
"""Numbers of segments that are tried differ by at least one in so many."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What matters of a scan and its way back.

    Attributes
    ----------
    steps : int
    carry_nbytes : int
        What is kept where a segment begins.
    kept_nbytes : int
        What is kept of each step of an innermost segment.
    """

    steps: int
    carry_nbytes: int
    kept_nbytes: int

    def nbytes(self, lengths: Lengths) -> int:
        """What all that is kept takes at most."""
        borders, kept = places(self.steps, lengths)
        return borders * self.carry_nbytes + kept * self.kept_nbytes


def segments(steps: int, length: int) -> tuple[int, int]:
    """How many segments are computed again, and the steps of the last one, which is not."""
    count = (steps - 1) // length
    return count, steps - count * length


def places(steps: int, lengths: Lengths) -> tuple[int, int]:
    """How many carries at borders, and how many steps in full, are kept at a time."""
    borders = 0
    for length in lengths:
        borders += segments(steps, length)[0]
        steps = length
    return borders, steps


def extra_steps(steps: int, lengths: Lengths) -> int:
    """How many steps are computed again."""
    total, times = 0, 1
    for length in lengths:
        count, _ = segments(steps, length)
        times *= count
        total += times * length
        steps = length
    return total


def cheapest(recurrence: Recurrence, nbytes: int) -> Lengths | None:
    """The schedule with least work within ``nbytes``; None if there is none."""
    found = [
        lengths
        for levels in range(MOST_LEVELS + 1)
        if (lengths := _cheapest(recurrence, nbytes, levels)) is not None
    ]
    return min(found, key=lambda each: extra_steps(recurrence.steps, each), default=None)


def smallest(recurrence: Recurrence, levels: int) -> Lengths:
    """The schedule of so many levels, or fewer, that keeps least."""
    low, high = 0, recurrence.nbytes(())
    best: Lengths = ()
    while high - low > 1:
        middle = (low + high) // 2
        found = [_cheapest(recurrence, middle, each) for each in range(levels + 1)]
        fitting = [each for each in found if each is not None]
        if fitting:
            best = min(fitting, key=recurrence.nbytes)
            high = min(middle, recurrence.nbytes(best))
        else:
            low = middle
    return best


@lru_cache(maxsize=1 << 14)
def _cheapest(recurrence: Recurrence, nbytes: int, levels: int) -> Lengths | None:
    """The schedule of so many levels with least work within ``nbytes``; None if there is none."""
    steps, carry = recurrence.steps, recurrence.carry_nbytes
    if levels == 0:
        return () if recurrence.nbytes(()) <= nbytes else None
    best: Lengths | None = None
    for count in _counts(steps):
        if count * carry > nbytes:
            break
        # Of one level, the last segment is as long as the others; of several, short enough to be
        # kept in full.
        length = -(-steps // (count + 1)) if levels == 1 else (steps - 1) // count
        inner = Recurrence(length, carry, recurrence.kept_nbytes)
        rest = _cheapest(inner, nbytes - count * carry, levels - 1)
        if rest is None or segments(steps, length)[1] > (length, *rest)[-1]:
            continue
        lengths = (length, *rest)
        if best is None or extra_steps(steps, lengths) < extra_steps(steps, best):
            best = lengths
        if levels == 1:
            break  # more segments only take more work
    return best


def _counts(steps: int) -> Iterator[int]:
    """Numbers of segments to try, all of the small ones."""
    count = 1
    while count < steps:
        yield count
        count += 1 + count // RATIO
