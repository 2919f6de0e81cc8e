"""How a kernel's loops are arranged: what is a vector, what a chunk, which values are where.

A kernel has independent axes and reduced ones. One axis, along which most operands lie
contiguously, is the *vector axis*; the other independent axes are *rows*.

- The vector axis is independent: a piece of work is a row and a block of columns. Every lane has
  sums of its own (the sum over the rows of a matrix; a plain elementwise kernel has no sums).
- The vector axis is reduced: a piece of work is a row, lanes are added up at its end (softmax,
  layer norm).

A value that uses a sum along the reduced axes needs another *sweep* over them. Values that are
needed in several sweeps are computed again, for most are cheap; those that are not are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from graphnn.compiler.kernel import EXPENSIVE, Apply, Reduce
from graphnn.compiler.native.target import Target
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype, is_inexact

__all__ = ["LoopPlan"]

COLUMNS_PER_CHUNK = 4096
"""Elements of a long elementwise row that one chunk works on: some microseconds."""

STEPS_PER_SUM = 256
"""Additions in a row before a float32 sum goes on to float64: keeps rounding errors small."""

ISSUED_PER_CYCLE = 1.5
"""Instructions that a core begins in a cycle where few of them wait."""

WINDOW = 200
"""Instructions among which a core finds those that need not wait."""

MOST_ISSUED = 1600
"""Instructions of an unrolled loop: more take too long to compile, a second for 3000."""

KEPT_BYTES = 1 << 15
"""Most bytes of a row that are kept between sweeps."""


@dataclass(frozen=True)
class LoopPlan(Sweeps):
    """The arrangement of one kernel for one processor."""

    target: Target

    # -------------------------------------------------------------------------- the loops

    @property
    def length(self) -> int:
        """Size of the vector axis."""
        return self.kernel.sizes[self.vector_axis] if self.kernel.sizes else 1

    @cached_property
    def lanes(self) -> int:
        """Lanes of a vector: what fits a register, no more than there are elements."""
        used = [as_dtype(each) for each in self.dtypes] or [
            as_dtype(self.kernel.operands[each].dtype) for each, _ in self.kernel.stores
        ]
        floats = [max(4, each.itemsize) for each in used if is_inexact(each)]
        itemsize = max(floats or [each.itemsize for each in used])
        lanes = self.target.lanes(max(itemsize, 4))
        while lanes > 1 and lanes // 2 >= self.length:
            lanes //= 2
        return lanes

    @cached_property
    def unroll(self) -> int:
        """Vectors that are worked on together, so that one goes on while another one waits."""
        applied = [each for each in self.kernel.values if isinstance(each, Apply)]
        is_heavy = any(each.op in EXPENSIVE for each in applied)
        unroll = 1 if is_heavy or len(applied) > 20 else 4 if len(applied) <= 8 else 2
        issued, latency = self._issued_and_latency()
        # What waits for nothing but its turn is overlapped by the processor, within its window.
        while unroll < 4 and unroll * max(issued, WINDOW) < ISSUED_PER_CYCLE * latency:
            unroll *= 2
        while unroll > 1 and (
            unroll * issued > MOST_ISSUED or self.length < 2 * unroll * self.lanes
        ):
            unroll //= 2
        return unroll

    def _issued_and_latency(self) -> tuple[int, int]:
        """About how many machine instructions a vector takes, and cycles if each waits for all."""
        issued, ready = 0, [0] * len(self.kernel.values)
        for number, value in enumerate(self.kernel.values):
            if isinstance(value, Apply):
                count, cycles = (40, 90) if value.op in EXPENSIVE else (1, 4)
                issued += count
                ready[number] = cycles + max((ready[each] for each in value.args), default=0)
        return issued, max(ready, default=0)

    @property
    def step(self) -> int:
        """Elements of the vector axis that the main loop works on at a time."""
        return self.lanes * self.unroll

    @cached_property
    def block(self) -> int:
        """Columns of a chunk, a multiple of the step."""
        if self.kernel.reduced:
            return self.step
        return max(self.step, COLUMNS_PER_CHUNK // self.step * self.step)

    @property
    def n_rows(self) -> int:
        """Combinations of the row axes."""
        return prod(self.kernel.sizes[axis] for axis in self.row_axes)

    @property
    def n_blocks(self) -> int:
        """Chunks that a row is divided into."""
        return max(1, -(-self.length // self.block)) if self.is_column else 1

    @property
    def n_chunks(self) -> int:
        """Independent pieces of work."""
        return self.n_rows * self.n_blocks

    @cached_property
    def sweep_trips(self) -> tuple[int, ...]:
        """Turns of the loops of a sweep, outermost first: of whole steps, for the vector axis."""
        trips = [self.kernel.sizes[axis] for axis in self.swept_axes]
        return tuple(trips if self.is_column else [*trips, self.length // self.step])

    @cached_property
    def flushes_after(self) -> int | None:
        """After which loop's turns a float sum goes on to float64, so that it stays accurate.

        Number of the loop in `sweep_trips`; the number of loops if the innermost one is so long
        that it is divided; None if there are few terms.
        """
        trips = self.sweep_trips
        if prod(trips) <= STEPS_PER_SUM:
            return None
        if trips[-1] > STEPS_PER_SUM:
            return len(trips)
        depth = len(trips)
        while prod(trips[depth - 1 :]) <= STEPS_PER_SUM:
            depth -= 1
        return depth - 1

    # --------------------------------------------------------------------- between sweeps

    @cached_property
    def row_elements(self) -> int:
        """Elements that a sweep sees for one piece of work."""
        others = prod(self.kernel.sizes[axis] for axis in self.swept_axes)
        return others * (self.step if self.is_column else self.length)

    @cached_property
    def kept(self) -> frozenset[int]:
        """Swept values that cost much and are needed in several sweeps: kept, if they fit."""
        if not self.sums:
            return frozenset()
        uses: dict[int, int] = {}
        for roots in self.roots_by_sweep:
            for each in self.needed(roots, self._sums_known):
                if self.is_swept(each):
                    uses[each] = uses.get(each, 0) + 1
        several = [
            number
            for number, count in uses.items()
            if count > 1
            and isinstance(value := self.kernel.values[number], Apply)
            and value.op in EXPENSIVE
        ]
        size = sum(max(1, as_dtype(self.dtypes[each]).itemsize) for each in several)
        return frozenset(several) if size * self.row_elements <= KEPT_BYTES else frozenset()

    @cached_property
    def _sums_known(self) -> frozenset[int]:
        return frozenset(i for i, each in enumerate(self.kernel.values) if isinstance(each, Reduce))
