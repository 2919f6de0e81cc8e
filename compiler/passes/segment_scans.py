"""segment_scans: compute recurrences in segments, to stay within a memory budget.

Before: a scan keeps for each of 10,000 steps what the way back needs.
After: it keeps the carry of every hundredth step, and the way back computes a segment again at a
time: see `graphnn.compiler.scans.segments`.

Nothing happens without a budget, nor where there is room for all. Else the lengths of segments are
those of least work within some number of bytes, and that number is corrected until the memory
that the passes after this one plan fits the budget: they are tried, which takes as long for
10,000 steps as for ten. If nothing fits, `rematerialize` gets the smallest that was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.domain import is_computed
from graphnn.compiler.driver import Driver, Pass
from graphnn.compiler.scans.bodies import everywhere
from graphnn.compiler.scans.rewriting import has_scans
from graphnn.compiler.scans.schedules import MOST_LEVELS, Recurrence, Schedule, cheapest, smallest
from graphnn.compiler.scans.segments import Pair, find_lonely, find_pairs, in_segments
from graphnn.compiler.scans.sink import sink
from graphnn.compiler.scans.trim import trim_scans
from graphnn.compiler.trials import AIM, CLOSE, geometric_mean, planned
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, substitute
from graphnn.core.node import Node
from graphnn.ops.recomputation import SEGMENT, again

__all__ = ["segment_scans_before"]

MOST_TRIALS = 8

FINENESS = 1 << 20
"""Parts of the memory that everything would take, of which a guess is a number."""


def segment_scans_before(rest: Sequence[Pass], *, may_sink: bool = False) -> Pass:
    """The pass, given those that follow it and end with planned memory.

    If segments alone are not enough, and it may, what is computed for all steps at once is made
    part of the steps (`graphnn.compiler.scans.sink`), which adds up sums in another order.
    """

    def segment_scans(unit: Unit, driver: Driver) -> Unit:
        budget = unit.options.memory_budget
        if budget is None or not has_scans(unit.graph):
            return unit
        plain = _Found.of(unit, rest, driver)
        unit = replace(unit, plain_flops=plain.flops)
        if plain.nbytes <= budget:
            return unit
        unit = everywhere(trim_scans)(unit, driver)  # what nobody reads is kept for nobody
        found = _Search(unit, plain.nbytes, rest, driver).within(budget)
        if found.nbytes > budget and may_sink:
            sunk = driver.with_graph(unit, sink(unit.graph))
            other = _Search(sunk, plain.nbytes, rest, driver).within(budget)
            found = min(found, other, key=lambda each: each.nbytes)
        return found.unit if found.nbytes < plain.nbytes else unit

    return segment_scans


@dataclass(frozen=True)
class _Found:
    """A way to run the program, and what it takes."""

    unit: Unit
    nbytes: int
    flops: int

    @staticmethod
    def of(unit: Unit, rest: Sequence[Pass], driver: Driver) -> _Found:
        """What the remaining passes make of a unit."""
        made = planned(unit, rest, driver.fuel)
        assert made.plan is not None
        return _Found(unit, made.plan.nbytes, made.flops)


class _Search:
    """Tries out schedules for the pairs of one graph until the planned arena fits.

    Parameters
    ----------
    unit : Unit
    plain_nbytes : int
        The arena without segments.
    rest : sequence of Pass
    driver : Driver
    """

    def __init__(self, unit: Unit, plain_nbytes: int, rest: Sequence[Pass], driver: Driver) -> None:
        self._unit = unit
        self._rest = rest
        self._driver = driver
        self._pairs = find_pairs(unit.graph)
        self._lonely = {each: _middling(each) for each in find_lonely(unit.graph, self._pairs)}
        self._plain_nbytes = plain_nbytes
        self._recurrences = _measured([pair.recurrence for pair in self._pairs], plain_nbytes)
        self._known: dict[tuple[Schedule, ...], _Found] = {}

    def within(self, budget: int) -> _Found:
        """What takes least work within the budget, or least memory if nothing fits."""
        if not self._pairs:
            return self._try(())
        self._aim(budget)
        fitting = [each for each in self._known.values() if each.nbytes <= budget]
        if fitting:
            return min(fitting, key=lambda each: each.flops)
        # The same for every budget, so that the smallest arena that an error names is found again
        # when it is asked for.
        tried = []
        for levels in range(1, MOST_LEVELS + 1):
            tried.append(self._try([smallest(each, levels) for each in self._recurrences]))
            if tried[-1].nbytes <= budget:
                break
        return min(tried, key=lambda each: each.nbytes)

    def _aim(self, budget: int) -> None:
        """Find the largest part of the memory that everything would take whose plan fits."""
        low, high = 0, FINENESS
        guess = FINENESS * budget // self._plain_nbytes
        for _ in range(MOST_TRIALS):
            if high - low < 2:
                return
            if not low < guess < high:
                guess = (low + high) // 2 if low else geometric_mean(low, high)
            tried = [
                cheapest(each, each.nbytes(()) * guess // FINENESS) for each in self._recurrences
            ]
            chosen = [each for each in tried if each is not None]
            if len(chosen) < len(tried):
                low, guess = guess, 0
                continue
            is_known = tuple(chosen) in self._known
            found = self._try(chosen)
            if CLOSE * budget <= found.nbytes <= budget:
                return
            if found.nbytes <= budget:
                low = guess
            else:
                high = guess
            guess = 0 if is_known else int(guess * AIM * budget / found.nbytes)

    def _try(self, schedules: Sequence[Schedule]) -> _Found:
        """Plan the program with pairs in segments."""
        key = tuple(schedules)
        if key not in self._known:
            chosen = {pair: each for pair, each in zip(self._pairs, key, strict=True) if each}
            unit = _segmented(self._unit, {**chosen, **self._lonely})
            self._known[key] = _Found.of(unit, self._rest, self._driver)
        return self._known[key]


def _middling(alone: Pair) -> Schedule:
    """About as many segments as each has steps."""
    steps: int = alone.forward.attrs["length"]
    length = math.isqrt(steps)
    return (((steps - 1) // length, length),)


def _measured(recurrences: Sequence[Recurrence], nbytes: int) -> list[Recurrence]:
    """With what a step really takes: beside what is kept, what leaves the loop for all steps."""
    total = sum(each.nbytes(()) for each in recurrences) or 1
    return [
        replace(each, kept_nbytes=max(each.kept_nbytes * nbytes // total, each.kept_nbytes))
        for each in recurrences
    ]


def _segmented(unit: Unit, chosen: Mapping[Pair, Schedule]) -> Unit:
    if not chosen:
        return unit
    graph = in_segments(unit.graph, chosen)
    pairs = [pair for pair in chosen if pair.backward is not None]
    again_computed = tuple(node for pair in pairs for node in _computed_again(pair))
    return replace(unit, graph=graph, recomputed=(*unit.recomputed, *again_computed))


def _computed_again(pair: Pair) -> list[Node]:
    """What of a step is computed again, told apart from the first time."""
    body: Graph = pair.forward.attrs["body"]
    carries = body.outputs[: pair.forward.attrs["n_carry"]]
    wanted = (*carries, *(body.outputs[number] for number in pair.kept))
    copies = {each: again(each, SEGMENT) for each in body.inputs}
    outputs = substitute(wanted, copies)
    return [each for each in Graph((), outputs).nodes if is_computed(each)]
