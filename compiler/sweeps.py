"""What a kernel's values need: dtypes, the axes they vary along, the sweeps they are known in.

A kernel has independent axes and reduced ones. A value that uses a reduction needs another *sweep*
over the reduced axes. Code generators share this analysis, whatever they make of the loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Pick, Product, Reduce
from graphnn.core.dtypes import as_dtype

__all__ = ["Sweeps"]


@dataclass(frozen=True)
class Sweeps:
    """The analysis of one kernel."""

    kernel: Kernel

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

    # ---------------------------------------------------------------------------- the axes

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
