"""Where the operands of a planned convolution lie: as they are, or in copies made for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.convolution.cost import item_bytes
from graphnn.compiler.native.convolution.plan import Plan
from graphnn.compiler.native.convolution.windows import reach

__all__ = ["Access", "Copy", "CopyAxis", "Layout", "layout"]


@dataclass(frozen=True, slots=True)
class CopyAxis:
    """One axis of a copy.

    Attributes
    ----------
    size : int
        Positions in the copy.
    first, count : int
        Those that hold elements; zeros are before and behind.
    stride : int
        Bytes from one element to the next in the source.
    """

    size: int
    first: int
    count: int
    stride: int


@dataclass(frozen=True, slots=True)
class Copy:
    """An operand in another order, with zeros around it; outermost axis first.

    Attributes
    ----------
    argument : int
        The source among the arguments.
    source : int
        Bytes to the first element that is copied.
    target : int
        Bytes from the scratch memory to the copy.
    dtype : str
        Of the source; the copy is as in registers.
    item : int
        Bytes of an element of the copy.
    axes : tuple of CopyAxis
    lanes : int
        If not 0, the last axis is that part of the first one that a block of so many has: the
        first one has ``axes[0].size`` blocks, and ``length`` elements in all.
    length : int
    """

    argument: int
    source: int
    target: int
    dtype: str
    item: int
    axes: tuple[CopyAxis, ...]
    lanes: int = 0
    length: int = 0

    @property
    def nbytes(self) -> int:
        """Size of the copy."""
        return prod(axis.size for axis in self.axes) * self.item


@dataclass(frozen=True, slots=True)
class Access:
    """An address as a function of the positions along all axes.

    Attributes
    ----------
    argument, offset : int
        The argument and the bytes behind it.
    dtype : str
    strides : tuple of int
        Bytes by axis of the contraction; along the vector axis, of one register block.
    steps : tuple of int
        Bytes from one element to the next for every bound that is not linear.
    """

    argument: int
    offset: int
    dtype: str
    strides: tuple[int, ...]
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Both operands, and the copies that are made first."""

    left: Access
    right: Access
    copies: tuple[Copy, ...]
    scratch_nbytes: int


@dataclass(slots=True)
class _Memory:
    """An axis of an operand in memory, and which axes of the contraction move along it how fast."""

    size: int
    first: int
    count: int
    stride: int
    by: dict[int, int]
    bound: int = -1
    lead: int = 0  # position at which the first place and tap are


def layout(contraction: Contraction, plan: Plan) -> Layout:
    """Find the addresses of both operands."""
    copies: list[Copy] = []
    used = 0
    scratch = 2 + len(contraction.epilogue.operands)
    accesses = []
    for number in range(2):
        axes, source = _left(contraction, plan) if number == 0 else (_right(contraction), 0)
        operand = contraction.right if number else contraction.left
        if plan.packs[number]:
            copy, access = _copied(contraction, plan, number, axes, source, used, scratch)
            copies.append(copy)
            used += -(-copy.nbytes // 64) * 64
        else:
            access = _plain(contraction, plan, number, axes, operand.dtype)
        accesses.append(access)
    return Layout(accesses[0], accesses[1], tuple(copies), used)


def _left(contraction: Contraction, plan: Plan) -> tuple[list[_Memory], int]:
    """Axes of the left operand in memory, and bytes to the first element that is used."""
    axes = [
        _Memory(size, 0, size, stride, {axis: 1})
        for axis, (size, stride) in enumerate(
            zip(contraction.sizes, contraction.left.strides, strict=True)
        )
        if stride != 0
    ]
    source = 0
    for number, (bound, linear) in enumerate(zip(contraction.bounds, plan.linear, strict=True)):
        if not linear:
            axes.append(_Memory(bound.size, 0, bound.size, bound.step, {}, number))
            continue
        counts = [
            plan.n_steps(contraction, axis) * plan.width
            if axis == plan.vector
            else contraction.sizes[axis]
            for axis in (bound.place, bound.tap)
        ]
        first, end = reach(bound, *counts)
        start, stop = max(first, 0), min(end, bound.size)
        by = {bound.place: bound.stride, bound.tap: bound.dilation}
        count = max(0, stop - start)
        axes.append(_Memory(end - first, start - first, count, bound.step, by, number, first))
        if plan.packs[0]:
            source += start * bound.step
    return axes, source


def _right(contraction: Contraction) -> list[_Memory]:
    return [
        _Memory(size, 0, size, stride, {axis: 1})
        for axis, (size, stride) in enumerate(
            zip(contraction.sizes, contraction.right.strides, strict=True)
        )
        if stride != 0
    ]


def _plain(
    contraction: Contraction, plan: Plan, argument: int, axes: list[_Memory], dtype: str
) -> Access:
    """The operand where it is."""
    strides = [0] * len(contraction.sizes)
    steps = [0] * len(contraction.bounds)
    offset = 0
    for memory in axes:
        for axis, speed in memory.by.items():
            width = plan.width if axis == plan.vector else 1
            strides[axis] = memory.stride * speed * width
        offset += memory.lead * memory.stride
        if memory.bound >= 0:
            steps[memory.bound] = memory.stride
    return Access(argument, offset, dtype, tuple(strides), tuple(steps))


def _copied(
    contraction: Contraction,
    plan: Plan,
    argument: int,
    axes: list[_Memory],
    source: int,
    target: int,
    scratch: int,
) -> tuple[Copy, Access]:
    """The operand in a copy: in the order of memory, but the vector axis innermost."""
    operand = contraction.right if argument else contraction.left
    item = item_bytes(contraction)
    ordered = sorted(axes, key=lambda memory: -abs(memory.stride))
    vector = next((each for each in ordered if plan.vector in each.by), None)
    lanes = length = 0
    inner: list[_Memory] = []
    if vector is not None:
        ordered.remove(vector)
        if vector.bound >= 0:
            inner = [vector]
        else:
            blocks, width = plan.n_steps(contraction, plan.vector), plan.width
            lanes, length = width, vector.size
            ordered.insert(0, _Memory(blocks, 0, blocks, vector.stride * width, {plan.vector: 1}))
            inner = [replace(vector, size=width, count=min(width, vector.size), by={})]
    whole = ordered + inner
    strides = [0] * len(contraction.sizes)
    steps = [0] * len(contraction.bounds)
    offset, step = target, item
    for memory in reversed(whole):
        sign = -1 if memory.stride < 0 and memory.bound < 0 and memory.by and not (
            memory is ordered[0] and lanes
        ) else 1  # fmt: skip
        for axis, speed in memory.by.items():
            is_window = axis == plan.vector and memory.bound >= 0
            strides[axis] = sign * step * speed * (plan.width if is_window else 1)
        if sign < 0:
            offset += (memory.size - 1) * step
            source += (memory.size - 1) * memory.stride
            memory.stride = -memory.stride
        if memory.bound >= 0:
            steps[memory.bound] = step
        step *= memory.size
    copy = Copy(
        argument,
        source,
        target,
        operand.dtype,
        item,
        tuple(CopyAxis(each.size, each.first, each.count, each.stride) for each in whole),
        lanes,
        length,
    )
    dtype = "float64" if item == 8 else "float32"
    return copy, Access(scratch, offset, dtype, tuple(strides), tuple(steps))
