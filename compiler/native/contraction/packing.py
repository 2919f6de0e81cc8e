"""Packing: an operand is copied into panels that a micro-kernel reads from end to end.

A panel holds a block of rows (or columns): for every position along the summed axes the elements
of the block side by side, as they are held in registers. Half floats become float32 here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.plan import (
    Plan,
    Segment,
    accumulated,
    accumulated_size,
    n_blocks,
)
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

__all__ = ["Packing", "pack", "packed_nbytes", "packings"]

PIECE = 16
"""Rows of a panel that are written at once."""

MOST_TRANSPOSED = 16
"""Lanes up to which vectors are transposed in registers."""


@dataclass(frozen=True, slots=True)
class Packing:
    """One packed operand.

    Attributes
    ----------
    plan : Plan
    is_left : bool
    offset : int
        Where its panels begin in the scratch memory.
    """

    plan: Plan
    is_left: bool
    offset: int

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its blocks."""
        return self.plan.rows if self.is_left else self.plan.columns

    @property
    def stored(self) -> int:
        """Rows or columns with those that fill up the last vector."""
        return sum(segment.n_blocks * segment.stored for segment in self.segments)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes along the outer axes; 0 along those on which the operand does not move."""
        step = self.stored * self.plan.matrices.n_summed * accumulated_size(self.plan.matrices)
        found = []
        for axis in reversed(self.plan.outer):
            moves = axis.left if self.is_left else axis.right
            found.append(step if moves else 0)
            step *= axis.size if moves else 1
        return tuple(reversed(found))

    @property
    def nbytes(self) -> int:
        """Memory of all panels."""
        outer = zip(self.plan.outer, self.strides, strict=True)
        count = prod(axis.size for axis, stride in outer if stride)
        matrices = self.plan.matrices
        return count * self.stored * matrices.n_summed * accumulated_size(matrices)

    def access(
        self, b: Builder, scratch: V, outer: Sequence[V], segment: Segment, start: V | int
    ) -> Access:
        """The panel of the block that begins at row or column ``start``."""
        matrices = self.plan.matrices
        size = accumulated_size(matrices)
        base = moved(b, b.at(scratch, self.offset), outer, self.strides)
        base = b.at(base, scaled(b, start, matrices.n_summed * size))
        steps, step = [], segment.stored * size
        for axis in reversed(matrices.summed):
            steps.append(step)
            step *= axis.size
        lane_step = 0 if self.is_left else size
        return Access(base, accumulated(matrices.dtype), size, tuple(reversed(steps)), lane_step)

    def source(self, b: Builder, base: V, start: V) -> Access:
        """The operand itself from row or column ``start`` on."""
        matrices = self.plan.matrices
        dtype = matrices.left if self.is_left else matrices.right
        summed = tuple(axis.left if self.is_left else axis.right for axis in matrices.summed)
        return Access(b.at(base, scaled(b, start, self.step)), dtype, self.step, summed)

    @property
    def step(self) -> int:
        """Bytes from row to row, or from column to column, of the operand itself."""
        return self.plan.row.left if self.is_left else self.plan.column.right

    def is_transposed(self, lanes: int) -> bool:
        """Whether vectors along the summed axis are read, and turned in registers."""
        matrices, inner = self.plan.matrices, self.plan.matrices.summed[-1]
        dtype = matrices.left if self.is_left else matrices.right
        return (
            self.step != ITEMSIZE[dtype]
            and (inner.left if self.is_left else inner.right) == ITEMSIZE[dtype]
            and inner.size >= lanes // 2
            and 1 < lanes <= MOST_TRANSPOSED
            and self.segments[0].width > 1
        )


def packings(plan: Plan) -> tuple[Packing | None, Packing | None]:
    """What is packed of the left and of the right operand, and where."""
    left = Packing(plan, True, 0) if plan.packs_left else None
    offset = _whole_lines(left.nbytes) if left else 0
    return left, Packing(plan, False, offset) if plan.packs_right else None


def packed_nbytes(plan: Plan) -> int:
    """Memory of all that is packed."""
    return sum(_whole_lines(each.nbytes) for each in packings(plan) if each)


def _whole_lines(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def pack(
    packing: Packing, name: str, target: Target, operand: int, scratch: int
) -> tuple[Builder, int]:
    """Print the function that fills the panels.

    A chunk is one panel where vectors have to be transposed; else a few steps along the outermost
    summed axis, so that several rows of memory are read from end to end while the panels, one
    after the other, get a piece each.

    Parameters
    ----------
    operand, scratch : int
        Their places among the arguments.

    Returns
    -------
    builder : Builder
    n_chunks : int
    """
    plan = packing.plan
    b = begun(name, target)
    source, panels = parameter(b, operand), parameter(b, scratch)
    moving = [bool(stride) for stride in packing.strides]
    sizes = [axis.size if moves else 1 for axis, moves in zip(plan.outer, moving, strict=True)]
    strides = [axis.left if packing.is_left else axis.right for axis in plan.outer]
    lanes = target.lanes(accumulated_size(plan.matrices))
    is_transposed = packing.is_transposed(lanes)
    size = plan.matrices.summed[0].size
    steps = max(1, PIECE * size // plan.matrices.n_summed)
    count = n_blocks(packing.segments) if is_transposed else ceil(size / steps)
    with b.loop(BEGIN, END) as chunk:
        (place,), rest = positions(b, chunk, [count])
        outer, _ = positions(b, rest, sizes)
        base = moved(b, source, outer, strides)
        low = b.binary("mul", place, b.integer(steps))
        high = b.intrinsic("smin", b.binary("add", low, b.integer(steps)), b.integer(size))
        for segment in packing.segments:
            first: V | int = segment.first
            behind: V | int = segment.first + segment.n_blocks
            if is_transposed:  # this one panel, if it is one of the segment
                following = b.binary("add", place, b.integer(1))
                first = b.intrinsic("smax", place, b.integer(segment.first))
                behind = b.intrinsic("smin", following, b.integer(segment.first + segment.n_blocks))
            with b.loop(first, behind) as block:
                start = b.binary("sub", block, b.integer(segment.first))
                start = b.binary("mul", start, b.integer(segment.width))
                start = b.binary("add", start, b.integer(segment.start))
                taken = packing.source(b, base, start)
                panel = packing.access(b, panels, outer, segment, start)
                if is_transposed:
                    _transpose(b, packing, taken, panel, segment, lanes)
                else:
                    _copy(b, packing, taken, panel, segment, lanes, (low, high))
    return b, count * prod(sizes)


def _copy(
    b: Builder,
    packing: Packing,
    source: Access,
    panel: Access,
    segment: Segment,
    lanes: int,
    between: tuple[V, V],
) -> None:
    sizes = [axis.size for axis in packing.plan.matrices.summed]
    with nested(b, sizes, *between) as at:
        take, put = moved(b, source.base, at, source.summed), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            strip = Strip(count, min(count, segment.width - first))
            value = load_strip(b, source.dtype, b.at(take, first * source.step), source.step, strip)
            _store(b, panel, value, b.at(put, first * panel.step))


def _store(b: Builder, panel: Access, value: V, place: V) -> None:
    lanes = lanes_of(value.type)
    store_strip(b, panel.dtype, value, place, panel.step, Strip(lanes, lanes))


def _transpose(
    b: Builder, packing: Packing, source: Access, panel: Access, segment: Segment, lanes: int
) -> None:
    """Vectors along the innermost summed axis become vectors along the block."""
    *sizes, size = [axis.size for axis in packing.plan.matrices.summed]

    def piece(at: Sequence[V | int], valid: int) -> None:
        take, put = moved(b, source.base, at, source.summed), moved(b, panel.base, at, panel.summed)
        for first in range(0, segment.stored, lanes):
            count = min(lanes, segment.stored - first)
            strip = Strip(lanes, valid)
            rows = [
                load_strip(b, source.dtype, b.at(take, (first + i) * source.step),
                           ITEMSIZE[source.dtype], strip)
                for i in range(max(0, min(count, segment.width - first)))
            ]  # fmt: skip
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
