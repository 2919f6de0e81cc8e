"""Regions: instructions that are not carried out just once, but again and again, or perhaps not.

A program's list of instructions is flat. Loops and branches are ranges of it; two of them lie one
in the other, or apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from graphnn.compiler.unit import View

__all__ = ["Branch", "Loop", "Region", "parts_of", "words_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Instructions that are carried out again and again; equal to itself alone.

    Attributes
    ----------
    begin, end : int
        The first of them, and the first behind them.
    count : int or None
        How often; at least 1. None: until a branch inside leaves it.
    """

    begin: int
    end: int
    count: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Instructions that are carried out or skipped; equal to itself alone.

    Attributes
    ----------
    begin, end : int
        The first of them, and the first behind them.
    flag : View
        One bool, looked at before the first of them.
    when : bool
        What it must be for them to be carried out.
    leaves : bool
        Whether the loop around them, which ends where they do, is left if they are skipped.
    """

    begin: int
    end: int
    flag: View
    when: bool
    leaves: bool = False


Region: TypeAlias = Loop | Branch
"""Instructions that are not carried out just once. Two regions lie one in the other or apart."""


def words_of(region: Region) -> str:
    """How often or when a region is entered, short."""
    match region:
        case Loop(_, _, count):
            return f"{count} x " if count is not None else "while "
        case Branch(leaves=True):
            return f"{region.flag.buffer}: "
        case _:
            return f"{'if' if region.when else 'unless'} {region.flag.buffer}: "


class _Range(Protocol):
    """What has a first number, and a first one behind it."""

    @property
    def begin(self) -> int: ...

    @property
    def end(self) -> int: ...


R = TypeVar("R", bound=_Range)


def parts_of(begin: int, end: int, regions: Sequence[R]) -> Iterator[int | tuple[R, list[R]]]:
    """Numbers from ``begin`` up to ``end``, with regions in place of those in them.

    Parameters
    ----------
    begin, end : int
    regions : sequence of region
        Of these numbers, outer ones first.

    Yields
    ------
    int or (region, list of region)
        With a region, those inside of it.
    """
    number = begin
    for region in regions:
        if region.begin < number:  # it is inside of one that was there before
            continue
        yield from range(number, region.begin)
        others = [each for each in regions if each is not region]
        yield (
            region,
            [each for each in others if region.begin <= each.begin and each.end <= region.end],
        )
        number = region.end
    yield from range(number, end)
