"""Panels: how a packed operand lies in memory, and the code that brings it there.

A panel holds a block of rows (or columns): for every position along the summed axes the elements
of the block side by side, as they are held in registers. Half floats become float32 here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import ClassVar

from graphnn.compiler.kernel import Kernel, Operand
from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.plan import Segment, n_blocks
from graphnn.compiler.native.memory import ITEMSIZE, Strip, store_strip
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.tile import values_at
from graphnn.compiler.native.transposition import transposed
from graphnn.compiler.native.walk import (
    BEGIN,
    END,
    Number,
    begun,
    moved,
    nested,
    parameter,
    positions,
    scaled,
)

__all__ = ["Panels", "pack"]

PIECE = 16
"""Rows of a panel that are written at once."""

MOST_TRANSPOSED = 16
"""Lanes up to which vectors are transposed in registers."""


@dataclass(frozen=True, slots=True)
class Panels:
    """The panels of one operand. By itself it is a kernel that fills them: see `Generated`.

    Attributes
    ----------
    kernel : Kernel
        What an element is computed by, over the outer axes, the axis of the blocks, and the summed
        axes; mostly it is just read. Its last operand stands for the factor.
    held : str
        The dtype of elements in panels.
    segments : tuple of Segment
        Its blocks.
    n_summed : int
        How many of the axes are summed over.
    """

    kernel: Kernel
    held: str
    segments: tuple[Segment, ...]
    n_summed: int

    scratch_nbytes: ClassVar[int] = 0

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`. The arguments are what is read, and the panels."""
        b, n_chunks = pack(self, name, target, 0, len(self.inputs))
        return Code("\n".join([*sorted(b.declared), b.function()]), ((name, n_chunks),))

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """What is read."""
        return self.kernel.operands[:-1]

    @property
    def summed(self) -> tuple[int, ...]:
        """Sizes of the axes that are summed over."""
        return self.kernel.sizes[-self.n_summed :]

    @property
    def outer(self) -> tuple[int, ...]:
        """Sizes of the axes from one matrix to the next."""
        return self.kernel.sizes[: -self.n_summed - 1]

    @property
    def matrix_nbytes(self) -> int:
        """Memory of the panels of one matrix; rows fill up the last vector of each."""
        stored = sum(segment.n_blocks * segment.stored for segment in self.segments)
        return stored * prod(self.summed) * ITEMSIZE[self.held]

    @property
    def nbytes(self) -> int:
        """Memory of all panels."""
        return self.matrix_nbytes * prod(self.outer)

    def at(
        self, b: Builder, base: V, outer: Sequence[V], segment: Segment, start: V | int
    ) -> Access:
        """The panel of the block that begins at row or column ``start``."""
        size, strides, stride = ITEMSIZE[self.held], [], self.matrix_nbytes
        for count in reversed(self.outer):
            strides.append(stride)
            stride *= count
        base = moved(b, base, outer, strides[::-1])
        base = b.at(base, scaled(b, start, prod(self.summed) * size))
        steps, step = [], segment.stored * size
        for count in reversed(self.summed):
            steps.append(step)
            step *= count
        return Access(base, self.held, size, tuple(reversed(steps)))

    def is_transposed(self, lanes: int) -> bool:
        """Whether vectors along the summed axis are read, and turned in registers."""
        if self.summed[-1] < lanes // 2 or not 1 < lanes <= MOST_TRANSPOSED:
            return False
        units = [ITEMSIZE[each.dtype] for each in self.inputs]
        n_along, n_across = (
            sum(each.strides[axis] == unit for each, unit in zip(self.inputs, units, strict=True))
            for axis in (-1, -self.n_summed - 1)
        )
        return n_along > n_across and self.segments[0].width > 1


def pack(
    panels: Panels, name: str, target: Target, operand: int, place: int, offset: int = 0
) -> tuple[Builder, int]:
    """Print the function that fills panels.

    A chunk is one panel where vectors have to be transposed; else a few steps along the outermost
    summed axis, so that several rows of memory are read from end to end while the panels, one
    after the other, get a piece each.

    Parameters
    ----------
    operand, place : int
        Where what is read, and the memory that the panels come into, begin among the arguments.
    offset : int
        Where in that memory they begin.

    Returns
    -------
    builder : Builder
    n_chunks : int
    """
    b = begun(name, target)
    sources = [parameter(b, operand + number) for number in range(len(panels.inputs))]
    base = b.at(parameter(b, place), offset)
    lanes = target.lanes(ITEMSIZE[panels.held])
    is_transposed = panels.is_transposed(lanes)
    size = panels.summed[0]
    steps = max(1, PIECE * size // prod(panels.summed))
    count = n_blocks(panels.segments) if is_transposed else ceil(size / steps)
    reader = _Reader(b, panels)
    with b.loop(BEGIN, END) as chunk:
        (part,), rest = positions(b, chunk, [count])
        outer, _ = positions(b, rest, panels.outer)
        matrix = reader.moved(sources, 0, outer)
        low = b.binary("mul", part, b.integer(steps))
        high = b.intrinsic("smin", b.binary("add", low, b.integer(steps)), b.integer(size))
        for segment in panels.segments:
            first: V | int = segment.first
            behind: V | int = segment.first + segment.n_blocks
            if is_transposed:  # this one panel, if it is one of the segment
                following = b.binary("add", part, b.integer(1))
                first = b.intrinsic("smax", part, b.integer(segment.first))
                behind = b.intrinsic("smin", following, b.integer(segment.first + segment.n_blocks))
            with b.loop(first, behind) as block:
                start = b.binary("sub", block, b.integer(segment.first))
                start = b.binary("mul", start, b.integer(segment.width))
                start = b.binary("add", start, b.integer(segment.start))
                taken = reader.moved(matrix, len(outer), [start])
                panel = panels.at(b, base, outer, segment, start)
                if is_transposed:
                    _transpose(reader, taken, panel, segment, lanes)
                else:
                    _copy(reader, taken, panel, segment, lanes, (low, high))
    return b, count * prod(panels.outer)


class _Reader:
    """What panels are made of, at addresses of everything that is read."""

    def __init__(self, b: Builder, panels: Panels) -> None:
        self.b, self.panels = b, panels
        self.block = len(panels.outer)
        self.innermost = len(panels.kernel.sizes) - 1

    def moved(self, sources: Sequence[V], first: int, at: Sequence[Number]) -> list[V]:
        """Addresses moved along axes from a first one on."""
        return [
            moved(self.b, source, at, operand.strides[first : first + len(at)])
            for source, operand in zip(sources, self.panels.inputs, strict=True)
        ]

    def strip(self, sources: Sequence[V], axis: int, strip: Strip) -> V:
        """The elements of a strip along an axis."""
        strides = [operand.strides[axis] for operand in self.panels.inputs]
        ((_, number),) = self.panels.kernel.stores
        return values_at(self.b, self.panels.kernel, strip, sources, strides)[number]


def _copy(
    reader: _Reader,
    sources: Sequence[V],
    panel: Access,
    segment: Segment,
    lanes: int,
    between: tuple[V, V],
) -> None:
    b, block = reader.b, reader.block
    with nested(b, reader.panels.summed, *between) as at:
        take, put = reader.moved(sources, block + 1, at), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            strip = Strip(count, min(count, segment.width - first))
            value = reader.strip(reader.moved(take, block, [first]), block, strip)
            _store(b, panel, value, b.at(put, first * panel.step))


def _store(b: Builder, panel: Access, value: V, place: V) -> None:
    lanes = lanes_of(value.type)
    store_strip(b, panel.dtype, value, place, panel.step, Strip(lanes, lanes))


def _transpose(
    reader: _Reader, sources: Sequence[V], panel: Access, segment: Segment, lanes: int
) -> None:
    """Vectors along the innermost summed axis become vectors along the block."""
    b, block = reader.b, reader.block
    *sizes, size = reader.panels.summed

    def piece(at: Sequence[Number], valid: int) -> None:
        take, put = reader.moved(sources, block + 1, at), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            rows = [
                reader.strip(
                    reader.moved(take, block, [first + i]), reader.innermost, Strip(lanes, valid)
                )
                for i in range(max(0, min(count, segment.width - first)))
            ]
            zero = V("zeroinitializer", rows[0].type)
            turned = transposed(b, [*rows, *[zero] * (lanes - len(rows))])
            for k in range(valid):
                place = b.at(put, k * panel.summed[-1] + first * panel.step)
                _store(b, panel, _first_lanes(b, turned[k], count), place)

    with nested(b, sizes, 0, (*sizes, 1)[0]) as outer:
        done = size // lanes * lanes
        with b.loop(0, done, lanes) as index:
            piece([*outer, index], lanes)
        if done < size:
            piece([*outer, done], size - done)


def _first_lanes(b: Builder, value: V, count: int) -> V:
    lanes = lanes_of(value.type)
    if count == lanes:
        return value
    if count == 1:
        return b.lane(value, 0)
    mask = ", ".join(f"i32 {lane}" for lane in range(count))
    type_ = f"<{count} x {element_of(value.type)}>"
    text = f"shufflevector {value}, {value.type} poison, <{count} x i32> <{mask}>"
    return b.emit(type_, text)
