"""Python goes its way: where an instruction calls NumPy, or is looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import count

from graphnn.compiler.regions import Branch, Region, parts_of

__all__ = ["in_rounds"]


def in_rounds(
    begin: int,
    end: int,
    regions: Sequence[Region],
    rounds: list[int],
    is_taken: Callable[[Branch], bool],
) -> Generator[int, None, bool]:
    """Numbers from ``begin`` up to ``end``, those in loops again and again.

    Parameters
    ----------
    begin, end : int
    regions : sequence of Loop or Branch
        Of these numbers, outer ones first.
    rounds : list of int
        Says, while a number is dealt with, how many rounds of the loops around it are done,
        outermost first.
    is_taken : callable
        Asked when a branch is come to, and all before it is done.

    Returns
    -------
    bool
        Whether a branch was skipped that leaves the loop around it.
    """
    for part in parts_of(begin, end, regions):
        if isinstance(part, int):
            yield part
            continue
        region, inside = part
        within = region.begin, region.end, inside, rounds, is_taken
        if isinstance(region, Branch):
            if is_taken(region):
                yield from in_rounds(*within)
            elif region.leaves:
                return True
            continue
        rounds.append(0)
        for _ in count() if region.count is None else range(region.count):
            if (yield from in_rounds(*within)):
                break
            rounds[-1] += 1
        rounds.pop()
    return False
