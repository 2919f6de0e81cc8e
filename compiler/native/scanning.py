"""Native code for what runs along an axis: running sums and products, linear recurrences.

Steps follow each other; lanes are neighbours along another axis, and so are chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.memory import Strip, load_strip, store_strip
from graphnn.compiler.native.scalars import combine, register_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import (
    BEGIN,
    END,
    begun,
    joined,
    located,
    moved,
    parameter,
    positions,
)
from graphnn.core.dtypes import as_dtype

__all__ = ["Scan"]

VECTORS = 4
"""Independent vectors of a chunk: while one addition is under way others begin. No more, since
rows that lie a power of two apart share few lines of the cache."""


@dataclass(frozen=True, slots=True)
class Scan:
    """States along an axis, each made of the one before and of this step's inputs.

    Operands are the inputs and the states. The first state is the last input's first element.

    Attributes
    ----------
    op : {"sum", "prod", "recurrence"}
        ``s + x``, ``s * x``, or ``a * s + b`` of two inputs.
    dtype : str
        Half floats are computed in float32, each state is rounded when it is written.
    steps : int
    along : tuple of int
        Bytes of a step, of every operand; negative to run from the end.
    sizes : tuple of int
        Of the other axes.
    strides : tuple of tuple of int
        Along these, of every operand.
    """

    op: str
    dtype: str
    steps: int
    along: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    scratch_nbytes: ClassVar[int] = 0

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`."""
        sizes, strides = joined(self.sizes, self.strides)
        sizes, strides = _contiguous_last(sizes, strides, as_dtype(self.dtype).itemsize)
        itemsize, length = as_dtype(self.dtype).itemsize, sizes[-1]
        lanes = target.lanes(max(4, itemsize))
        if any(each[-1] not in (0, itemsize) for each in strides):
            lanes = 1  # rows side by side, of which vectors would have to be put together
        while lanes > 1 and lanes // 2 >= length:
            lanes //= 2
        width = lanes * max(1, min(VECTORS, length // lanes))
        n_blocks = -(-length // width)
        b = begun(name, target)
        bases = [parameter(b, number) for number in range(len(self.along))]
        with b.loop(BEGIN, END) as chunk:
            (block,), row = positions(b, chunk, [n_blocks])
            rows = located(b, bases, row, sizes[:-1], [each[:-1] for each in strides])
            lane_strides = [each[-1] for each in strides]
            starts = [
                moved(b, base, [block], [width * stride])
                for base, stride in zip(rows, lane_strides, strict=True)
            ]
            self._blocks(b, block, n_blocks, length, width, lanes, starts, lane_strides)
        n_chunks = prod(sizes[:-1]) * n_blocks
        return Code("\n".join([*sorted(b.declared), b.function()]), ((name, n_chunks),))

    def _blocks(
        self,
        b: Builder,
        block: V,
        n_blocks: int,
        length: int,
        width: int,
        lanes: int,
        starts: Sequence[V],
        strides: Sequence[int],
    ) -> None:
        """A whole block of columns, or the last one, which may have fewer."""
        rest = length - (n_blocks - 1) * width
        if rest == width:
            self._run(b, starts, strides, lanes, width)
            return
        last = b.compare("icmp eq", block, b.integer(n_blocks - 1))
        if n_blocks > 1:
            with b.when(b.binary("xor", last, b.integer(1, "i1"))):
                self._run(b, starts, strides, lanes, width)
        with b.when(last):
            self._run(b, starts, strides, lanes, rest)

    def _run(
        self, b: Builder, starts: Sequence[V], strides: Sequence[int], lanes: int, width: int
    ) -> None:
        """All steps of so many columns."""
        strips = [Strip(lanes, min(lanes, width - first)) for first in range(0, width, lanes)]
        wide = vector_of(register_type(self.dtype), lanes)
        states = [b.local(wide) for _ in strips]

        def inputs(at: Sequence[V], vector: int) -> list[V]:
            return [
                load_strip(
                    b, self.dtype, b.at(each, vector * lanes * stride), stride, strips[vector]
                )
                for each, stride in zip(at[:-1], strides, strict=False)
            ]

        def keep(at: Sequence[V], vector: int, state: V) -> None:
            b.store(state, states[vector], 64)
            place = b.at(at[-1], vector * lanes * strides[-1])
            store_strip(b, self.dtype, state, place, strides[-1], strips[vector])

        for vector in range(len(strips)):
            keep(starts, vector, inputs(starts, vector)[-1])
        with b.loop(1, self.steps) as step:
            at = [
                moved(b, start, [step], [along])
                for start, along in zip(starts, self.along, strict=True)
            ]
            for vector in range(len(strips)):
                before = b.load(states[vector], wide, 64)
                keep(at, vector, self._following(b, before, inputs(at, vector)))

    def _following(self, b: Builder, state: V, inputs: Sequence[V]) -> V:
        """The next state; half floats stay unrounded while they run."""
        if self.op != "recurrence":
            return combine(b, self.op, self.dtype, state, inputs[0])
        factor, term = inputs
        product = combine(b, "prod", self.dtype, factor, state)
        return combine(b, "sum", self.dtype, product, term)


def _contiguous_last(
    sizes: tuple[int, ...], strides: tuple[tuple[int, ...], ...], itemsize: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The axis that lanes lie along put last: where most operands are contiguous."""

    def rank(axis: int) -> tuple[int, int]:
        return sum(each[axis] == itemsize for each in strides), sizes[axis]

    lane = max(range(len(sizes)), key=rank)
    order = [axis for axis in range(len(sizes)) if axis != lane] + [lane]
    return (
        tuple(sizes[axis] for axis in order),
        tuple(tuple(each[axis] for axis in order) for each in strides),
    )
