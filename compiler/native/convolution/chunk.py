"""The chunks of a convolution: register blocks are summed into a buffer, then the epilogue runs.

The buffer is small, of one chunk, and stays in the innermost cache: sums may be written along
another axis than they were computed along, and every epilogue sees finished sums alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.convolution.cost import free_axes, item_bytes, moves
from graphnn.compiler.native.convolution.layout import Access, Layout
from graphnn.compiler.native.convolution.plan import Plan
from graphnn.compiler.native.convolution.results import ResultWriter
from graphnn.compiler.native.convolution.squares import Squares
from graphnn.compiler.native.convolution.walking import hidden, walk
from graphnn.compiler.native.convolution.windows import Phased, is_tabled, progression
from graphnn.compiler.native.memory import Strip, load_strip
from graphnn.compiler.native.scalars import register_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import as_value, plus

__all__ = ["ChunkWriter"]


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop of the summation: its turns, and how far the operands move in one."""

    count: V | int
    left: int
    right: int


class ChunkWriter:
    """Prints the function that computes chunks."""

    def __init__(
        self,
        contraction: Contraction,
        plan: Plan,
        memory: Layout,
        target: Target,
        name: str,
        squares: Squares,
    ) -> None:
        self.contraction, self.plan, self.memory, self.target = contraction, plan, memory, target
        self.name, self.squares = name, squares
        self.free = free_axes(contraction)
        self.is_dot = plan.vector in contraction.summed
        self.item = item_bytes(contraction)
        self.element = register_type(contraction.dtype)
        self.type = vector_of(self.element, plan.lanes)
        args, begin, end = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")
        self.begin, self.end = begin, end
        self.b = Builder(name, [args, begin, end], target=target)
        self.args = args
        self.left_positions, self.right_positions = self._positions()

    def _positions(self) -> tuple[list[dict[int, int]], list[dict[int, int]]]:
        """Positions within a register block at which the operands are read, by axis.

        Along the vector axis they are counted in vectors.
        """
        lefts: list[dict[int, int]] = [{}]
        rights: list[dict[int, int]] = [{}]
        for axis in self.free:
            is_vector = axis == self.plan.vector
            count = self.plan.vectors if is_vector else self.plan.tiles[axis]
            if count == 1:
                continue
            found = [{axis: n} for n in range(count)]
            if moves(self.contraction, axis)[0]:
                lefts = [{**each, **more} for each in lefts for more in found]
            else:
                rights = [{**each, **more} for each in rights for more in found]
        return lefts, rights

    def function(self) -> Builder:
        """Print it."""
        b, plan = self.b, self.plan
        n_arguments = 2 + len(self.contraction.epilogue.operands)
        self.pointers = [
            b.load(b.at(self.args, 8 * n), "ptr", 8)
            for n in range(n_arguments + bool(self.memory.scratch_nbytes))
        ]
        pointers = self.pointers[2:n_arguments]
        if plan.hoisted:
            self.nowhere = b.local(self.type)
        results = ResultWriter(b, self.contraction, plan, pointers, self.squares)
        with b.loop(self.begin, self.end) as chunk:
            starts, fresh = self._starts(chunk)
            if plan.hoisted:
                results.clear()
            with self._turns(list(plan.hoisted)) as turns:
                self._blocks(starts, results, turns)
            results.write(starts, fresh)
        return b

    def _starts(self, chunk: V) -> tuple[dict[int, V | int], dict[int, V | int]]:
        """First positions of a chunk, and how many of them an earlier chunk has written.

        The last chunk along an axis is moved back so that all are of one size.
        """
        b, plan = self.b, self.plan
        starts: dict[int, V | int] = {}
        fresh: dict[int, V | int] = {}
        rest = chunk
        for axis in reversed(self.free):
            size, step = plan.n_steps(self.contraction, axis), plan.chunks[axis]
            count = -(-size // step)
            starts[axis] = fresh[axis] = 0
            if count == 1:
                continue
            at = b.binary("urem", rest, b.integer(count))
            rest = b.binary("udiv", rest, b.integer(count))
            wanted = b.binary("mul", at, b.integer(step))
            if size % step:
                start = b.intrinsic("smin", wanted, b.integer(size - step))
                fresh[axis] = b.binary("sub", wanted, start)
                starts[axis] = start
            else:
                starts[axis] = wanted
        return starts, fresh

    @contextmanager
    def _turns(self, hoisted: Sequence[tuple[int, int]]) -> Iterator[dict[int, V | int]]:
        """First positions of a turn along the hoisted axes."""
        if not hoisted:
            yield {}
            return
        axis, turn = hoisted[0]
        with (
            self.b.loop(0, self.plan.n_steps(self.contraction, axis), turn) as start,
            self._turns(hoisted[1:]) as inner,
        ):
            yield {axis: start, **inner}

    def _blocks(
        self, starts: dict[int, V | int], results: ResultWriter, turns: dict[int, V | int]
    ) -> None:
        """All register blocks of a chunk."""
        order = [axis for axis in self.free if self.plan.chunks[axis] > self.plan.tiles[axis]]
        with self._within(order) as (at, done):
            self._block(starts, at, done, results, turns)

    @contextmanager
    def _within(self, axes: Sequence[int]) -> Iterator[tuple[dict[int, V], dict[int, V]]]:
        """Positions of register blocks in a chunk; the last is moved back to fit.

        Then it begins with so many positions that are done already.
        """
        if not axes:
            yield {}, {}
            return
        b, axis = self.b, axes[0]
        size, step = self.plan.chunks[axis], self.plan.tiles[axis]
        with b.loop(0, size, step) as wanted:
            at, done = wanted, {}
            if size % step:
                at = b.intrinsic("smin", wanted, b.integer(size - step))
                done = {axis: b.binary("sub", wanted, at)}
            with self._within(axes[1:]) as (inner, inner_done):
                yield {axis: at, **inner}, {**done, **inner_done}

    def _block(
        self,
        starts: dict[int, V | int],
        at: dict[int, V],
        done: dict[int, V],
        results: ResultWriter,
        turns: dict[int, V | int],
    ) -> None:
        """Sum up one register block."""
        b, plan = self.b, self.plan
        positions = {axis: plus(b, starts[axis], at.get(axis, 0)) for axis in self.free} | turns
        left = self._address(self.memory.left, positions)
        right = self._address(self.memory.right, positions)
        loops: list[_Loop] = []
        left_strides, right_strides = self.memory.left.strides, self.memory.right.strides
        of_tap = {}
        for number, (bound, linear) in enumerate(
            zip(self.contraction.bounds, plan.linear, strict=True)
        ):
            if is_tabled(bound, linear):
                of_tap[bound.tap] = number
        for axis in self.contraction.summed:
            if axis in of_tap:
                number = of_tap[axis]
                bound, step = self.contraction.bounds[number], self.memory.left.steps[number]
                place = bound.phase if isinstance(bound, Phased) else bound.place
                first, count, element = self._taps(number, positions[place])
                every, elements = progression(bound)
                left = b.at(left, b.binary("mul", element, b.integer(step)))
                right = b.at(right, b.binary("mul", first, b.integer(right_strides[axis])))
                loops.append(_Loop(count, elements * step, every * right_strides[axis]))
            else:
                steps = self._count(axis, turns)
                if not isinstance(steps, int) or steps > 1:
                    loops.append(_Loop(steps, left_strides[axis], right_strides[axis]))
        loops.sort(key=lambda loop: -abs(loop.left))
        left, right = hidden(b, left), hidden(b, right)
        slots = [
            (row, column)
            for row in range(len(self.left_positions))
            for column in range(len(self.right_positions))
        ]
        sums = {slot: b.local(self.type) for slot in slots}
        first = hidden(b, results.place(at))
        places = {}
        for row, column in slots:
            within = {**self.left_positions[row], **self.right_positions[column]}
            places[row, column] = b.at(first, results.offset(within))
            if turns:
                places[row, column] = self._unless_done(places[row, column], within, done)
        for slot, memory in sums.items():
            start = V("zeroinitializer", self.type) if plan.lanes > 1 else b.real(0.0, self.element)
            if turns:
                start = b.load(places[slot], self.type, self.item)
            b.store(start, memory, self.item)
        self._summation(loops, left, right, sums)
        for slot, memory in sums.items():
            b.store(b.load(memory, self.type, self.item), places[slot], self.item)

    def _count(self, axis: int, turns: dict[int, V | int]) -> V | int:
        """Steps along a summed axis in one turn."""
        size, turn = self.plan.n_steps(self.contraction, axis), dict(self.plan.hoisted).get(axis)
        if turn is None or size % turn == 0:
            return turn or size
        left = self.b.binary("sub", self.b.integer(size), as_value(self.b, turns[axis]))
        return self.b.intrinsic("smin", left, self.b.integer(turn))

    def _unless_done(self, place: V, within: dict[int, int], done: dict[int, V]) -> V:
        """Where to add to a sum: nowhere, if another block has done so in this turn."""
        b = self.b
        for axis, n_done in done.items():
            is_done = b.compare("icmp slt", b.integer(within.get(axis, 0)), n_done)
            place = b.select(is_done, self.nowhere, place)
        return place

    def _taps(self, number: int, place: V | int) -> tuple[V, V, V]:
        b = self.b
        table = V(f"@{self.name}_taps{number}", "ptr")
        row = b.at(table, b.binary("mul", as_value(b, place), b.integer(24)))
        first, count, element = (b.load(b.at(row, 8 * n), "i64", 8) for n in range(3))
        return first, count, element

    def _address(self, access: Access, positions: dict[int, V | int]) -> V:
        b = self.b
        address = b.at(self.pointers[access.argument], access.offset)
        for axis, position in positions.items():
            if access.strides[axis] and position != 0:
                stride = b.integer(access.strides[axis])
                address = b.at(address, b.binary("mul", as_value(b, position), stride))
        return address

    def _summation(
        self, loops: Sequence[_Loop], left: V, right: V, sums: dict[tuple[int, int], V]
    ) -> None:
        """Loops over the summed axes, outermost first."""
        if not loops:
            self._step(left, right, sums)
            return
        loop = loops[0]
        pointers = [(left, loop.left), (right, loop.right)]
        with walk(self.b, 0, loop.count, pointers) as (_, (left, right)):
            self._summation(loops[1:], left, right, sums)

    def _step(self, left: V, right: V, sums: dict[tuple[int, int], V]) -> None:
        """One product for every sum of the register block."""
        b = self.b
        of_left = [self._offset(self.memory.left, each) for each in self.left_positions]
        of_right = [self._offset(self.memory.right, each) for each in self.right_positions]
        left_first = len(of_left) <= len(of_right)
        kept, passing = (of_left, of_right) if left_first else (of_right, of_left)
        kept_values = [self._read(left_first, left if left_first else right, n) for n in kept]
        for j, offset in enumerate(passing):
            value = self._read(not left_first, right if left_first else left, offset)
            for i, other in enumerate(kept_values):
                slot = (i, j) if left_first else (j, i)
                total = b.load(sums[slot], self.type, self.item)
                b.store(self._added(other, value, total), sums[slot], self.item)

    def _added(self, x: V, y: V, total: V) -> V:
        b = self.b
        if self.target.has_fma:
            return b.intrinsic("fma", x, y, total)
        return b.binary("fadd", b.binary("fmul", x, y), total)

    def _offset(self, access: Access, position: dict[int, int]) -> int:
        """Bytes to a position within a register block."""
        offset = 0
        for axis, n in position.items():
            if axis == self.plan.vector:
                offset += n * self.plan.lanes * self.item
            else:
                offset += n * access.strides[axis]
        return offset

    def _read(self, is_left: bool, base: V, offset: int) -> V:
        access = self.memory.left if is_left else self.memory.right
        plan = self.plan
        is_vector = plan.vector >= 0 and moves(self.contraction, plan.vector)[not is_left]
        strip = Strip(plan.lanes, plan.lanes)
        stride = self.item if is_vector else 0
        return load_strip(self.b, access.dtype, self.b.at(base, offset), stride, strip)
