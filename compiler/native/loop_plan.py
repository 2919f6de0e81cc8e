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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from graphnn.compiler.kernel import (
    EXPENSIVE,
    Apply,
    Index,
    Kernel,
    Literal,
    Load,
    Pick,
    Product,
    Reduce,
)
from graphnn.compiler.native.target import Target
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
class LoopPlan:
    """The arrangement of one kernel for one processor."""

    kernel: Kernel
    target: Target

    # ------------------------------------------------------------------------- the values

    @cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of every value."""
        found: list[str] = []
        for value in self.kernel.values:
            match value:
                case Load() | Pick():
                    found.append(self.kernel.operands[value.operand].dtype)
                case Index():
                    found.append("int64")
                case Reduce():
                    found.append(found[value.arg])
                case Literal() | Apply() | Product():
                    found.append(value.dtype)
        return tuple(found)

    @cached_property
    def varies(self) -> tuple[frozenset[int], ...]:
        """The axes along which every value differs."""
        found: list[frozenset[int]] = []
        reduced = frozenset(self.kernel.reduced)
        for value in self.kernel.values:
            match value:
                case Load():
                    found.append(self.axes_of(value.operand))
                case Pick():
                    terms = (found[each] for each, _ in value.terms)
                    found.append(self.axes_of(value.operand).union(*terms))
                case Index():
                    found.append(frozenset({value.axis}))
                case Apply():
                    found.append(frozenset().union(*(found[each] for each in value.args)))
                case Reduce():
                    found.append(found[value.arg] - reduced)
                case _:
                    found.append(frozenset())
        return tuple(found)

    def axes_of(self, operand: int) -> frozenset[int]:
        """The axes along which an operand moves."""
        strides = self.kernel.operands[operand].strides
        return frozenset(axis for axis, stride in enumerate(strides) if stride)

    @cached_property
    def sweep(self) -> tuple[int, ...]:
        """The first sweep in which a value is known; that of a `Reduce` is the one after it."""
        found: list[int] = []
        for value in self.kernel.values:
            match value:
                case Apply():
                    found.append(max((found[each] for each in value.args), default=0))
                case Pick():
                    found.append(max((found[each] for each, _ in value.terms), default=0))
                case Reduce():
                    found.append(found[value.arg] + 1)
                case _:
                    found.append(0)
        return tuple(found)

    def is_swept(self, value: int) -> bool:
        """Whether it differs along a reduced axis, so that it is computed within the sweeps."""
        return not self.varies[value].isdisjoint(self.kernel.reduced)

    @cached_property
    def sums(self) -> tuple[tuple[int, ...], ...]:
        """The `Reduce` values that each sweep makes."""
        reduces = [i for i, each in enumerate(self.kernel.values) if isinstance(each, Reduce)]
        last = max((self.sweep[i] for i in reduces), default=0)
        return tuple(
            tuple(i for i in reduces if self.sweep[i] == sweep + 1) for sweep in range(last)
        )

    @cached_property
    def swept_stores(self) -> tuple[tuple[int, int], ...]:
        """Stores at every point of the sweeps; they are made in one more, after all sums.

        (In place, an input may be what is written: it is read for the last time there.)
        """
        return tuple(each for each in self.kernel.stores if self._moves_along_reduced(each))

    @cached_property
    def row_stores(self) -> tuple[tuple[int, int], ...]:
        """Stores of what is the same along the reduced axes."""
        return tuple(each for each in self.kernel.stores if not self._moves_along_reduced(each))

    def _moves_along_reduced(self, store: tuple[int, int]) -> bool:
        return not self.axes_of(store[0]).isdisjoint(self.kernel.reduced)

    @cached_property
    def last_stores_sweep(self) -> int:
        """The sweep in which elements are stored: the last that makes sums needs no other."""
        needed = [self.sweep[value] for _, value in self.swept_stores]
        return max([len(self.sums) - 1, *needed])

    def needed(self, roots: Sequence[int], known: frozenset[int]) -> list[int]:
        """The values to compute for some others, in order, where some are known."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            number = waiting.pop()
            if number in found or number in known:
                continue
            found.add(number)
            match self.kernel.values[number]:
                case Apply() as value:
                    waiting += value.args
                case Pick() as value:
                    waiting += [each for each, _ in value.terms]
                case _:
                    pass
        return sorted(found)

    # -------------------------------------------------------------------------- the loops

    @cached_property
    def vector_axis(self) -> int:
        """The axis that lanes lie along: where most operands are contiguous; the last of equals.

        -1 without axes. What is written counts twice.
        """
        kernel = self.kernel
        stored = [operand for operand, _ in kernel.stores]

        def contiguous(axis: int, operand: int) -> int:
            stride = kernel.operands[operand].strides[axis]
            return 0 if stride == 0 else 1 if stride == self.itemsize(operand) else -1

        def rank(axis: int) -> tuple[bool, int, int]:
            seen = (*range(len(kernel.operands)), *stored)
            return kernel.sizes[axis] > 1, sum(contiguous(axis, each) for each in seen), axis

        return max(range(len(kernel.sizes)), key=rank, default=-1)

    def itemsize(self, operand: int) -> int:
        """Bytes of an element of an operand."""
        return as_dtype(self.kernel.operands[operand].dtype).itemsize

    @property
    def is_column(self) -> bool:
        """Whether lanes are independent of each other."""
        return self.vector_axis not in self.kernel.reduced

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
    def row_axes(self) -> tuple[int, ...]:
        """Independent axes other than the vector axis, outermost first."""
        others = (*self.kernel.reduced, self.vector_axis)
        return tuple(axis for axis in range(len(self.kernel.sizes)) if axis not in others)

    @cached_property
    def swept_axes(self) -> tuple[int, ...]:
        """Reduced axes other than the vector axis, outermost first."""
        return tuple(axis for axis in sorted(self.kernel.reduced) if axis != self.vector_axis)

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

    @cached_property
    def roots_by_sweep(self) -> tuple[tuple[int, ...], ...]:
        """What each sweep is made for: the arguments of its sums, and what is stored in it."""
        n_sweeps = self.last_stores_sweep + 1 if self.swept_stores else len(self.sums)
        result = []
        for sweep in range(n_sweeps):
            roots: list[int] = []
            for each in self.sums[sweep] if sweep < len(self.sums) else ():
                value = self.kernel.values[each]
                assert isinstance(value, Reduce)
                roots.append(value.arg)
            if self.swept_stores and sweep == self.last_stores_sweep:
                roots += [value for _, value in self.swept_stores]
            result.append(tuple(roots))
        return tuple(result)
