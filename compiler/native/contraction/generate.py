"""Products of matrices as LLVM IR: loops over chunks, blocks of registers, and the epilogue.

The parts are, where the plan wants them, ``pack_left`` and ``pack_right``, then ``multiply``. A
chunk of the latter is a group of blocks of rows times a group of blocks of columns of one product
of matrices. Panels of columns are the outer loop of a chunk, so that one stays in L1 while the
rows, which fit into L2, pass by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.builder import V, lanes_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.blocking import make_plan
from graphnn.compiler.native.contraction.micro_kernel import Block, multiply, sum_type
from graphnn.compiler.native.contraction.packing import packed_nbytes, packings
from graphnn.compiler.native.contraction.panels import pack
from graphnn.compiler.native.contraction.plan import (
    Plan,
    Segment,
    accumulated,
    accumulated_size,
    n_blocks,
)
from graphnn.compiler.native.memory import Strip, load_strip, store_strip
from graphnn.compiler.native.scalars import rounded
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.tile import evaluate
from graphnn.compiler.native.walk import (
    BEGIN,
    END,
    Number,
    as_value,
    begun,
    minus,
    moved,
    parameter,
    plus,
    positions,
    scaled,
)

__all__ = ["generate", "scratch_nbytes"]


def scratch_nbytes(contraction: Contraction, target: Target) -> int:
    """Bytes of scratch memory that `generate` will ask for."""
    return packed_nbytes(make_plan(contraction, target))


def generate(contraction: Contraction, target: Target, name: str) -> Code:
    """Native code of a contraction without bounds.

    Parameters
    ----------
    contraction : Contraction
    target : Target
    name : str
        What the functions' names begin with.

    Returns
    -------
    Code
        Its arguments are the operands of the left factor, of the right one and of the epilogue,
        the panels that are given, and scratch memory.
    """
    made = make_plan(contraction, target)
    packed = packings(made)
    n_operands = contraction.n_factor_operands + len(contraction.epilogue.operands)
    builders, parts = [], []
    scratch = n_operands + sum(contraction.packed)
    for packing, side in zip(packed, ("left", "right"), strict=True):
        if packing is not None and not packing.is_given:
            function = f"{name}_pack_{side}"
            builder, n_chunks = pack(
                packing.panels, function, target, packing.first_operand, scratch, packing.offset
            )
            builders.append(builder)
            parts.append((function, n_chunks))
    printer = _Multiplication(made, target, f"{name}_multiply")
    printer.print()
    builders.append(printer.b)
    parts.append((f"{name}_multiply", printer.n_chunks))
    declared = sorted(set().union(*(builder.declared for builder in builders)))
    ir = "\n".join([*declared, *(builder.function() for builder in builders)])
    return Code(ir, tuple(parts), scratch_nbytes(contraction, target))


class _Multiplication:
    """Prints the function that multiplies packed or unpacked operands.

    Attributes
    ----------
    n_chunks : int
    """

    def __init__(
        self,
        made: Plan,
        target: Target,
        name: str,
    ) -> None:
        self.plan, self.target = made, target
        self.b = begun(name, target)
        self.packed = packings(made)
        left, right, first = made.matrices.arguments
        n_operands = first + len(made.matrices.epilogue.operands)
        self.left, self.right = parameter(self.b, left), parameter(self.b, right)
        self.operands = [parameter(self.b, number) for number in range(first, n_operands)]
        self.panels = self._panels(n_operands)
        self.sizes = [axis.size for axis in made.outer]
        self.n_chunks = made.n_row_groups * made.n_column_groups * prod(self.sizes)
        self.type = sum_type(made, made.lanes)
        self.sum_size = accumulated_size(made.matrices)
        self.pitch = made.columns[0].stored * made.column_group * self.sum_size
        self.tile: V | None = None
        if not made.in_registers:
            nbytes = self.pitch * made.rows[0].width * made.row_group
            self.tile = self.b.local("i8", nbytes)

    def _panels(self, first: int) -> dict[int, V]:
        """Where the packed factors are: what is given comes first among the arguments."""
        packed = sorted(filter(None, self.packed), key=lambda each: each.argument)
        found: dict[int, V] = {}
        for each in packed:
            if each.is_given:
                found[each.argument] = parameter(self.b, first)
                first += 1
        for each in packed:
            if not each.is_given:
                found[each.argument] = parameter(self.b, first)
        return found

    # ---------------------------------------------------------------------------- chunks

    def print(self) -> None:
        """The loop over chunks."""
        made, b = self.plan, self.b
        with b.loop(BEGIN, END) as chunk:
            (row_group, column_group), rest = self._groups(chunk)
            outer, _ = positions(b, rest, self.sizes)
            rows = self._range(row_group, made.row_group, made.rows, made.n_row_groups)
            columns = self._range(
                column_group, made.column_group, made.columns, made.n_column_groups
            )
            if self.tile is None:
                self._blocks(outer, rows, columns, (0, made.matrices.summed[0].size))
                return
            origin = self._start(made.rows, rows[0]), self._start(made.columns, columns[0])
            end = self._start(made.rows, rows[1]), self._start(made.columns, columns[1])
            if made.is_summed_in_steps:
                self._clear(self.tile)
                size = made.matrices.summed[0].size
                with b.loop(0, size, made.summed_step) as first:
                    last = self._least(b.binary("add", first, b.integer(made.summed_step)), size)
                    self._blocks(outer, rows, columns, (first, last), origin)
            else:
                self._blocks(outer, rows, columns, (0, made.matrices.summed[0].size), origin)
            self._sweep(self.tile, outer, origin, end)

    def _groups(self, chunk: V) -> tuple[list[V], V]:
        return positions(self.b, chunk, [self.plan.n_row_groups, self.plan.n_column_groups])

    def _range(
        self, group: V, width: int, segments: tuple[Segment, ...], n_groups: int
    ) -> tuple[Number, Number]:
        """Numbers of the first block of a group and of the one behind its last."""
        count = n_blocks(segments)
        if n_groups == 1:
            return 0, count
        first = self.b.binary("mul", group, self.b.integer(width))
        return first, self._least(self.b.binary("add", first, self.b.integer(width)), count)

    def _least(self, x: V, limit: int) -> V:
        return self.b.intrinsic("smin", x, self.b.integer(limit))

    def _start(self, segments: tuple[Segment, ...], block: Number) -> Number:
        """The first row or column of a block; their number for the one behind the last."""
        if isinstance(block, int):
            ends = [each for each in segments if each.first <= block]
            inside = block - ends[-1].first
            return ends[-1].start + inside * ends[-1].width
        start: V | None = None
        for each in segments:
            within = self.b.binary("sub", block, self.b.integer(each.first))
            offset = self.b.binary("mul", within, self.b.integer(each.width))
            here = self.b.binary("add", offset, self.b.integer(each.start))
            if start is None:
                start = here
            else:
                behind = self.b.compare("icmp sge", block, self.b.integer(each.first))
                start = self.b.select(behind, here, start)
        assert start is not None
        return start

    def _clear(self, tile: V) -> None:
        nbytes = self.pitch * self.plan.rows[0].width * self.plan.row_group
        with self.b.loop(0, nbytes // self.sum_size) as index:
            zero = V("zeroinitializer", f"[{self.sum_size} x i8]")
            self.b.store(zero, moved(self.b, tile, [index], [self.sum_size]), 1)

    # ---------------------------------------------------------------------------- blocks

    def _blocks(
        self,
        outer: Sequence[V],
        rows: tuple[Number, Number],
        columns: tuple[Number, Number],
        between: tuple[Number, Number],
        origin: tuple[Number, Number] = (0, 0),
    ) -> None:
        """All blocks of a chunk, over a range of the outermost summed axis."""
        for column_segment in self.plan.columns:
            with self._walk(column_segment, columns) as column:
                for row_segment in self.plan.rows:
                    with self._walk(row_segment, rows) as row:
                        shape = row_segment, column_segment
                        self._block(outer, (row, column), shape, between, origin)

    @contextmanager
    def _walk(self, segment: Segment, blocks: tuple[Number, Number]) -> Iterator[Number]:
        """A loop over the blocks of a segment that are in a range; gives their starts."""
        b, (low, high) = self.b, blocks
        last = segment.first + segment.n_blocks
        if isinstance(low, int) and isinstance(high, int):  # all of them
            if segment.n_blocks == 1:
                yield segment.start
                return
            begin: Number = segment.first
            end: Number = last
        else:
            assert isinstance(low, V)
            assert isinstance(high, V)
            begin = b.intrinsic("smax", low, b.integer(segment.first))
            end = self._least(high, last)
        with b.loop(begin, end) as block:
            inside = b.binary("sub", block, b.integer(segment.first))
            start = b.binary("mul", inside, b.integer(segment.width))
            yield b.binary("add", start, b.integer(segment.start))

    def _block(
        self,
        outer: Sequence[V],
        place: tuple[Number, Number],
        shape: tuple[Segment, Segment],
        between: tuple[Number, Number],
        origin: tuple[Number, Number],
    ) -> None:
        left = self._access(0, outer, place, shape[0])
        right = self._access(1, outer, place, shape[1])
        if self.tile is None:
            sums = multiply(self.b, self.plan, self.target, left, right, shape, between, None)
            self._finish(outer, place, shape, sums)
            return
        base = self._in_tile(self.tile, place, origin)
        adds = self.plan.is_summed_in_steps

        def before(i: int, j: int) -> V:
            at = b.at(base, i * self.pitch + j * self.plan.lanes * self.sum_size)
            return self._kept(at, self.plan.lanes)

        b = self.b
        sums = multiply(
            b, self.plan, self.target, left, right, shape, between, before if adds else None
        )
        width = shape[1].width if self.plan.is_dot else self.plan.lanes
        for i, row in enumerate(sums):
            for j, value in enumerate(row):
                at = b.at(base, i * self.pitch + j * self.plan.lanes * self.sum_size)
                self._keep(value, at, width)

    def _keep(self, value: V, address: V, width: int) -> None:
        lanes = lanes_of(value.type)
        store_strip(
            self.b, accumulated(self.plan.matrices.dtype), value, address, self.sum_size,
            Strip(lanes, min(width, lanes)),
        )  # fmt: skip

    def _kept(self, address: V, lanes: int) -> V:
        dtype = accumulated(self.plan.matrices.dtype)
        return load_strip(self.b, dtype, address, self.sum_size, Strip(lanes, lanes))

    def _in_tile(self, tile: V, place: tuple[Number, Number], origin: tuple[Number, Number]) -> V:
        for each, zero, step in zip(place, origin, (self.pitch, self.sum_size), strict=True):
            tile = self.b.at(tile, scaled(self.b, minus(self.b, each, zero), step))
        return tile

    def _access(
        self, side: int, outer: Sequence[V], place: tuple[Number, Number], segment: Segment
    ) -> Access:
        """The left (0) or right (1) operand at a block."""
        packing = self.packed[side]
        if packing is not None:
            base = self.panels[packing.argument]
            return packing.access(self.b, base, outer, segment, place[side])
        made, name = self.plan, ("left", "right")[side]
        strides = [getattr(axis, name) for axis in (*made.outer, made.row, made.column)]
        base = moved(self.b, (self.left, self.right)[side], [*outer, *place], strides)
        step = strides[-2:][side]
        summed = tuple(getattr(axis, name) for axis in made.matrices.summed)
        dtype: str = getattr(made.matrices, name)
        return Access(base, dtype, step, summed, getattr(made.column, name))

    # -------------------------------------------------------------------------- epilogue

    def _finish(
        self,
        outer: Sequence[V],
        place: tuple[Number, Number],
        shape: tuple[Segment, Segment],
        sums: Block,
    ) -> None:
        """Evaluate the epilogue on sums in registers."""
        width = shape[1].width
        base = self._addresses(outer, place)
        for i, row in enumerate(sums):
            for j, value in enumerate(row):
                lanes = lanes_of(value.type)
                strip = Strip(lanes, min(lanes, width - j * self.plan.lanes))
                self._strip(base, outer, place, (i, j * self.plan.lanes), strip, value)

    def _sweep(
        self, tile: V, outer: Sequence[V], origin: tuple[Number, Number], end: tuple[Number, Number]
    ) -> None:
        """Evaluate the epilogue on the sums of a whole chunk."""
        b, made = self.b, self.plan
        lanes = made.lanes if not made.is_dot else self._sweep_lanes()
        first, last = origin[1], end[1]
        count = minus(b, last, first)
        whole: Number
        if isinstance(count, int):
            whole = count // lanes * lanes
        else:
            whole = b.binary("and", count, b.integer(-lanes))
        tail = made.column.size % lanes

        def at(row: V, column: Number, strip: Strip) -> None:
            place = plus(self.b, row, origin[0]), plus(self.b, column, first)
            address = moved(b, tile, [row, column], [self.pitch, self.sum_size])
            sums = self._kept(address, strip.lanes)
            self._strip(self._addresses(outer, place), outer, place, (0, 0), strip, sums)

        with b.loop(0, minus(self.b, end[0], origin[0])) as row:
            with b.loop(0, whole, lanes) as column:
                at(row, column, Strip(lanes, lanes))
            if made.is_dot and lanes > 1:
                with b.loop(whole, count) as column:
                    at(row, column, Strip(1, 1))
            elif tail:
                with b.loop(whole, count, lanes) as column:
                    at(row, column, Strip(lanes, tail))

    def _sweep_lanes(self) -> int:
        most = self.target.lanes(self.sum_size)
        return min(most, 1 << (self.plan.column.size.bit_length() - 1))

    def _addresses(self, outer: Sequence[V], place: tuple[Number, Number]) -> list[V]:
        """Where the epilogue's operands lie at a point."""
        axes = (*self.plan.outer, self.plan.row, self.plan.column)
        return [
            moved(self.b, base, [*outer, *place], [axis.epilogue[number] for axis in axes])
            for number, base in enumerate(self.operands)
        ]

    def _strip(
        self,
        base: Sequence[V],
        outer: Sequence[V],
        place: tuple[Number, Number],
        within: tuple[int, int],
        strip: Strip,
        sums: V,
    ) -> None:
        """Evaluate the epilogue at one vector of a block."""
        b, made = self.b, self.plan
        row, column = made.row, made.column
        addresses = [
            b.at(each, within[0] * row.epilogue[n] + within[1] * column.epilogue[n])
            for n, each in enumerate(base)
        ]

        def index(axis: int) -> V:
            for each, position in zip(made.outer, outer, strict=True):
                if each.number == axis:
                    return position
            if row.number == axis:
                return as_value(b, plus(self.b, place[0], within[0]))
            if column.number == axis:
                start = b.splat(as_value(b, plus(self.b, place[1], within[1])), strip.lanes)
                return b.binary("add", start, b.numbered(strip.lanes))
            return b.integer(0)

        dtype = made.matrices.dtype
        if accumulated(dtype) != dtype:  # half floats are rounded once, when all is summed
            sums = rounded(b, dtype, sums)
        epilogue = made.matrices.epilogue
        evaluate(b, epilogue, strip, addresses, column.epilogue, index, sums)
