"""A contraction seen as products of matrices: which axes are rows, columns, sums and batches.

The names follow ``C[rows, columns] = sum of A[rows, summed] * B[summed, columns]``: the left
operand moves along rows, the right one along columns, both along batches. Axes that lie behind
each other in all operands are merged into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from graphnn.compiler.kernel import Contraction, Index, Kernel

__all__ = ["ONE", "Axis", "Matrices", "recognise"]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis, or several that are walked as one.

    Attributes
    ----------
    size : int
    left, right : int
        Bytes from one element of the operand to the next.
    epilogue : tuple of int
        The same for every operand of the epilogue; empty for a summed axis.
    number : int
        Which axis of the epilogue's domain it is, if the epilogue asks for positions along it;
        else -1.
    left_inputs, right_inputs : tuple of int
        Bytes along every operand that a factor is computed from.
    """

    size: int
    left: int
    right: int
    epilogue: tuple[int, ...] = ()
    number: int = -1
    left_inputs: tuple[int, ...] = ()
    right_inputs: tuple[int, ...] = ()

    def swapped(self) -> Axis:
        """The same with the operands exchanged."""
        return replace(
            self,
            left=self.right,
            right=self.left,
            left_inputs=self.right_inputs,
            right_inputs=self.left_inputs,
        )


ONE = Axis(1, 0, 0)
"""Stands for rows or columns that are not there."""


@dataclass(frozen=True, slots=True)
class Matrices:
    """A contraction without bounds, its axes sorted by what they are.

    Attributes
    ----------
    dtype : str
        Of the product.
    left, right : str
        Dtypes that the operands are stored in.
    batch, rows, columns, summed : tuple of Axis
        Axes of size 1 are left out.
    epilogue : Kernel
    is_swapped : bool
        Whether ``left`` is the contraction's right operand.
    is_left_given, is_right_given : bool
        Whether another kernel has packed it.
    left_prologue, right_prologue : Kernel or None
        What it is computed by while it is packed.
    """

    dtype: str
    left: str
    right: str
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    epilogue: Kernel
    is_swapped: bool = False
    is_left_given: bool = False
    is_right_given: bool = False
    left_prologue: Kernel | None = None
    right_prologue: Kernel | None = None

    def swapped(self) -> Matrices:
        """The transposed product: rows become columns. Products are the same, bit for bit."""
        return replace(
            self,
            left=self.right,
            right=self.left,
            batch=tuple(axis.swapped() for axis in self.batch),
            rows=tuple(axis.swapped() for axis in self.columns),
            columns=tuple(axis.swapped() for axis in self.rows),
            summed=tuple(axis.swapped() for axis in self.summed),
            is_swapped=not self.is_swapped,
            is_left_given=self.is_right_given,
            is_right_given=self.is_left_given,
            left_prologue=self.right_prologue,
            right_prologue=self.left_prologue,
        )

    @property
    def arguments(self) -> tuple[int, int, int]:
        """Where the left, the right and the epilogue's operands begin among the arguments."""
        counts = [
            len(prologue.operands) - 1 if prologue else 1
            for prologue in (self.left_prologue, self.right_prologue)
        ]
        starts = (counts[1], 0) if self.is_swapped else (0, counts[0])
        return (*starts, sum(counts))

    @property
    def n_summed(self) -> int:
        """How many products make one sum."""
        return prod(axis.size for axis in self.summed)


def recognise(contraction: Contraction) -> Matrices:
    """Sort the axes of a contraction by their strides, and merge what can be."""
    assert not contraction.bounds, "a convolution is not a product of matrices"
    asked = {each.axis for each in contraction.epilogue.values if isinstance(each, Index)}
    batch: list[Axis] = []
    rows: list[Axis] = []
    columns: list[Axis] = []
    summed: list[Axis] = []
    number = 0
    for place, size in enumerate(contraction.sizes):
        left, right = contraction.left.strides[place], contraction.right.strides[place]
        inputs = [tuple(each.strides[place] for each in contraction.factor(n)) for n in (0, 1)]
        if place in contraction.summed:
            if size > 1:
                summed.append(Axis(size, left, right, (), -1, *inputs))
            continue
        if size > 1:
            strides = tuple(each.strides[number] for each in contraction.epilogue.operands)
            axis = Axis(size, left, right, strides, number if number in asked else -1, *inputs)
            role = columns if right and not left else rows if left and not right else batch
            role.append(axis)
        number += 1
    # The longest steps outermost, so that the innermost loop walks memory in order.
    summed.sort(key=lambda axis: -abs(axis.left) - abs(axis.right))
    return Matrices(
        contraction.dtype,
        contraction.left.dtype,
        contraction.right.dtype,
        _merged(batch),
        _merged(rows),
        _merged(columns),
        _merged(summed) or (ONE,),
        contraction.epilogue,
        is_left_given=contraction.packed[0],
        is_right_given=contraction.packed[1],
        left_prologue=contraction.prologues[0],
        right_prologue=contraction.prologues[1],
    )


def _merged(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """Axes that are one axis for all operands become one."""
    left = list(axes)
    found = True
    while found:
        found = False
        for outer in left:
            for inner in left:
                if outer is not inner and _is_behind(outer, inner):
                    left[left.index(outer)] = replace(inner, size=outer.size * inner.size)
                    left.remove(inner)
                    found = True
                    break
            if found:
                break
    return tuple(left)


def _is_behind(outer: Axis, inner: Axis) -> bool:
    """Whether a step along the one is as long as a whole walk along the other."""
    if outer.number >= 0 or inner.number >= 0:
        return False
    steps = zip(_strides(outer), _strides(inner), strict=True)
    return all(long == short * inner.size for long, short in steps)


def _strides(axis: Axis) -> tuple[int, ...]:
    return (axis.left, axis.right, *axis.epilogue, *axis.left_inputs, *axis.right_inputs)
