"""What a general operator is lowered to: pieces of native work, and how a kernel is sketched.

A lowering gives pieces that run one after the other. Most are plain `Kernel`s over views of the
operands; `Sketch` builds one from views instead of numbered operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any, Final, Protocol, TypeAlias

from graphnn.compiler.kernel import (
    Apply,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Pick,
    Reduce,
    Value,
)
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.target import Target
from graphnn.compiler.unit import View
from graphnn.core.dtypes import is_complex
from graphnn.core.node import Node

__all__ = [
    "STATUS",
    "DeviceWork",
    "Generated",
    "Lowering",
    "Memory",
    "Piece",
    "Sketch",
    "Status",
    "box",
    "copied",
    "filled",
    "frame",
    "is_dense",
    "is_native_dtype",
    "number_text",
]


class Status(Enum):
    """Stands among a piece's operands for the status word: one int64, 0 before the program runs.

    A piece writes 1 into it when it meets what the operator refuses (an index out of range).
    Whoever runs the pieces then calls the operator's own kernel, which raises the error in words.
    """

    WORD = "status"


STATUS: Final = Status.WORD

Memory: TypeAlias = View | Status


class Generated(Protocol):
    """Work that a `Kernel` cannot say: frozen, hashable data with a code generator of its own."""

    @property
    def scratch_nbytes(self) -> int:
        """Bytes of scratch memory that its code is given."""
        ...

    def generate(self, target: Target, name: str) -> Code:
        """Code whose functions' names begin with ``name``."""
        ...


class DeviceWork:
    """Work that has code for GPUs alone: frozen, hashable data; its threads need no scratch."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an operator's work.

    Attributes
    ----------
    kernel : Kernel, Generated or DeviceWork
    operands : tuple of View or STATUS
        What it reads, then what it writes, as the kernel numbers them.
    """

    kernel: Kernel | Generated | DeviceWork
    operands: tuple[Memory, ...]


Views: TypeAlias = tuple[View, ...]
Lowering: TypeAlias = Callable[[Node, Views, Views], list[Piece] | None]
"""The pieces of a node's work, or None where it stays on the host."""


class Sketch:
    """A kernel in the making; values are known by number.

    Parameters
    ----------
    sizes : sequence of int
        The domain.
    reduced : sequence of int
        Axes that every reduction runs over.
    """

    def __init__(self, sizes: Sequence[int], reduced: Sequence[int] = ()) -> None:
        self.sizes, self.reduced = tuple(sizes), tuple(reduced)
        self._values: dict[Value, int] = {}
        self._read: dict[tuple[View, tuple[int, ...]], int] = {}
        self._written: list[tuple[View, tuple[int, ...], int]] = []

    def _value(self, value: Value) -> int:
        return self._values.setdefault(value, len(self._values))

    def _operand(self, view: View, strides: Sequence[int] | None) -> int:
        moves = view.strides if strides is None else tuple(strides)
        moves = (*moves, *(0,) * (len(self.sizes) - len(moves)))
        return self._read.setdefault((view, moves), len(self._read))

    def load(self, view: View, strides: Sequence[int] | None = None) -> int:
        """An element; by default the view's axes are the first of the domain."""
        return self._value(Load(self._operand(view, strides)))

    def pick(self, view: View, strides: Sequence[int], terms: Sequence[tuple[int, int]]) -> int:
        """An element at a computed place: ``terms`` are indices and the bytes of their steps."""
        return self._value(Pick(self._operand(view, strides), tuple(terms)))

    def index(self, axis: int) -> int:
        """The position along an axis."""
        return self._value(Index(axis))

    def literal(self, dtype: str, value: float) -> int:
        """A number."""
        return self._value(Literal(dtype, number_text(dtype, value)))

    def integer(self, value: int) -> int:
        """An int64."""
        return self.literal("int64", value)

    def apply(self, op: str, dtype: str, *args: int) -> int:
        """A primitive of earlier values."""
        return self._value(Apply(op, dtype, args))

    def cast(self, value: int, before: str, after: str) -> int:
        """Another dtype, if it is another."""
        return value if before == after else self.apply("cast", after, value)

    def affine(self, axis: int, step: int, start: int) -> int:
        """``step * index + start``, in int64."""
        place = self.index(axis)
        if step != 1:
            place = self.apply("multiply", "int64", place, self.integer(step))
        return self.apply("add", "int64", place, self.integer(start)) if start else place

    def clamped(self, value: int, low: int, high: int) -> int:
        """An int64 brought into ``low .. high``."""
        above = self.apply("maximum", "int64", value, self.integer(low))
        return self.apply("minimum", "int64", above, self.integer(high))

    def divided(self, value: int, by: int) -> int:
        """The floor of an int64 by a positive number."""
        if by & (by - 1) == 0:
            return self.apply("right_shift", "int64", value, self.integer(by.bit_length() - 1))
        return self.apply("floor_divide", "int64", value, self.integer(by))

    def rest(self, value: int, by: int) -> int:
        """What is left of an int64 by a positive number: from 0 to that."""
        if by & (by - 1) == 0:
            return self.apply("bitwise_and", "int64", value, self.integer(by - 1))
        return self.apply("mod", "int64", value, self.integer(by))

    def both(self, *conditions: int) -> int:
        """Whether all hold."""
        first, *others = conditions
        for each in others:
            first = self.apply("logical_and", "bool", first, each)
        return first

    def reduce(self, op: str, value: int) -> int:
        """A value reduced over the reduced axes."""
        return self._value(Reduce(op, value))

    def store(self, view: View, value: int, strides: Sequence[int] | None = None) -> None:
        """Write a value; by default the view's axes are the first of the domain."""
        moves = view.strides if strides is None else tuple(strides)
        moves = (*moves, *(0,) * (len(self.sizes) - len(moves)))
        self._written.append((view, moves, value))

    def piece(self) -> Piece:
        """The kernel, its axes as few as can be, on its operands."""
        views = [view for view, _ in self._read] + [view for view, _, _ in self._written]
        moves = [moves for _, moves in self._read] + [moves for _, moves, _ in self._written]
        n_read = len(self._read)
        kernel = Kernel(
            self.sizes,
            self.reduced,
            tuple(
                Operand(view.dtype.name, strides)
                for view, strides in zip(views, moves, strict=True)
            ),
            tuple(self._values),
            tuple((n_read + at, value) for at, (_, _, value) in enumerate(self._written)),
        )
        return Piece(_merged(kernel), tuple(views))


def _merged(kernel: Kernel) -> Kernel:
    """The same kernel without axes of size 1, and with neighbours made one where memory allows.

    An axis whose index is used stays as it is; one of size 1 has the index 0.
    """
    counted = {each.axis for each in kernel.values if isinstance(each, Index)}
    groups: list[list[int]] = []
    for axis, size in enumerate(kernel.sizes):
        if size == 1 and axis not in counted:
            continue
        if groups and _joins(kernel, groups[-1][-1], axis, counted):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    number = {axis: at for at, group in enumerate(groups) for axis in group}
    return replace(
        kernel,
        sizes=tuple(prod(kernel.sizes[axis] for axis in group) for group in groups),
        reduced=tuple(
            at for at, group in enumerate(groups) if not set(group).isdisjoint(kernel.reduced)
        ),
        operands=tuple(
            replace(each, strides=tuple(each.strides[group[-1]] for group in groups))
            for each in kernel.operands
        ),
        values=tuple(
            Index(number[each.axis]) if isinstance(each, Index) else each for each in kernel.values
        ),
    )


def _joins(kernel: Kernel, before: int, axis: int, counted: set[int]) -> bool:
    """Whether a step along one axis is as many steps along the next as that has elements."""
    if before in counted or axis in counted:
        return False
    if (before in kernel.reduced) != (axis in kernel.reduced):
        return False
    size = kernel.sizes[axis]
    return all(each.strides[before] == size * each.strides[axis] for each in kernel.operands)


def number_text(dtype: str, value: float) -> str:
    """A number as `Literal` writes it."""
    if dtype.startswith(("float", "bfloat")):
        return float(value).hex()
    return str(int(value))


# ------------------------------------------------------------------------------- parts of views


def box(view: View, start: Sequence[int], sizes: Sequence[int], steps: Any = None) -> View:
    """Part of a view: along every axis so many elements from a start, every so many."""
    every = (1,) * len(start) if steps is None else steps
    return replace(
        view,
        offset=view.offset + sum(a * b for a, b in zip(start, view.strides, strict=True)),
        shape=tuple(sizes),
        strides=tuple(a * b for a, b in zip(every, view.strides, strict=True)),
    )


def frame(
    shape: Sequence[int], start: Sequence[int], stop: Sequence[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes (start, sizes) that cover all of a shape but ``start .. stop``, each point once."""
    boxes = []
    low, high = [0] * len(shape), list(shape)
    for axis, (first, last) in enumerate(zip(start, stop, strict=True)):
        for begin, end in ((low[axis], first), (last, high[axis])):
            if begin < end:
                corner = (*low[:axis], begin, *low[axis + 1 :])
                beyond = (*high[:axis], end, *high[axis + 1 :])
                sizes = tuple(b - a for a, b in zip(corner, beyond, strict=True))
                if all(size > 0 for size in sizes):
                    boxes.append((corner, sizes))
        low[axis], high[axis] = first, last
    return boxes


def copied(source: View, target: View) -> list[Piece]:
    """One view's elements into another of its shape; nothing where they are the same memory."""
    if source == target or 0 in target.shape:
        return []
    sketch = Sketch(target.shape)
    sketch.store(target, sketch.load(source))
    return [sketch.piece()]


def filled(target: View, value: float | View) -> list[Piece]:
    """A number, or what a 0-d view holds, everywhere."""
    if 0 in target.shape:
        return []
    sketch = Sketch(target.shape)
    dtype = target.dtype.name
    sketch.store(
        target, sketch.load(value) if isinstance(value, View) else sketch.literal(dtype, value)
    )
    return [sketch.piece()]


def is_dense(view: View) -> bool:
    """Whether its elements lie one after the other in row-major order."""
    stride = view.dtype.itemsize
    for size, have in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size != 1 and have != stride:
            return False
        stride *= size
    return True


def is_native_dtype(*views: View) -> bool:
    """Whether there is native code for all of their dtypes: complex numbers have none."""
    return not any(is_complex(view.dtype) for view in views)
