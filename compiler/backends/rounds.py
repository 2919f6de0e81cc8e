"""Going round loops in Python: where an instruction calls NumPy, or is looked at by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphnn.compiler.unit import Loop

__all__ = ["in_rounds"]


def in_rounds(begin: int, end: int, loops: Sequence[Loop], rounds: list[int]) -> Iterator[int]:
    """Numbers from ``begin`` up to ``end``, those in loops again and again.

    Parameters
    ----------
    begin, end : int
    loops : sequence of Loop
        Over these numbers, outer ones first.
    rounds : list of int
        Says, while a number is dealt with, how many rounds of the loops around it are done,
        outermost first.
    """
    number = begin
    for loop in loops:
        if loop.begin < number:  # it is inside of one that is done
            continue
        yield from range(number, loop.begin)
        inside = [each for each in loops if each is not loop]
        inside = [each for each in inside if loop.begin <= each.begin and each.end <= loop.end]
        rounds.append(0)
        for _ in range(loop.count):
            yield from in_rounds(loop.begin, loop.end, inside, rounds)
            rounds[-1] += 1
        rounds.pop()
        number = loop.end
    yield from range(number, end)
