"""fuse_prologues: what a matrix product packs is computed while it is packed.

Before: ``kernel multiply arena2 <- feed0 arena1``, ``gemm arena3 <- arena2 state0``.
After: ``gemm arena3 <- feed0 arena1 state0``, whose packing multiplies.

A value that a product alone reads, and copies into panels, need not be in memory in between. Each
element is packed once, so nothing is computed twice; and nothing but this changes, so results keep
their bits. Why a value was not fused is kept for `Program.explain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.compiler.driver import Driver
from graphnn.compiler.kernel import Apply, Contraction, Kernel, Literal, Load, Operand
from graphnn.compiler.native.contraction.prologues import why_not_packed
from graphnn.compiler.native.generators import is_product
from graphnn.compiler.native.target import host_target
from graphnn.compiler.unit import Buffer, Instruction, Note, Storage, Unit, View
from graphnn.core.node import Node

__all__ = ["fuse_prologues"]


class _RefusedError(Exception):
    """A kernel does not become a prologue; says why."""


def fuse_prologues(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    return unit if unit.options.debug == "nan" else _Fusion(unit).run()


class _Fusion:
    """The instructions so far: None where one has become a part of another."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.instructions: list[Instruction | None] = list(unit.instructions)
        self.readers: dict[Buffer, list[int]] = {}
        self.writers: dict[Buffer, list[int]] = {}
        for number, instruction in enumerate(unit.instructions):
            for buffer in {view.buffer for view in instruction.sources}:
                self.readers.setdefault(buffer, []).append(number)
            for buffer in {view.buffer for view in instruction.outputs}:
                self.writers.setdefault(buffer, []).append(number)
        flags = (each.flag for each in unit.branches)
        self.results = {view.buffer for view in (*unit.results, *flags)}
        self.reasons: dict[tuple[Node, Node], str] = {}

    def run(self) -> Unit:
        """All products, one after the other."""
        for number, instruction in enumerate(self.unit.instructions):
            kernel = instruction.kernel
            if isinstance(kernel, Contraction) and is_product(kernel):
                for side in (1, 0):  # so that the left operands' places stay what they are
                    self._try(number, side, instruction.inputs[side])
        if not self.reasons:
            return self.unit
        kept = (
            (each, self.unit.regions_around(number))
            for number, each in enumerate(self.instructions)
            if each is not None
        )
        return replace(self.unit.with_instructions(kept), notes=tuple(self._notes()))

    def _notes(self) -> list[Note]:
        """The notes with what is known better now; an empty reason is none."""
        noted = {(each.producer, each.consumer): each.reason for each in self.unit.notes}
        merged = noted | {key: why for key, why in self.reasons.items() if key in noted}
        return [Note(*key, why) for key, why in merged.items() if why]

    def _try(self, number: int, side: int, view: View) -> None:
        """Make a prologue of the kernel that computes a factor, if there is one."""
        writers = self.writers.get(view.buffer, [])
        producer = self.instructions[writers[0]] if len(writers) == 1 else None
        if producer is None or not isinstance(producer.kernel, Kernel) or not producer.stored:
            return
        product = self.instructions[number]
        assert product is not None
        pair = producer.stored[0], product.node
        try:
            merged = self._merged(producer, product, side, view, (writers[0], number))
        except _RefusedError as refused:
            self.reasons[pair] = str(refused)
            return
        self.reasons[pair] = ""
        self.instructions[writers[0]], self.instructions[number] = None, merged

    def _merged(
        self,
        producer: Instruction,
        product: Instruction,
        side: int,
        view: View,
        numbers: tuple[int, int],
    ) -> Instruction:
        """The product that computes its factor; raises `_RefusedError`."""
        kernel, contraction = producer.kernel, product.kernel
        assert isinstance(contraction, Contraction)
        self._check_readers(view, numbers)
        if len({self.unit.regions_around(each) for each in numbers}) > 1:
            raise _RefusedError("they are in different loops or branches")
        assert isinstance(kernel, Kernel)
        if len(producer.outputs) > 1:
            raise _RefusedError("it is computed together with other values")
        budget = self.unit.options.memory_budget
        if budget is not None and sum(each.nbytes for each in producer.inputs) > view.nbytes:
            raise _RefusedError("under a memory budget, what it reads would be kept for longer")
        factor = (contraction.left, contraction.right)[side]
        prologue = _over_axes(kernel, factor, contraction.sizes)
        if view.offset or prologue is None:
            raise _RefusedError("the product walks it along other axes")
        left, right = contraction.prologues
        fused = replace(contraction, prologues=(left, prologue) if side else (prologue, right))
        reason = why_not_packed(contraction, fused, side, host_target())
        if reason:
            raise _RefusedError(reason)
        return replace(
            product,
            kernel=fused,
            inputs=(*product.inputs[:side], *producer.inputs, *product.inputs[side + 1 :]),
            nodes=(*producer.nodes, *product.nodes),
            flops=producer.flops + product.flops,
            reads=tuple(dict.fromkeys((*producer.reads, *_without(product.reads, view.buffer)))),
        )

    def _check_readers(self, view: View, numbers: tuple[int, int]) -> None:
        """The product alone reads it, and what it is made of is still there."""
        first, last = numbers
        producer = self.instructions[first]
        product = self.instructions[last]
        assert producer is not None
        assert product is not None
        buffer = view.buffer
        if sum(each.buffer is buffer for each in product.sources) > 1:
            raise _RefusedError("the product reads it twice")
        if (
            buffer.storage is not Storage.ARENA
            or buffer in self.results
            or self.readers[buffer] != [last]
        ):
            raise _RefusedError("it is needed elsewhere too, in memory")
        for each in producer.inputs:
            if any(first <= writer <= last for writer in self.writers.get(each.buffer, ())):
                raise _RefusedError("what it reads is overwritten before the product")


def _without(reads: Sequence[tuple[Node, View]], buffer: Buffer) -> list[tuple[Node, View]]:
    return [(node, view) for node, view in reads if view.buffer is not buffer]


def _over_axes(kernel: Kernel, factor: Operand, sizes: Sequence[int]) -> Kernel | None:
    """An elementwise kernel over the axes along which its result is read; None if it is not one.

    Every axis of the reader must be steps along one axis of the kernel, and all of them together
    must meet every point.
    """
    if kernel.reduced or not all(
        isinstance(each, Load | Literal | Apply) for each in kernel.values
    ):
        return None
    *inputs, output = kernel.operands
    steps: list[tuple[int, int] | None] = []
    reach = dict.fromkeys(range(len(kernel.sizes)), 0)
    n_points = 1
    for size, stride in zip(sizes, factor.strides, strict=True):
        step = _step(kernel, output, size, stride)
        if stride and size > 1:
            if step is None:
                return None
            axis, count = step
            reach[axis] += count * (size - 1)
            n_points *= size
        steps.append(step)
    total = 1
    for axis, size in enumerate(kernel.sizes):
        if reach[axis] >= size:
            return None
        total *= size
    if n_points != total:
        return None
    operands = [
        Operand(each.dtype, tuple(each.strides[step[0]] * step[1] if step else 0 for step in steps))
        for each in inputs
    ]
    return replace(kernel, sizes=tuple(sizes), operands=(*operands, factor))


def _step(kernel: Kernel, output: Operand, size: int, stride: int) -> tuple[int, int] | None:
    """The axis of a kernel along which a stride of its result goes, and how many points far."""
    if stride <= 0 or size == 1:
        return None
    found: Mapping[int, int] = {
        each: axis
        for axis, each in enumerate(output.strides)
        if each > 0 and stride % each == 0 and stride // each < kernel.sizes[axis]
    }
    if not found:
        return None
    longest = max(found)
    return found[longest], stride // longest
