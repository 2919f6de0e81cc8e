"""Scans become loops: the instructions of the body, on views that move from step to step.

Before: ``h, ys = scan × 100(w, h0, xs)``.
After: ``copy h0``, then a loop of 100 over ``gemm z <- h w`` and ``kernel h <- z x``, where ``x``
and ``y`` are views that move along ``xs`` and ``ys``.

Carries lie in one place and are overwritten by each step, where the order of reading and writing
allows it. One that the scan also gives for every step lies in a row of ``length + 1`` places: each
step reads one and writes the next, and the ys are views of that row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphnn.compiler.unit import Loop, View
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec

if TYPE_CHECKING:
    from graphnn.compiler.passes.lower import Lowering

__all__ = ["lower_scan"]


def lower_scan(lowering: Lowering, node: Node) -> bool:
    """Lower a scan to a loop; False if there is no step, and nothing was done."""
    if node.attrs["length"] < 1:
        return False
    _Loop(lowering, node).lower()
    return True


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a carry lies: what a step reads, what it writes, and where both ends are."""

    first: View
    read: View
    written: View
    last: View


class _Loop:
    """A scan that is being lowered."""

    def __init__(self, lowering: Lowering, node: Node) -> None:
        self.outer = lowering
        self.node = node
        self.body: Graph = node.attrs["body"]
        self.length: int = node.attrs["length"]
        self.n_carry: int = node.attrs["n_carry"]
        self.is_reverse: bool = node.attrs["reverse"]
        self.inner = lowering.inside(self.body, is_loop=True)
        n_constants = len(node.inputs) - self.n_carry - node.attrs["n_xs"]
        self.constants = self.body.inputs[:n_constants]
        self.carried = self.body.inputs[n_constants : n_constants + self.n_carry]
        self.elements = self.body.inputs[n_constants + self.n_carry :]
        self.nexts = self.body.outputs[: self.n_carry]
        self.ys = self.body.outputs[self.n_carry :]

    def lower(self) -> None:
        """Make the instructions, and note the views of all results."""
        outer, inner = self.outer, self.inner
        given = iter(self.node.inputs)
        for argument in self.constants:
            inner.views[argument] = (outer.view_of(next(given)),)
        places = [self._place(*each) for each in zip(self.carried, self.nexts, strict=True)]
        for argument, place in zip(self.carried, places, strict=True):
            first = next(given)
            outer.copy(outer.view_of(first), first, into=place.first)
            inner.views[argument] = (place.read,)
        for argument in self.elements:
            inner.views[argument] = (self._element(outer.view_of(next(given))),)
        stacks = [self._stack(y, places) for y in self.ys]
        begin, n_regions = len(outer.instructions), len(outer.regions)
        inner.reserve(self.carried, self.nexts, [each.written for each in places])
        given_out = self._given_out(places, stacks)
        ys, targets = [y for y, _ in given_out], [target for _, target in given_out]
        inner.reserve(ys, ys, targets)
        inner.lower_all()
        self._write(places, given_out, begin)
        if len(outer.instructions) > begin:  # empty arrays need none
            outer.regions.insert(n_regions, Loop(begin, len(outer.instructions), self.length))
        outer.views[self.node] = (*(each.last for each in places), *stacks)

    def _given_out(
        self, places: Sequence[_Place], stacks: Sequence[View]
    ) -> list[tuple[Node, View]]:
        """The ys that lie in no row of a carry, and where a step writes them."""
        lying = [place.written.buffer for place in places]
        return [
            (y, self._element(stack))
            for y, stack in zip(self.ys, stacks, strict=True)
            if stack.buffer not in lying
        ]

    def _write(
        self, places: Sequence[_Place], given_out: Sequence[tuple[Node, View]], begin: int
    ) -> None:
        """Let a step write its results where they belong."""
        pairs = [*given_out]
        pairs += [(after, place.written) for after, place in zip(self.nexts, places, strict=True)]
        nodes, targets = [node for node, _ in pairs], [target for _, target in pairs]
        self.inner.write(nodes, targets, begin=begin, in_place=True)

    def _place(self, argument: Node, after: Node) -> _Place:
        """Memory for a carry: one place, or a row of them if all steps are asked for."""
        spec = argument.tensor
        if argument not in self.ys and after not in self.ys:
            view = self.outer.allocate(spec)
            return _Place(view, view, view, view)
        row = self.outer.allocate(TensorSpec((self.length + 1, *spec.shape), spec.dtype))
        low = replace(self._element(row), offset=0)
        step = row.strides[0]
        high = replace(low, offset=step)
        end = replace(low, offset=self.length * step)
        if self.is_reverse:
            return _Place(_still(end), end, replace(end, offset=end.offset - step), _still(low))
        return _Place(_still(low), low, high, _still(end))

    def _stack(self, y: Node, places: Sequence[_Place]) -> View:
        """The view of a y for all steps: that of a carry, or memory of its own."""
        spec = TensorSpec((self.length, *y.tensor.shape), y.dtype)
        for argument, after, place in zip(self.carried, self.nexts, places, strict=True):
            if y in (argument, after) and any(place.read.moves):
                behind = (y is after) != self.is_reverse
                step = abs(place.read.moves[-1])
                shape, strides = (self.length, *place.read.shape), (step, *place.read.strides)
                return replace(
                    place.read, offset=step * behind, shape=shape, strides=strides, moves=()
                )
        return self.outer.allocate(spec)

    def _element(self, whole: View) -> View:
        """The view that a step has of a sequence."""
        step = whole.strides[0]
        return replace(
            whole,
            offset=whole.offset + (step * (self.length - 1) if self.is_reverse else 0),
            shape=whole.shape[1:],
            strides=whole.strides[1:],
            moves=self._moves(-step if self.is_reverse else step, whole.moves),
        )

    def _moves(self, step: int, around: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The moves of a view in this loop, and in those around it."""
        return (*around, *[0] * (self.outer.depth - len(around)), step)


def _still(view: View) -> View:
    """A view as it is seen from outside of the loop, before or after it."""
    return replace(view, moves=())
