"""What a segment is made of: calls of native functions, and the regions among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from graphnn.compiler.native.intervals import Interval
from graphnn.compiler.regions import Loop

__all__ = ["Call", "Fork", "Region", "Slot", "slot_interval"]


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument whose address is known when a segment runs: a feed or a fresh result."""

    number: int


def slot_interval(number: int, nbytes: int) -> Interval:
    """What stands for a slot's memory in `Call.reads` and `Call.writes`."""
    start = -(number + 1) << 48
    return start, start + nbytes


@dataclass(frozen=True, slots=True)
class Call:
    """A function to call with every chunk of a range.

    Attributes
    ----------
    address : int
        Of a ``void f(ptr args, i64 begin, i64 end)``.
    n_chunks : int
    arguments : tuple of int or Slot
        Addresses; those of slots are given anew in every run.
    reads, writes : tuple of (int, int)
        Memory it touches, from the first address up to the second; see `slot_interval`.
    cost_ns : float
        How long it takes on one thread, roughly.
    is_commit : bool
        Whether it must not run once the status word is not 0, because it changes state that
        outlives the run.
    moves : tuple of tuple of int
        For each argument, by how many bytes it moves with every round of the loops around the
        call, outermost first; what is missing does not move.
    """

    address: int
    n_chunks: int
    arguments: tuple[int | Slot, ...]
    reads: tuple[Interval, ...] = ()
    writes: tuple[Interval, ...] = ()
    cost_ns: float = 0.0
    is_commit: bool = False
    moves: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """Calls that are made or skipped, as a flag says; equal to itself alone.

    Attributes
    ----------
    begin, end : int
        The first of them, and the first behind them.
    test : Call
        Its only argument is the address of the flag, a byte; it reads that, and calls nothing.
    when : bool
        What the flag must be for the calls to be made.
    leaves : bool
        Whether the loop around them, which ends where they do, is left if they are skipped.
    """

    begin: int
    end: int
    test: Call
    when: bool
    leaves: bool = False


Region: TypeAlias = Loop | Fork
"""What a part of the calls is in: a loop, or what a flag lets through."""
