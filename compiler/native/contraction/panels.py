"""Panels: how a packed operand lies in memory, and the code that brings it there.

A panel holds a block of rows (or columns): for every position along the summed axes the elements
of the block side by side, as they are held in registers. Half floats become float32 here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import ClassVar

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.plan import Segment, n_blocks
from graphnn.compiler.native.memory import ITEMSIZE, Strip, load_strip, store_strip
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.transposition import transposed
from graphnn.compiler.native.walk import (
    BEGIN,
    END,
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
    dtype, held : str
        Of the operand's elements, in its memory and in panels.
    segments : tuple of Segment
        Its blocks.
    step : int
        Bytes of the operand from row to row, or from column to column.
    summed, outer : tuple of (int, int)
        Sizes, and bytes of the operand, along the summed axes and along those on which it moves
        from one product of matrices to the next.
    """

    dtype: str
    held: str
    segments: tuple[Segment, ...]
    step: int
    summed: tuple[tuple[int, int], ...]
    outer: tuple[tuple[int, int], ...]

    scratch_nbytes: ClassVar[int] = 0

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`. The arguments are the operand and the panels."""
        b, n_chunks = pack(self, name, target, 0, 1)
        return Code("\n".join([*sorted(b.declared), b.function()]), ((name, n_chunks),))

    @property
    def matrix_nbytes(self) -> int:
        """Memory of the panels of one matrix; rows fill up the last vector of each."""
        stored = sum(segment.n_blocks * segment.stored for segment in self.segments)
        return stored * prod(size for size, _ in self.summed) * ITEMSIZE[self.held]

    @property
    def nbytes(self) -> int:
        """Memory of all panels."""
        return self.matrix_nbytes * prod(size for size, _ in self.outer)

    def at(
        self, b: Builder, base: V, outer: Sequence[V], segment: Segment, start: V | int
    ) -> Access:
        """The panel of the block that begins at row or column ``start``."""
        size, strides, stride = ITEMSIZE[self.held], [], self.matrix_nbytes
        for count, _ in reversed(self.outer):
            strides.append(stride)
            stride *= count
        base = moved(b, base, outer, strides[::-1])
        length = prod(size for size, _ in self.summed)
        base = b.at(base, scaled(b, start, length * size))
        steps, step = [], segment.stored * size
        for count, _ in reversed(self.summed):
            steps.append(step)
            step *= count
        return Access(base, self.held, size, tuple(reversed(steps)))

    def is_transposed(self, lanes: int) -> bool:
        """Whether vectors along the summed axis are read, and turned in registers."""
        size, stride = self.summed[-1]
        return (
            self.step != ITEMSIZE[self.dtype]
            and stride == ITEMSIZE[self.dtype]
            and size >= lanes // 2
            and 1 < lanes <= MOST_TRANSPOSED
            and self.segments[0].width > 1
        )


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
        Where the operand, and the memory that the panels come into, are among the arguments.
    offset : int
        Where in that memory they begin.

    Returns
    -------
    builder : Builder
    n_chunks : int
    """
    b = begun(name, target)
    source, base = parameter(b, operand), b.at(parameter(b, place), offset)
    sizes, strides = [size for size, _ in panels.outer], [step for _, step in panels.outer]
    lanes = target.lanes(ITEMSIZE[panels.held])
    is_transposed = panels.is_transposed(lanes)
    size = panels.summed[0][0]
    steps = max(1, PIECE * size // prod(size for size, _ in panels.summed))
    count = n_blocks(panels.segments) if is_transposed else ceil(size / steps)
    with b.loop(BEGIN, END) as chunk:
        (part,), rest = positions(b, chunk, [count])
        outer, _ = positions(b, rest, sizes)
        matrix = moved(b, source, outer, strides)
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
                taken = b.at(matrix, scaled(b, start, panels.step))
                panel = panels.at(b, base, outer, segment, start)
                if is_transposed:
                    _transpose(b, panels, taken, panel, segment, lanes)
                else:
                    _copy(b, panels, taken, panel, segment, lanes, (low, high))
    return b, count * prod(sizes)


def _copy(
    b: Builder,
    panels: Panels,
    source: V,
    panel: Access,
    segment: Segment,
    lanes: int,
    between: tuple[V, V],
) -> None:
    sizes, strides = zip(*panels.summed, strict=True)
    with nested(b, sizes, *between) as at:
        take, put = moved(b, source, at, strides), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            strip = Strip(count, min(count, segment.width - first))
            value = load_strip(b, panels.dtype, b.at(take, first * panels.step), panels.step, strip)
            _store(b, panel, value, b.at(put, first * panel.step))


def _store(b: Builder, panel: Access, value: V, place: V) -> None:
    lanes = lanes_of(value.type)
    store_strip(b, panel.dtype, value, place, panel.step, Strip(lanes, lanes))


def _transpose(
    b: Builder, panels: Panels, source: V, panel: Access, segment: Segment, lanes: int
) -> None:
    """Vectors along the innermost summed axis become vectors along the block."""
    sizes, strides = zip(*panels.summed, strict=True)
    size, unit = sizes[-1], ITEMSIZE[panels.dtype]

    def piece(at: Sequence[V | int], valid: int) -> None:
        take, put = moved(b, source, at, strides), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            strip = Strip(lanes, valid)
            rows = [
                load_strip(b, panels.dtype, b.at(take, (first + i) * panels.step), unit, strip)
                for i in range(max(0, min(count, segment.width - first)))
            ]
            zero = V("zeroinitializer", rows[0].type)
            turned = transposed(b, [*rows, *[zero] * (lanes - len(rows))])
            for k in range(valid):
                place = b.at(put, k * panel.summed[-1] + first * panel.step)
                _store(b, panel, _first_lanes(b, turned[k], count), place)

    with nested(b, sizes[:-1], 0, sizes[0]) as outer:
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
