"""Python goes its way: where an instruction calls NumPy, or is looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import count

from graphnn.compiler.unit import Branch, Region

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
    number = begin
    for region in regions:
        if region.begin < number:  # it is inside of one that is done
            continue
        yield from range(number, region.begin)
        inside = [each for each in regions if each is not region]
        inside = [each for each in inside if region.begin <= each.begin and each.end <= region.end]
        within = region.begin, region.end, inside, rounds, is_taken
        if isinstance(region, Branch):
            if is_taken(region):
                yield from in_rounds(*within)
            elif region.leaves:
                return True
        else:
            rounds.append(0)
            for _ in count() if region.count is None else range(region.count):
                if (yield from in_rounds(*within)):
                    break
                rounds[-1] += 1
            rounds.pop()
        number = region.end
    yield from range(number, end)
    return False
