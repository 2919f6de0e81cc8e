"""What to keep and what to compute again: a run of the program in numbers, under a budget.

The values are computed in order. When memory is short, the value is forgotten that costs least
to compute again for the bytes and the time it frees; when a forgotten value is read, it is
computed again from what is there. This is the method of Kirisame et al., "Dynamic Tensor
Rematerialization" (2021), with the future known instead of guessed: for a chain of T steps it
needs one extra forward run at about sqrt(T) buffers, and more runs of it at fewer.

A value's cost is that of itself and of the forgotten values beside it, which would have to be
computed for it or from it. Those are kept as connected sets, with union and find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from graphnn.compiler.memory_model import Model

__all__ = ["Trial", "simulate"]

FARTHEST_WALK = 64
"""Forgotten values looked at from one value before its cost is taken to be high enough."""


@dataclass(frozen=True)
class Trial:
    """The run in numbers.

    Attributes
    ----------
    steps : sequence of (int, int)
        The value that is computed, and 0; for a value computed again the number of the occasion.
    cost : int
        What computing values again costs.
    peak : int
        Most bytes in use at a time, as the model has it.
    """

    steps: Sequence[tuple[int, int]]
    cost: int
    peak: int


def simulate(model: Model, budget: int, most_steps: int) -> Trial | None:
    """Run a model within a budget of bytes as well as can be.

    Where the values that one operator needs do not fit, more is used: see `Trial.peak`.
    None if it takes more than ``most_steps``.
    """
    run = _Run(model, budget)
    end = len(model.nodes)
    for value in range(end):
        run.step(value)
        if len(run.steps) > most_steps:
            return None
    run.fetch([value for value in range(end) if model.uses[value][-1:] == (end,)], end)
    return Trial(run.steps, run.cost, run.peak)


class _Run:
    """The state of memory while the values are computed."""

    def __init__(self, model: Model, budget: int) -> None:
        count = len(model.nodes)
        self.steps: list[tuple[int, int]] = []
        self.cost = 0
        self.peak = 0
        self._model = model
        self._budget = budget
        self._used = 0
        self._now = 0
        self._occasion = 0
        self._is_there = bytearray(count)
        self._next_use = [0] * count  # index into model.uses
        self._pins = [0] * count
        self._version = [0] * count
        self._heap: list[tuple[float, int, int]] = []
        self._forgotten = _Neighbourhoods(model, self._is_there)

    def step(self, value: int) -> None:
        """Compute a value for the first time, and let go of what it was the last to read."""
        reads = self._model.reads[value]
        self.fetch(reads, value)
        self._compute(value, 0)
        for each in reads:
            self._pins[each] -= 1
            if self._model.uses[each][self._next_use[each]] == value:
                self._next_use[each] += 1
        for each in (*reads, value):
            self._settle(each)

    def fetch(self, values: Sequence[int], now: int) -> None:
        """Pin values that are read now, after computing again those that are not there."""
        self._now = now
        for each in values:
            self._pins[each] += 1
        missing = [each for each in values if not self._is_there[each]]
        if missing:
            self._recompute(missing)

    def _recompute(self, missing: Iterable[int]) -> None:
        """Compute values again, with everything on the way to them, in the order of numbers."""
        model = self._model
        needed, stack = set(missing), list(missing)
        while stack:
            for each in model.reads[stack.pop()]:
                if not self._is_there[each] and each not in needed:
                    needed.add(each)
                    stack.append(each)
        order = sorted(needed)
        readers = Counter(each for value in order for each in model.reads[value])
        for each, count in readers.items():
            self._pins[each] += count
        self._occasion += 1
        for value in order:
            self._compute(value, self._occasion)
            self.cost += model.costs[value]
            for each in model.reads[value]:
                self._pins[each] -= 1
                self._settle(each)

    def _compute(self, value: int, occasion: int) -> None:
        size = self._model.nbytes[value]
        while self._used + size > self._budget and self._forget_one():
            pass
        self.steps.append((value, occasion))
        self._used += size
        self.peak = max(self.peak, self._used)
        self._is_there[value] = True
        self._forgotten.remove(value)

    def _settle(self, value: int) -> None:
        """A value was made or read: drop it, if it was for the last time, or offer it."""
        if self._pins[value] or not self._is_there[value] or not self._model.is_repeatable[value]:
            return
        if self._is_read_later(value) or self._forgotten.is_needed(value):
            self._offer(value)
        else:
            self._drop(value)

    def _is_read_later(self, value: int) -> bool:
        return self._next_use[value] < len(self._model.uses[value])

    def _drop(self, value: int) -> None:
        self._is_there[value] = False
        self._version[value] += 1
        self._used -= self._model.nbytes[value]

    def _offer(self, value: int) -> None:
        """Put a value among those that may be forgotten."""
        if self._model.nbytes[value]:
            self._version[value] += 1
            heappush(self._heap, (self._score(value), value, self._version[value]))

    def _score(self, value: int) -> float:
        """Cost of forgetting a value, per byte and time; it only grows as time passes."""
        model, now = self._model, self._now
        later = self._is_read_later(value)
        next_use = model.uses[value][self._next_use[value]] if later else len(model.nodes)
        distance = next_use - now + 1
        return self._forgotten.cost_of(value) / (model.nbytes[value] * distance)

    def _forget_one(self) -> bool:
        """Forget the value that is cheapest to do without; False if there is none."""
        heap = self._heap
        while heap:
            known, value, version = heappop(heap)
            # What is pinned now is offered again when it is not.
            if version != self._version[value] or self._pins[value]:
                continue
            score = self._score(value)
            if heap and score > known and score > heap[0][0]:
                heappush(heap, (score, value, version))
                continue
            self._drop(value)
            self._forgotten.add(value)
            return True
        return False


class _Neighbourhoods:
    """Connected sets of forgotten values that will be needed, with their costs.

    A value that is not there and in no set is one that nothing needs at present. It joins a set
    when something is forgotten that is computed from it.
    """

    def __init__(self, model: Model, is_there: bytearray) -> None:
        self._model = model
        self._is_there = is_there
        self._set_of: dict[int, int] = {}
        self._parents: list[int] = []
        self._costs: list[int] = []
        self._beside: dict[int, set[int]] = {}  # sets that are computed from a value

    def cost_of(self, value: int) -> int:
        """What forgetting a value may cost: itself and the sets that it would join."""
        between, sets, _ = self._above(value, FARTHEST_WALK)
        sets |= self._sets_beside(value)
        costs = self._model.costs
        return (
            costs[value]
            + sum(costs[each] for each in between)
            + sum(self._costs[each] for each in sets)
        )

    def is_needed(self, value: int) -> bool:
        """Whether something forgotten is computed from a value."""
        return bool(self._sets_beside(value))

    def add(self, value: int) -> None:
        """A value that will be needed is forgotten."""
        between, sets, kept = self._above(value, None)
        sets |= self._sets_beside(value)
        self._beside.pop(value, None)
        costs = self._model.costs
        joined = len(self._parents)
        self._parents.append(joined)
        self._costs.append(costs[value] + sum(costs[each] for each in between))
        for each in sets:
            self._parents[each] = joined
            self._costs[joined] += self._costs[each]
        for each in (value, *between):
            self._set_of[each] = joined
        for each in kept:
            self._beside.setdefault(each, set()).add(joined)

    def remove(self, value: int) -> None:
        """A value is there again."""
        number = self._set_of.pop(value, None)
        if number is not None:
            self._costs[self._find(number)] -= self._model.costs[value]

    def _above(self, value: int, most: int | None) -> tuple[set[int], set[int], set[int]]:
        """What stands between a value and those that are there: loose values, sets, the latter."""
        between: set[int] = set()
        sets: set[int] = set()
        kept: set[int] = set()
        stack = [value]
        reads, is_there, set_of = self._model.reads, self._is_there, self._set_of
        while stack:
            for each in reads[stack.pop()]:
                if is_there[each]:
                    kept.add(each)
                elif each in set_of:
                    sets.add(self._find(set_of[each]))
                elif each not in between and (most is None or len(between) < most):
                    between.add(each)
                    stack.append(each)
        return between, sets, kept

    def _sets_beside(self, value: int) -> set[int]:
        """The sets that are computed from a value; those used up are cleared away."""
        known = self._beside.get(value)
        if not known:
            return set()
        found = {self._find(each) for each in known}
        found = {each for each in found if self._costs[each] > 0}
        self._beside[value] = set(found)
        return found

    def _find(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number
