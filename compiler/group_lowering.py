"""From a fusion group to the kernel or contraction that computes it.

``lower`` calls this for every group, with the views of what the group reads and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphnn.compiler.domain import (
    ANCHOR_OPS,
    REDUCTION_OPS,
    Dims,
    Group,
    input_dims,
    reduces,
    result_dims,
)
from graphnn.compiler.kernel import (
    Apply,
    Contraction,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Product,
    Reduce,
    Value,
)
from graphnn.compiler.layout import Axis, Strides, arrange, strides_along
from graphnn.compiler.matching import through_views
from graphnn.compiler.summing import Sum, summing
from graphnn.compiler.unit import View
from graphnn.core.dtypes import INT64, DType, is_inexact, name_of
from graphnn.core.node import Node
from graphnn.ops.constants import CONSTANT

__all__ = ["Lowered", "copying", "lower_group"]

RAW = {1: "uint8", 2: "int16", 4: "int32", 8: "int64", 16: "int64"}
"""Copies move bits: the dtype to move elements of so many bytes in."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel and what it works on.

    Attributes
    ----------
    kernel : Kernel or Contraction
    inputs, outputs : tuple of View
        Where its operands begin, in order.
    reads : tuple of (Node, View)
        The nodes whose values are read.
    """

    kernel: Kernel | Contraction
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    reads: tuple[tuple[Node, View], ...]


def literal(value: Any, dtype: DType) -> Literal:
    """A number of Python or NumPy as a literal."""
    text = float(value).hex() if is_inexact(dtype) else str(int(value))
    return Literal(name_of(dtype), text)


def lower_group(
    group: Group,
    view_of: Callable[[Node], View],
    stored: Sequence[tuple[Node, View]],
) -> Lowered:
    """The kernel or contraction of a native group whose domain is not empty.

    Parameters
    ----------
    group : Group
    view_of : callable
        Where the value of a node outside of the group lies.
    stored : sequence of (Node, View)
        The members that are needed outside, and where they go.
    """
    return _Builder(group, view_of).build(stored)


class _Builder:
    """Values and operands made so far, over the axes of the group."""

    def __init__(self, group: Group, view_of: Callable[[Node], View]) -> None:
        self.group = group
        self.view_of = view_of
        self.values: list[Value] = []
        self.numbers: dict[object, int] = {}
        self.inputs: list[tuple[View, Strides]] = []
        self.operand_numbers: dict[object, int] = {}
        self.reads: dict[Node, View] = {}
        self.sum: Sum | None = None

    def build(self, stored: Sequence[tuple[Node, View]]) -> Lowered:
        """The whole."""
        for node in self.group.nodes:
            self.numbers[node] = self._member(node)
        outputs = []
        for node, view in stored:
            dims = result_dims(node, self.group.dims[node])
            outputs.append((view, strides_along(view, dims, self.group.sizes)))
        stores = [self.numbers[node] for node, _ in stored]
        if self.sum is None:
            kernel: Kernel | Contraction = self._kernel(outputs, stores)
            views = tuple(view for view, _ in self.inputs)
        else:
            kernel = self._contraction(self.sum, outputs, stores)
            left_right = (self.sum.left[0], self.sum.right[0])
            views = (*left_right, *(view for view, _ in self.inputs))
        return Lowered(kernel, views, tuple(view for view, _ in outputs), tuple(self.reads.items()))

    # ---------------------------------------------------------------------------- values

    def _add(self, value: Value) -> int:
        """The number of a value; equal values have one number."""
        number = self.numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def _member(self, node: Node) -> int:
        """The number of a member's value."""
        op, points = node.op, self.group.dims[node]
        if op.name in ANCHOR_OPS:
            views = [self._read(each) for each in node.inputs]
            self.sum = summing(node, points, self.group.sizes, *views)
            return self._add(Product(name_of(node.dtype)))
        if op.name == "iota":
            return self._iota(node, points)
        args = tuple(
            self._argument(each, input_dims(node, position, points))
            for position, each in enumerate(node.inputs)
        )
        if op.name in REDUCTION_OPS:
            return self._add(Reduce(op.name, args[0])) if reduces(node) else args[0]
        return self._add(Apply(op.name, name_of(node.dtype), args))

    def _read(self, node: Node) -> View:
        """The view of a node outside of the group."""
        if node not in self.reads:
            self.reads[node] = self.view_of(node)
        return self.reads[node]

    def _argument(self, node: Node, dims: Dims) -> int:
        """The number of what a member reads: another member, a number, or memory."""
        seen = through_views(node)
        if seen in self.group.dims:
            return self.numbers[seen]
        if seen.op is CONSTANT and seen.size == 1:
            return self._add(literal(seen.attrs["value"].array.reshape(-1)[0], node.dtype))
        view = self._read(node)
        strides = strides_along(view, dims, self.group.sizes)
        key = (view.buffer, view.offset, view.moves, view.dtype, tuple(sorted(strides.items())))
        if key not in self.operand_numbers:
            self.operand_numbers[key] = len(self.inputs)
            self.inputs.append((view, strides))
        return self._add(Load(self.operand_numbers[key]))

    def _iota(self, node: Node, points: Dims) -> int:
        """The position along a dim: along several axes it is a sum of products."""
        total: int | None = None
        weight = 1
        for axis in reversed(points[node.attrs["axis"]]):
            term = self._add(Index(axis))
            if weight != 1:
                term = self._integer("multiply", term, self._add(literal(weight, INT64)))
            total = term if total is None else self._integer("add", term, total)
            weight *= self.group.sizes[axis]
        number = self._add(literal(0, INT64)) if total is None else total
        if node.dtype == INT64:
            return number
        return self._add(Apply("cast", name_of(node.dtype), (number,)))

    def _integer(self, op: str, *args: int) -> int:
        return self._add(Apply(op, "int64", args))

    # --------------------------------------------------------------------------- kernels

    def _kernel(self, outputs: Sequence[tuple[View, Strides]], stores: Sequence[int]) -> Kernel:
        """The loop nest over all axes, in the order in which memory is walked."""
        operands = [*self.inputs, *outputs]
        axes = arrange(
            self.group.sizes,
            _ranked(operands),
            self._kinds(),
        )
        place = {axis.innermost: number for number, axis in enumerate(axes)}
        return Kernel(
            sizes=tuple(axis.size for axis in axes),
            reduced=tuple(n for n, axis in enumerate(axes) if axis.innermost in self.group.reduced),
            operands=tuple(_operand(view, strides, axes) for view, strides in operands),
            values=tuple(_renumbered(value, place) for value in self.values),
            stores=tuple((len(self.inputs) + n, value) for n, value in enumerate(stores)),
        )

    def _kinds(self) -> dict[int, object]:
        """What must agree for axes to be merged; an axis that is counted stays by itself."""
        kinds: dict[int, object] = dict.fromkeys(self.group.reduced, True)
        kinds.update((each.axis, each) for each in self.values if isinstance(each, Index))
        return kinds

    def _contraction(
        self, total: Sum, outputs: Sequence[tuple[View, Strides]], stores: Sequence[int]
    ) -> Contraction:
        """Free axes in the order of the results, then those that are summed over."""
        free, operands = self.group.sizes, [*self.inputs, *outputs]
        factors = [total.left[1], total.right[1]]
        kinds = self._kinds() | total.kinds
        outer = arrange({**free, **total.places}, _ranked(operands) + factors, kinds)
        inner = arrange(total.summed, factors, kinds)
        place = {axis.innermost: number for number, axis in enumerate((*outer, *inner))}
        epilogue = Kernel(
            sizes=tuple(axis.size for axis in outer),
            reduced=(),
            operands=tuple(_operand(view, strides, outer) for view, strides in operands),
            values=tuple(_renumbered(value, place) for value in self.values),
            stores=tuple((len(self.inputs) + n, value) for n, value in enumerate(stores)),
        )
        axes = (*outer, *inner)
        return Contraction(
            sizes=tuple(axis.size for axis in axes),
            summed=tuple(range(len(outer), len(axes))),
            dtype=self.view_dtype(total),
            left=_operand(*total.left, axes),
            right=_operand(*total.right, axes),
            epilogue=epilogue,
            bounds=total.bounds(place),
        )

    @staticmethod
    def view_dtype(total: Sum) -> str:
        """The dtype of a product."""
        return name_of(total.left[0].dtype)


def _ranked(operands: Sequence[tuple[View, Strides]]) -> list[Strides]:
    """The order in which operands matter: large ones first, among equal ones results."""
    order = sorted(range(len(operands)), key=lambda n: (-operands[n][0].nbytes, -n))
    return [operands[n][1] for n in order]


def _operand(view: View, strides: Strides, axes: Sequence[Axis]) -> Operand:
    return Operand(name_of(view.dtype), tuple(strides.get(axis.innermost, 0) for axis in axes))


def _renumbered(value: Value, place: Mapping[int, int]) -> Value:
    """Axes by their place in the loop nest; an axis of size 1 is always at 0."""
    return Index(place[value.axis]) if isinstance(value, Index) else value


# ------------------------------------------------------------------------- without a computation


def copying(source: View, target: View) -> Kernel:
    """Copy the elements of a view into another of its shape, bit by bit."""
    raw = RAW[source.dtype.itemsize]
    halves = source.dtype.itemsize // np.dtype(raw).itemsize
    sizes = {number: size for number, size in enumerate(source.shape) if size != 1}
    if halves > 1:
        sizes[len(source.shape)] = halves
    maps: list[Strides] = []
    for view in (source, target):
        strides = {axis: view.strides[axis] for axis in sizes if axis < len(view.shape)}
        maps.append(strides | ({len(view.shape): 8} if halves > 1 else {}))
    axes = arrange(sizes, maps[::-1], {})
    return Kernel(
        sizes=tuple(axis.size for axis in axes),
        reduced=(),
        operands=tuple(
            Operand(raw, tuple(strides.get(axis.innermost, 0) for axis in axes)) for strides in maps
        ),
        values=(Load(0),),
        stores=((1, 0),),
    )
