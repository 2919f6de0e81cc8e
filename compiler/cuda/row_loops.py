"""Loops that one launch carries out from the first round to the last.

The rows of a batch do not see each other in a recurrence. So a block can take some rows through
all of time by itself: the matrices that every round multiplies by stay in its shared memory, its
threads meet after every stage, and nothing is launched in between.

This says which loops these are; `row_loop_code` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from graphnn.compiler.cuda.chains import is_by_point
from graphnn.compiler.cuda.layout import PROCESSORS
from graphnn.compiler.cuda.matrices import axes_of
from graphnn.compiler.cuda.row_loop import RowKernel, RowLoop, RowOperand, RowProduct
from graphnn.compiler.kernel import Contraction, Index, Kernel, Operand, Product, Value
from graphnn.compiler.native.moves.piece import Piece
from graphnn.compiler.unit import Buffer, Instruction, Loop, Storage, Unit, View
from graphnn.core.dtypes import as_dtype, is_inexact

__all__ = ["row_loop"]

MOST_ROWS = 8
"""Of a block that multiplies: every thread keeps two sums for each."""

MOST_PARTS = 8
"""Into how many blocks the rows of one may go, where their memory is too much: in more waves."""

LAUNCH = 4400
"""Cycles of a launch within a recording: 2.5 microseconds at 1.75 GHz."""

ROUND = 400
"""Cycles of a stage's meetings and of waiting for memory."""

START = 30_000
"""Cycles in which matrices are brought to shared memory."""


class _UnfitError(Exception):
    """A loop is none of these."""


def row_loop(
    unit: Unit, loop: Loop, body: Sequence[Instruction], shared_nbytes: int
) -> Instruction | None:
    """One instruction for all rounds of a loop; None if there can be none, or launches are faster.

    Parameters
    ----------
    unit : Unit
        With planned memory.
    loop : Loop
        Of so many rounds, without regions inside.
    body : sequence of Instruction
        What it does in a round.
    shared_nbytes : int
        Most bytes that the threads of a block may share.
    """
    try:
        found = _Finding(unit, loop, body, shared_nbytes)
        made, views = found.made(), found.views
    except _UnfitError:
        return None
    written = {n for stage in made.stages for n in stage.written}
    inputs = [n for n in range(len(views)) if n not in written]
    first = next((each for each in body if isinstance(each.kernel, Contraction)), body[0])
    return replace(
        first,
        kind="kernel",
        inputs=tuple(views[n] for n in inputs),
        outputs=tuple(views[n] for n in sorted(written)),
        flops=sum(each.flops for each in body) * made.count,
        kernel=None,
        pieces=(Piece(made, tuple(views)),),
        nodes=tuple(node for each in body for node in each.nodes),
        reads=(),
        stored=(),
        scratch=None,
    )


@dataclass(frozen=True, slots=True)
class _Use:
    """What a row touches of a buffer in the first round, and where the next row and round are."""

    low: int
    high: int
    row: int
    move: int


class _Finding:
    """The stages of one loop, and what they work on."""

    def __init__(
        self, unit: Unit, loop: Loop, body: Sequence[Instruction], shared_nbytes: int
    ) -> None:
        assert unit.plan is not None
        assert loop.count is not None
        self.unit, self.loop, self.body, self.count = unit, loop, body, loop.count
        self.shared_nbytes, self.offsets = shared_nbytes, unit.plan.offsets
        around = unit.loops_around(loop.begin)
        self.depth = around.index(loop)
        if any(each.pieces or each.kernel is None for each in body):
            raise _UnfitError
        self.written = {view.buffer for each in body for view in each.outputs}
        if any(each.storage is not Storage.ARENA for each in self.written):
            raise _UnfitError  # state waits until nothing is refused any more
        live = unit.plan.live
        views = [view for each in body for view in (*each.inputs, *each.outputs)]
        moving = {view.buffer for view in views if self._move(view)}
        self.local = {
            each
            for each in self.written - moving
            if loop.begin <= live[each.index][0] and live[each.index][1] < loop.end
        }
        self.rows = self._rows()
        self.views: list[View] = []
        self.moves: list[int] = []
        self.numbers: dict[object, int] = {}
        self.uses: dict[Buffer, list[_Use]] = {}

    def made(self) -> RowLoop:
        """The loop."""
        stages = tuple(
            self._product(each, each.kernel)
            if isinstance(each.kernel, Contraction)
            else self._kernel(each)
            for each in self.body
        )
        self._require_rows_apart()
        self._require_buffers_apart()
        operands = tuple(map(self._operand, self.views, self.moves))
        per_block = -(-self.rows // PROCESSORS)
        if any(isinstance(each, RowProduct) for each in stages):
            per_block = min(per_block, MOST_ROWS)
        precision = self.unit.options.matmul_precision
        tried = (
            RowLoop(self.count, self.rows, -(-per_block // parts), operands, stages, precision)
            for parts in range(1, MOST_PARTS + 1)
        )
        fitting = [each for each in tried if each.shared_nbytes <= self.shared_nbytes]
        made = min(fitting, key=_cycles, default=None)
        if made is None or _cycles(made) >= LAUNCH * len(self.body) * self.count:
            raise _UnfitError
        return made

    def _rows(self) -> int:
        """How many there are: those of products, or the first axis of what is elementwise."""
        for each in self.body:
            if isinstance(each.kernel, Contraction):
                return prod(each.kernel.sizes[axis] for axis in axes_of(each.kernel).rows)
        kernel = self.body[0].kernel
        assert isinstance(kernel, Kernel)
        return kernel.sizes[0] if kernel.sizes else 1

    # ------------------------------------------------------------------------------- stages

    def _product(self, instruction: Instruction, contraction: Contraction) -> RowProduct:
        """A product of rows and a matrix that is the same in all rounds."""
        axes, sizes = axes_of(contraction), contraction.sizes
        epilogue = contraction.epilogue
        rows, columns, summed = (
            [axis for axis in each if sizes[axis] > 1]
            for each in (axes.rows, axes.columns, axes.summed)
        )
        dtypes = {contraction.dtype, contraction.left.dtype, contraction.right.dtype}
        matrix = instruction.inputs[1]
        if (
            max(len(rows), len(columns), len(summed)) > 1
            or any(sizes[axis] > 1 for axis in axes.batch)
            or contraction.bounds
            or len(dtypes) > 1
            or not is_inexact(as_dtype(contraction.dtype))
            or prod(sizes[axis] for axis in rows) != self.rows
            or matrix.buffer in self.written
            or self._move(matrix)
        ):
            raise _UnfitError
        if epilogue.values != (Product(contraction.dtype),) or len(epilogue.stores) != 1:
            raise _UnfitError
        (lies,) = epilogue.operands
        if lies.dtype != contraction.dtype:
            raise _UnfitError
        free = [axis for axis in range(len(sizes)) if axis not in contraction.summed]
        out = {axis: lies.strides[n] for n, axis in enumerate(free)}

        def step(strides: Mapping[int, int] | Sequence[int], some: Sequence[int]) -> int:
            return strides[some[0]] if some else 0

        left, right = contraction.left.strides, contraction.right.strides
        k, n = (prod(sizes[axis] for axis in each) for each in (summed, columns))
        factor, target = instruction.inputs[0], instruction.outputs[0]
        made = RowProduct(
            k=k,
            n=n,
            dtype=contraction.dtype,
            left=self._number(factor, step(left, rows), [(k, step(left, summed))]),
            left_steps=(step(left, rows), step(left, summed)),
            right=self._number(matrix, 0, []),
            right_steps=(step(right, summed), step(right, columns)),
            out=self._number(target, step(out, rows), [(n, step(out, columns))], writes=True),
            out_steps=(step(out, rows), step(out, columns)),
        )
        if target.buffer is factor.buffer:
            raise _UnfitError
        return made

    def _kernel(self, instruction: Instruction) -> RowKernel:
        """An elementwise kernel, with rows as its first axis."""
        if not is_by_point(instruction):
            raise _UnfitError
        kernel = instruction.kernel
        assert isinstance(kernel, Kernel)
        views, n_inputs = (*instruction.inputs, *instruction.outputs), len(instruction.inputs)
        for made in self._by_rows(kernel):
            if self._agrees(made, views):
                numbers = []
                for n, (view, operand) in enumerate(zip(views, made.operands, strict=True)):
                    row, axes = operand.strides[0], _axes(made, operand)
                    numbers.append(self._number(view, row, axes, writes=n >= n_inputs))
                return RowKernel(made, tuple(numbers))
        raise _UnfitError

    def _by_rows(self, kernel: Kernel) -> Iterator[Kernel]:
        """The kernel with an axis, or the outer part of one, as the rows."""
        if self.rows == 1:
            yield _with_first_axis(kernel, None, 1)
        for axis, size in enumerate(kernel.sizes):
            is_counted = any(each == Index(axis) for each in kernel.values)
            if self.rows > 1 and size % self.rows == 0 and not (is_counted and size != self.rows):
                yield _with_first_axis(kernel, axis, self.rows)

    def _agrees(self, kernel: Kernel, views: Sequence[View]) -> bool:
        """Whether rows are those that other stages have in what the loop writes."""
        if self.rows == 1:
            return True
        for view, operand in zip(views, kernel.operands, strict=True):
            known = self.uses.get(view.buffer, ())
            if view.buffer in self.written and not operand.strides[0]:
                return False
            if any(each.row != operand.strides[0] for each in known):
                return False
        return True

    def _number(
        self, view: View, row: int, axes: Sequence[tuple[int, int]], *, writes: bool = False
    ) -> int:
        """The number of an operand; the same place has one number to read, and one to write."""
        if view.buffer in self.written:
            reach = [(size - 1) * stride for size, stride in axes]
            low = view.offset + sum(each for each in reach if each < 0)
            high = view.offset + sum(each for each in reach if each > 0) + view.dtype.itemsize
            use = _Use(low, high, row, self._move(view))
            self.uses.setdefault(view.buffer, []).append(use)
        key = view.buffer, view.offset, view.moves, writes
        if key not in self.numbers:
            self.numbers[key] = len(self.views)
            self.views.append(replace(view, moves=view.moves[: self.depth]))
            self.moves.append(self._move(view))
        return self.numbers[key]

    def _move(self, view: View) -> int:
        """Bytes that a view moves by in a round."""
        return view.moves[self.depth] if len(view.moves) > self.depth else 0

    def _operand(self, view: View, move: int) -> RowOperand:
        """How the loop finds an operand."""
        buffer = view.buffer
        if buffer not in self.local:
            return RowOperand(move, buffer in self.written)
        row = self.uses[buffer][0].row if self.rows > 1 else buffer.nbytes
        name = sorted(each.index for each in self.local).index(buffer.index)
        return RowOperand(move, True, name, view.offset, row)

    # ------------------------------------------------------------------------------- proofs

    def _require_rows_apart(self) -> None:
        """No row touches what another one writes."""
        if self.rows == 1:
            return
        for buffer, uses in self.uses.items():
            row = uses[0].row
            whole = row * self.rows
            if row <= 0 or any(each.row != row for each in uses):
                raise _UnfitError
            around = [view.moves for view in self.views if view.buffer is buffer]
            if any(by % whole for moves in around for by in moves):
                raise _UnfitError
            if buffer in self.local and any(each.low < 0 or each.high > row for each in uses):
                raise _UnfitError
            if not all(self._is_within_row(each, whole) for each in uses):
                raise _UnfitError

    def _is_within_row(self, use: _Use, whole: int) -> bool:
        """Whether the first row's part of every matrix of rows is all that it touches."""
        if use.move % whole == 0:
            return use.low % whole + use.high - use.low <= use.row
        last = use.move * (self.count - 1)
        return use.low + min(last, 0) >= 0 and use.high + max(last, 0) <= use.row

    def _require_buffers_apart(self) -> None:
        """Blocks are in different rounds: no place is used for two things."""
        touched = {view.buffer for view in self.views} - self.local
        arena = sorted(
            (self.offsets[each.index], each.nbytes, each in self.written)
            for each in touched
            if each.storage is Storage.ARENA
        )
        for n, (begin, nbytes, is_written) in enumerate(arena):
            for other, _, is_other_written in arena[n + 1 :]:
                if other < begin + nbytes and (is_written or is_other_written):
                    raise _UnfitError


def _cycles(made: RowLoop) -> int:
    """About how long all rounds take: blocks beyond what runs at a time are further waves."""
    blocks = -(-made.rows // made.rows_per_block)
    waves = -(-blocks // PROCESSORS)
    return waves * (START + made.count * sum(ROUND + each.cycles(made) for each in made.stages))


def _axes(kernel: Kernel, operand: Operand) -> list[tuple[int, int]]:
    """Sizes and strides of all axes behind the rows."""
    return list(zip(kernel.sizes[1:], operand.strides[1:], strict=True))


def _with_first_axis(kernel: Kernel, axis: int | None, rows: int) -> Kernel:
    """A kernel whose first axis has so many rows: a part of one of its own, or a new one."""
    rest = 1 if axis is None else kernel.sizes[axis] // rows
    others = [n for n in range(len(kernel.sizes)) if n != axis or rest > 1]
    place = {n: 1 + number for number, n in enumerate(others)}
    if axis is not None:
        place.setdefault(axis, 0)

    def strides(operand: Operand) -> Operand:
        first = operand.strides[axis] * rest if axis is not None else 0
        return Operand(operand.dtype, (first, *(operand.strides[n] for n in others)))

    def renumbered(value: Value) -> Value:
        return Index(place[value.axis]) if isinstance(value, Index) else value

    return Kernel(
        (rows, *(rest if n == axis else kernel.sizes[n] for n in others)),
        (),
        tuple(map(strides, kernel.operands)),
        tuple(map(renumbered, kernel.values)),
        kernel.stores,
    )
