"""How a product of matrices is cut into blocks of registers, panels and chunks.

All ways that the micro-kernels know are compared by a small model of their cycles, and the
cheapest is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import ceil, prod

from graphnn.compiler.kernel import Apply, Contraction
from graphnn.compiler.native.contraction.cost import LATENCY, cycles_across, cycles_along, is_unit
from graphnn.compiler.native.contraction.matrices import ONE, Axis, Matrices, recognise
from graphnn.compiler.native.contraction.plan import (
    FLOATS,
    Plan,
    Segment,
    accumulated_size,
    n_blocks,
)
from graphnn.compiler.native.target import Target

__all__ = ["candidates_of", "make_plan", "segments_of"]

CHEAP = frozenset(
    ("add", "subtract", "multiply", "maximum", "minimum", "negative", "where", "greater", "less")
)
"""Primitives of an instruction or two."""

CHUNK = 250_000
"""Multiplications that are worth handing to a thread: about five microseconds."""

VARIETY = 0.01
"""What one more shape of blocks must save: each is code that has to be compiled."""

MOST_CHUNKS = 64
MOST_TILE_BYTES = 64 << 10
"""Sums of a chunk that are kept on the stack."""


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
def make_plan(contraction: Contraction, target: Target) -> Plan:
    """The cheapest way to compute a contraction."""
    candidates = candidates_of(recognise(contraction), target)
    best = min(candidates, key=lambda each: each.cycles * (1 + VARIETY * each.n_shapes))
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
    return (
        axis if axis is not ONE else replace(ONE, epilogue=(0,) * len(matrices.epilogue.operands))
    )


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
        for packs_left in _choices(matrices.is_left_given or matrices.left_prologue):
            if packs_left and not is_shared:
                continue
            for packs_right in _choices(matrices.is_right_given or matrices.right_prologue):
                made = Plan(
                    matrices, False, outer, row, column, lanes, rows, columns, copies,
                    packs_left, packs_right, 0.0,
                )  # fmt: skip
                yield replace(made, cycles=cycles_across(made, target))


def _choices(is_packed: object) -> tuple[bool, ...]:
    """Whether to pack an operand: both are tried, unless it has to be in panels."""
    return (True,) if is_packed else (False, True)


def _lanes(size: int, matrices: Matrices, target: Target) -> int:
    """A vector's elements; fewer if there are not that many."""
    most = target.lanes(accumulated_size(matrices))
    return min(most, 1 << (size - 1).bit_length())


def _copies(n_sums: int, size: int) -> int:
    """Few sums are added to in turns: two vectors a cycle need eight independent ones."""
    copies = max(1, 2 * LATENCY // n_sums)
    return max(1, min(4, copies, size // 4))


# ---------------------------------------------------------------- vectors along the summed axis


def _along(
    matrices: Matrices, outer: tuple[Axis, ...], row: Axis, column: Axis, target: Target
) -> Iterator[Plan]:
    inner = matrices.summed[-1]
    if matrices.dtype not in FLOATS or column.left:
        return
    if matrices.is_left_given or matrices.is_right_given:
        return
    if matrices.left_prologue or matrices.right_prologue:
        return
    if not is_unit(inner.left, matrices.left) or not is_unit(inner.right, matrices.right):
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
        yield replace(made, cycles=cycles_along(made, target))


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
