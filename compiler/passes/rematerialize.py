"""rematerialize: compute values again instead of keeping them, to stay within a memory budget.

Before: ``h = tanh(a); ...; d = g * (1 - h * h)``, and ``h`` is kept in between.
After: ``h = tanh(a); ...; d = g * (1 - again_h * again_h)`` with ``again_h = tanh(again(a))``.

Nothing happens without a budget. With one, the order of computation is chosen for little memory
first, which costs nothing; then a run in numbers (`eviction`) says what to forget. That works
with a model of memory, so what it promises is not believed: the passes that come after this one
are tried, and the number given to the model is corrected until the planned arena fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.driver import Driver, Pass
from graphnn.compiler.eviction import simulate
from graphnn.compiler.frugal_order import frugal_order
from graphnn.compiler.memory_model import Model
from graphnn.compiler.memory_report import holders
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.replay import replay
from graphnn.compiler.trials import AIM, CLOSE, geometric_mean, planned
from graphnn.compiler.unit import Unit
from graphnn.core.errors import ArgumentError

__all__ = ["rematerialize_before"]

MOST_REPETITIONS = 12
"""Steps of a run for each value of the graph: fewer bytes than that allows are not reachable."""

FREE_STEPS = 4096
"""Steps that are allowed to small graphs anyway."""

AIMED_TRIALS = 5
DESCENT_TRIALS = 7


def rematerialize_before(rest: Sequence[Pass]) -> Pass:
    """The pass, given those that follow it and end with planned memory.

    It raises `ArgumentError` if no arena within the budget is found.
    """

    def rematerialize(unit: Unit, driver: Driver) -> Unit:
        budget = unit.options.memory_budget
        if budget is None:
            return unit
        return _Search(unit, rest, driver.fuel).within(budget)

    return rematerialize


@dataclass(frozen=True)
class _Found:
    """A way to run the program: before and after the remaining passes."""

    unit: Unit
    planned: Unit
    cost: int

    @property
    def nbytes(self) -> int:
        assert self.planned.plan is not None
        return self.planned.plan.nbytes


class _Search:
    """Tries out budgets for the model until the plan fits the real one."""

    def __init__(self, unit: Unit, rest: Sequence[Pass], fuel: int | None) -> None:
        self._rest = rest
        self._fuel = fuel
        self._unit = unit
        self._best: _Found | None = None  # the cheapest that fits
        self._smallest: _Found | None = None

    def within(self, budget: int) -> Unit:
        """The unit, computing again what it must."""
        plain = self._consider(self._unit, 0, budget)
        if self._unit.plain_flops is None:
            self._unit = replace(self._unit, plain_flops=plain.planned.flops)
        if plain.nbytes <= budget:
            return self._unit
        model = Model.of(self._unit)
        ordered = replay(self._unit, model, [(value, 0) for value in frugal_order(model)])
        frugal = self._consider(ordered, 0, budget)
        if self._best is None:
            start = frugal if frugal.nbytes < plain.nbytes else plain
            model = Model.of(start.unit)
            smallest = self._smallest
            self._aim(start, model, budget)
            if self._best is None:
                # What was met on the way to this budget is not met on the way to another one, so
                # that an error could not name it as enough.
                self._smallest = smallest
                self._descend(start, model, budget)
        if self._best is None:
            raise self._impossible(budget)
        return self._best.unit

    def _consider(self, unit: Unit, cost: int, budget: int) -> _Found:
        """Plan a unit and remember it if it is the best so far."""
        found = _Found(unit, planned(unit, self._rest, self._fuel), cost)
        if self._smallest is None or found.nbytes < self._smallest.nbytes:
            self._smallest = found
        if found.nbytes <= budget and (self._best is None or cost < self._best.cost):
            self._best = found
        return found

    def _try(self, start: _Found, model: Model, guess: int, budget: int) -> _Found | None:
        """Plan what the model does within ``guess`` bytes; None if that takes too many steps."""
        trial = simulate(model, guess, max(MOST_REPETITIONS * len(model.nodes), FREE_STEPS))
        if trial is None:
            return None
        return self._consider(replay(start.unit, model, trial.steps), trial.cost, budget)

    def _aim(self, start: _Found, model: Model, budget: int) -> None:
        """Find the largest budget of the model whose plan fits the real one."""
        low, high = _floor(model), _unlimited_peak(model)
        guess = budget * high // start.nbytes
        if guess <= low:
            return  # out of reach for the model: the descent tries the same, and goes further
        for _ in range(AIMED_TRIALS):
            if not low < guess < high:
                guess = geometric_mean(low, high)
            found = self._try(start, model, guess, budget)
            if found is None:
                low = guess
            elif CLOSE * budget <= found.nbytes <= budget:
                return
            elif found.nbytes <= budget:
                low = guess
            else:
                high = guess
            guess = 0 if found is None else int(guess * AIM * budget / found.nbytes)

    def _descend(self, start: _Found, model: Model, budget: int) -> None:
        """Find the smallest arena, or one that fits.

        The path does not depend on the budget until one fits: the smallest arena that an error
        names is found again when it is asked for.
        """
        low, high = _floor(model), _unlimited_peak(model)
        for _ in range(DESCENT_TRIALS):
            guess = geometric_mean(low, high)
            if self._try(start, model, guess, budget) is None:
                low = guess
            else:
                high = guess
            if self._best is not None:
                return

    def _impossible(self, budget: int) -> ArgumentError:
        """Say what could be reached, and what stands in the way."""
        assert self._smallest is not None
        least = self._smallest.nbytes
        lines = "".join(f"\n    {line}" for line in holders(self._smallest.planned))
        return ArgumentError(
            f"memory_budget: {size_text(budget)} is too little; the smallest arena found takes "
            f"{size_text(least)} ({least:,} bytes), and at its peak it holds{lines}",
            where="",
            hint=f"memory_budget={least} is enough; smaller batches need less",
        )


def _floor(model: Model) -> int:
    """Bytes that the model needs in any case."""
    return max(model.nbytes, default=0)


def _unlimited_peak(model: Model) -> int:
    trial = simulate(model, model.total_nbytes, len(model.nodes))
    assert trial is not None
    return trial.peak
