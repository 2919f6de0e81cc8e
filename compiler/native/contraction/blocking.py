"""How a product of matrices is cut into blocks of registers, panels and chunks.

All ways that the micro-kernels know are compared by a small model of their cycles, and the
cheapest is taken. The numbers in it are those of current x86 and ARM cores: two fused
multiply-adds of vectors in a cycle with a latency of four, two loads, about five instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod

from graphnn.compiler.kernel import Apply, Contraction
from graphnn.compiler.native.contraction.matrices import ONE, Axis, Matrices, recognise
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.tile import ITEMSIZE

__all__ = [
    "Plan",
    "Segment",
    "accumulated_size",
    "candidates_of",
    "n_blocks",
    "plan",
    "segments_of",
]

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
CHEAP = frozenset(
    ("add", "subtract", "multiply", "maximum", "minimum", "negative", "where", "greater", "less")
)
"""Primitives of an instruction or two."""

LATENCY = 4
"""Cycles until a sum can be added to again."""

LINE_FROM_L2 = 2.2
"""Cycles until the next line is there that is read ahead."""

PAGE = 4096
"""Lines whose addresses differ by a multiple of it share the few places of one set in L1."""

CHUNK = 250_000
"""Multiplications that are worth handing to a thread: about five microseconds."""

MOST_CHUNKS = 64
MOST_TILE_BYTES = 64 << 10
"""Sums of a chunk that are kept on the stack."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring blocks of one width, along rows or columns.

    Attributes
    ----------
    first, n_blocks : int
        Numbers of its blocks.
    start : int
        The first element of the first block.
    width, stored : int
        Elements of a block, and with those that fill up the last vector.
    """

    first: int
    n_blocks: int
    start: int
    width: int
    stored: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions about a product of matrices.

    Attributes
    ----------
    matrices : Matrices
    is_dot : bool
        Whether vectors lie along the innermost summed axis, not along the columns.
    outer : tuple of Axis
        Loops around single products of matrices.
    row, column : Axis
    lanes : int
        Elements of a vector.
    rows, columns : tuple of Segment
        Blocks of registers.
    copies : int
        Sets of sums that are added to in turn, to hide latency.
    packs_left, packs_right : bool
    cycles : float
        What the model expects.
    row_group, column_group : int
        Blocks that make a chunk.
    summed_step : int
        How far along the outermost summed axis the whole chunk goes before it goes on.
    in_registers : bool
        Whether the epilogue is evaluated on sums in registers; else on a tile of them in memory.
    """

    matrices: Matrices
    is_dot: bool
    outer: tuple[Axis, ...]
    row: Axis
    column: Axis
    lanes: int
    rows: tuple[Segment, ...]
    columns: tuple[Segment, ...]
    copies: int
    packs_left: bool
    packs_right: bool
    cycles: float
    row_group: int = 1
    column_group: int = 1
    summed_step: int = 1
    in_registers: bool = True

    @property
    def n_row_groups(self) -> int:
        """Chunks along the rows."""
        return ceil(n_blocks(self.rows) / self.row_group)

    @property
    def n_column_groups(self) -> int:
        """Chunks along the columns."""
        return ceil(n_blocks(self.columns) / self.column_group)

    @property
    def is_summed_in_steps(self) -> bool:
        """Whether the sums wait in memory between steps."""
        return self.summed_step < self.matrices.summed[0].size


def n_blocks(segments: tuple[Segment, ...]) -> int:
    """How many blocks segments hold."""
    return sum(segment.n_blocks for segment in segments)


def accumulated_size(matrices: Matrices) -> int:
    """Bytes of an element in registers and panels."""
    return 4 if matrices.dtype in HALVES else ITEMSIZE[matrices.dtype]


def segments_of(size: int, unit: int, most: int) -> tuple[Segment, ...]:
    """Cut into blocks of at most ``most`` units of nearly the same width, the wide ones first."""
    units = ceil(size / unit)
    count = ceil(units / most)
    base, n_wide = divmod(units, count)
    found = []
    for first, n, width in ((0, n_wide, base + 1), (n_wide, count - n_wide, base)):
        start = first * (base + 1) * unit
        n_full = n if n == 0 or first + n < count or size == units * unit else n - 1
        if n_full:
            found.append(Segment(first, n_full, start, width * unit, width * unit))
        if n > n_full:  # the last block has a vector that is not full
            start += n_full * width * unit
            found.append(Segment(first + n_full, 1, start, size - start, width * unit))
    return tuple(found)


@lru_cache(maxsize=512)
def plan(contraction: Contraction, target: Target) -> Plan:
    """The cheapest way to compute a contraction."""
    best = min(candidates_of(recognise(contraction), target), key=lambda each: each.cycles)
    return _into_chunks(best, target)


def candidates_of(matrices: Matrices, target: Target) -> list[Plan]:
    """All plans that are compared, not cut into chunks yet."""
    found: list[Plan] = []
    for sides in (matrices, matrices.swapped()):
        for chosen_row in sides.rows or (ONE,):
            # Without columns the vectors may lie along a batch axis instead.
            for chosen_column in sides.columns or (ONE, *sides.batch):
                axes = (*sides.batch, *sides.rows, *sides.columns)
                outer = tuple(
                    axis for axis in axes if axis is not chosen_row and axis is not chosen_column
                )
                row, column = _filled(chosen_row, sides), _filled(chosen_column, sides)
                found.extend(_across(sides, outer, row, column, target))
                found.extend(_along(sides, outer, row, column, target))
    return found


def _filled(axis: Axis, matrices: Matrices) -> Axis:
    """Give a missing axis its strides in the epilogue."""
    return axis if axis is not ONE else replace(ONE, epilogue=(0,) * len(matrices.epilogue.operands))


# ------------------------------------------------------------------ vectors along the columns


def _across(
    matrices: Matrices, outer: tuple[Axis, ...], row: Axis, column: Axis, target: Target
) -> Iterator[Plan]:
    lanes = _lanes(column.size, matrices, target)
    is_shared = column.left == 0  # else every lane has its own left factor
    for vectors in range(1, 9):
        spare = target.n_registers - (1 if target.has_fma else 2)
        most = min((spare - vectors) // vectors, 16)
        if most < 1 or (vectors > 1 and (vectors - 1) * lanes >= column.size):
            break
        rows, columns = segments_of(row.size, 1, most), segments_of(column.size, lanes, vectors)
        copies = _copies(rows[0].width * (columns[0].stored // lanes), matrices.summed[-1].size)
        for packs_left in (False, True) if is_shared else (False,):
            for packs_right in (False, True):
                made = Plan(
                    matrices, False, outer, row, column, lanes, rows, columns, copies,
                    packs_left, packs_right, 0.0,
                )  # fmt: skip
                yield replace(made, cycles=_cycles_across(made, target))


def _lanes(size: int, matrices: Matrices, target: Target) -> int:
    """A vector's elements; fewer if there are not that many."""
    most = target.lanes(accumulated_size(matrices))
    return min(most, 1 << (size - 1).bit_length())


def _copies(n_sums: int, size: int) -> int:
    """Few sums are added to in turns: two vectors a cycle need eight independent ones."""
    copies = max(1, 2 * LATENCY // n_sums)
    return max(1, min(4, copies, size // 4))


def _cycles_across(made: Plan, target: Target) -> float:
    matrices, lanes = made.matrices, made.lanes
    left = 1 if made.packs_left else _load_cycles(matrices.left)
    right = 1 if made.packs_right else _load_cycles(matrices.right)
    if not made.packs_right and not _is_unit(made.column.right, matrices.right):
        right *= 1.5 * lanes
    if made.column.left:
        left *= 1.5 * lanes if not _is_unit(made.column.left, matrices.left) else 1
    k = matrices.n_summed
    total = 0.0
    for r in made.rows:
        for c in made.columns:
            vectors = c.stored // lanes
            loads = r.width * left * (vectors if made.column.left else 1) + vectors * right
            step = _step_cycles(r.width * vectors, loads, made.copies, target)
            step += _waiting_for_left(made, r, target)
            if made.packs_right:
                step = max(step, _reading_panel(made, c, target))
            else:
                step += _waiting_for_right(made, c, target)
            n_sums = r.width * vectors
            # Few sums are bound by latency: the next block begins while they are finished.
            finish = min(8, max(0, 2 * n_sums - 16)) + n_sums * _finish_cycles(made, lanes)
            total += r.n_blocks * c.n_blocks * (k * step + finish)
    total *= prod(axis.size for axis in made.outer)
    if made.packs_left:
        total += _pack_cycles(made, matrices.left, made.row.size, made.row.left, is_left=True)
    if made.packs_right:
        total += _pack_cycles(made, matrices.right, made.column.size, made.column.right)
    return total


def _step_cycles(n_sums: int, loads: float, copies: int, target: Target) -> float:
    """One product for each sum."""
    multiplying = n_sums / 2 if target.has_fma else float(n_sums)
    waiting = LATENCY / copies
    instructions = (n_sums * (1 if target.has_fma else 2) + loads + 2) / 5
    return max(multiplying, waiting, loads / 2, instructions)


def _load_cycles(dtype: str) -> float:
    return 3.0 if dtype in HALVES else 1.0


def _is_unit(stride: int, dtype: str) -> bool:
    return stride == ITEMSIZE[dtype]


def _finish_cycles(made: Plan, lanes: int) -> float:
    """The epilogue of one vector."""
    kernel = made.matrices.epilogue
    cycles = 0.3
    for operand, stride in zip(kernel.operands, made.column.epilogue, strict=True):
        cycles += 0.5 if stride in (0, ITEMSIZE[operand.dtype]) else 1.2 * lanes
    return cycles + 0.5 * sum(isinstance(each, Apply) for each in kernel.values)


def _reading_panel(made: Plan, block: Segment, target: Target) -> float:
    """Cycles in which the next vectors of a panel come from L2, if L1 does not keep it."""
    nbytes = block.stored * accumulated_size(made.matrices)
    is_kept = made.matrices.n_summed * nbytes <= target.l1_bytes * 3 // 4
    return 0.0 if is_kept else LINE_FROM_L2 * nbytes / 64


def _waiting_for_right(made: Plan, block: Segment, target: Target) -> float:
    """Cycles of one step in which the next vectors are not in L1 yet."""
    matrices = made.matrices
    lines = max(1.0, block.stored * accumulated_size(matrices) / 64)
    return lines * _line_cycles(matrices.summed[-1].right, matrices.n_summed, lines, target)


def _waiting_for_left(made: Plan, block: Segment, target: Target) -> float:
    """The same for the factors of the rows."""
    matrices = made.matrices
    if made.packs_left:
        return 0.05
    innermost = matrices.summed[-1].left
    if abs(innermost) <= 8:  # every row is a stream of its own
        crowded = made.row.left % PAGE == 0 and block.width > 4
        return (0.2 if crowded else 0.08) * block.width
    lines = 1.0 if _is_unit(made.row.left, matrices.left) else float(block.width)
    return lines * _line_cycles(innermost, matrices.n_summed, lines, target)


def _line_cycles(stride: int, k: int, lines: float, target: Target) -> float:
    """What a line costs that is ``stride`` bytes behind the one before."""
    if abs(stride) < 64:
        return 0.1
    kept = target.l1_bytes // 2
    if stride % PAGE == 0 and k > 32:
        return 5.0 if k > 256 else 3.0
    if stride % (PAGE // 4) == 0 and k > 64:
        return 2.5
    return 2.3 if k * lines * 64 > kept else 0.1


def _pack_cycles(
    made: Plan, dtype: str, size: int, stride: int, *, is_left: bool = False
) -> float:
    """Bring an operand into panels."""
    matrices = made.matrices
    innermost = matrices.summed[-1].left if is_left else matrices.summed[-1].right
    if _is_unit(stride, dtype):
        each = 0.33 if not is_left else max(0.35, 2.0 / made.rows[0].width)
    else:
        each = 0.5 if _is_unit(innermost, dtype) else 1.5
    each += 0.2 * (_load_cycles(dtype) - 1)
    moved = [axis for axis in made.outer if (axis.left if is_left else axis.right)]
    count = prod(axis.size for axis in moved)
    panels = n_blocks(made.rows if is_left else made.columns)
    return 300 + count * (size * matrices.n_summed * each + 30 * panels)


# ---------------------------------------------------------------- vectors along the summed axis


def _along(
    matrices: Matrices, outer: tuple[Axis, ...], row: Axis, column: Axis, target: Target
) -> Iterator[Plan]:
    inner = matrices.summed[-1]
    if matrices.dtype not in FLOATS or column.left:
        return
    if not _is_unit(inner.left, matrices.left) or not _is_unit(inner.right, matrices.right):
        return
    lanes = _lanes(inner.size, matrices, target)
    for width in (1, 2, 4, 8):
        spare = target.n_registers - (1 if target.has_fma else 2)
        most = next((r for r in range(8, 0, -1) if r * width + min(r, width) <= spare), 0)
        if not most or width > lanes or width > 2 * column.size:
            break
        rows, columns = segments_of(row.size, 1, most), segments_of(column.size, 1, width)
        copies = _copies(rows[0].width * columns[0].width, ceil(inner.size / lanes))
        made = Plan(
            matrices, True, outer, row, column, lanes, rows, columns, copies, False, False, 0.0
        )
        yield replace(made, cycles=_cycles_along(made, target))


def _cycles_along(made: Plan, target: Target) -> float:
    matrices = made.matrices
    steps = ceil(matrices.summed[-1].size / made.lanes) * prod(
        axis.size for axis in matrices.summed[:-1]
    )
    total = 0.0
    for r in made.rows:
        for c in made.columns:
            loads = r.width * _load_cycles(matrices.left) + c.width * _load_cycles(matrices.right)
            step = _step_cycles(r.width * c.width, loads, made.copies, target)
            # The rows pass by for every block of columns, from L2 if L1 cannot keep them.
            vector = made.lanes * accumulated_size(matrices)
            if steps * vector * min(made.row.size, 64) > target.l1_bytes // 2:
                step = max(step, LINE_FROM_L2 * r.width * vector / 64) + 0.3
            if made.row.left % (PAGE // 2) == 0 or made.column.right % (PAGE // 2) == 0:
                step *= 1.1
            reducing = made.copies * c.width + 4
            finish = 8 + r.width * (reducing + _finish_cycles(made, c.width))
            total += r.n_blocks * c.n_blocks * (steps * step + finish)
    return total * prod(axis.size for axis in made.outer)


# ---------------------------------------------------------------------------------- chunks


def _into_chunks(made: Plan, target: Target) -> Plan:
    """Decide what is done at once."""
    matrices, size = made.matrices, accumulated_size(made.matrices)
    k, m, n = matrices.n_summed, made.row.size, made.column.size
    n_rows, n_columns = n_blocks(made.rows), n_blocks(made.columns)
    in_registers = _is_cheap(matrices)
    step = matrices.summed[0].size
    # The panel of a block of columns is read again for every block of rows: it should stay in
    # the second cache beside the rows.
    panel = k * made.columns[0].stored * size
    if not made.is_dot and panel > target.l2_bytes // 3 and n_rows > 2:
        step = max(1, ceil(step / ceil(panel / (target.l2_bytes // 6))))
    rows_kept = max(1, target.l2_bytes // 2 // (size * max(1, k * step // matrices.summed[0].size)))
    row_group = max(1, min(n_rows, rows_kept // made.rows[0].width))
    column_group = n_columns
    outer = prod(axis.size for axis in made.outer)
    wanted = min(MOST_CHUNKS, max(1, outer * m * n * k // CHUNK)) / outer
    in_tile = not in_registers or step < matrices.summed[0].size

    def is_small_enough() -> bool:
        if in_tile:
            rows, columns = made.rows[0].width * row_group, made.columns[0].stored * column_group
            if rows * columns * size > MOST_TILE_BYTES and (row_group > 1 or column_group > 1):
                return False
        return ceil(n_rows / row_group) * ceil(n_columns / column_group) >= wanted

    while not is_small_enough():
        rows, columns = made.rows[0].width * row_group, made.columns[0].stored * column_group
        if column_group > 1 and (columns >= rows or row_group == 1):
            column_group = ceil(column_group / 2)
        elif row_group > 1:
            row_group = ceil(row_group / 2)
        else:
            break
    return replace(
        made,
        row_group=row_group,
        column_group=column_group,
        summed_step=step,
        in_registers=not in_tile,
        copies=made.copies if step == matrices.summed[0].size else 1,
    )


def _is_cheap(matrices: Matrices) -> bool:
    """Whether the epilogue is short enough to be printed once for every vector of a block."""
    values = matrices.epilogue.values
    ops = [each.op for each in values if isinstance(each, Apply)]
    return len(values) <= 8 and all(op in CHEAP for op in ops)
