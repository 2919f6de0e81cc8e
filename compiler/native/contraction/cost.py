"""A small model of the cycles that a plan takes on one core.

The numbers are those of current x86 and ARM cores: two fused multiply-adds of vectors in a cycle
with a latency of four, two loads, about five instructions. What waiting for memory costs was
measured on Zen 3.
"""

from __future__ import annotations

from math import ceil, prod

from graphnn.compiler.kernel import Apply
from graphnn.compiler.native.contraction.plan import (
    HALVES,
    Plan,
    Segment,
    accumulated_size,
    n_blocks,
)
from graphnn.compiler.native.memory import ITEMSIZE
from graphnn.compiler.native.target import Target

__all__ = ["LATENCY", "cycles_across", "cycles_along", "is_unit", "pack_cycles"]

LATENCY = 4
"""Cycles until a sum can be added to again."""

LINE_FROM_L2 = 2.2
"""Cycles until the next line is there that is read ahead."""

PAGE = 4096
"""Lines whose addresses differ by a multiple of it share the few places of one set in L1."""


def cycles_across(made: Plan, target: Target) -> float:
    """With vectors along the columns."""
    matrices, lanes = made.matrices, made.lanes
    left = 1 if made.packs_left else _load_cycles(matrices.left)
    right = 1 if made.packs_right else _load_cycles(matrices.right)
    if not made.packs_right and not is_unit(made.column.right, matrices.right):
        right *= 1.5 * lanes
    elif not made.packs_right and any(
        axis.right % target.vector_bytes for axis in matrices.summed if axis.size > 1
    ):
        right *= 1.5  # half of the vectors lie across two lines
    if made.column.left:
        left *= 1.5 * lanes if not is_unit(made.column.left, matrices.left) else 1
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
    if made.packs_left and not matrices.is_left_given:
        total += pack_cycles(made, is_left=True)
    if made.packs_right and not matrices.is_right_given:
        total += pack_cycles(made, is_left=False)
    return total


def _step_cycles(n_sums: int, loads: float, copies: int, target: Target) -> float:
    """One product for each sum."""
    multiplying = n_sums / 2 if target.has_fma else float(n_sums)
    waiting = LATENCY / copies
    instructions = (n_sums * (1 if target.has_fma else 2) + loads + 2) / 5
    return max(multiplying, waiting, 0.55 * loads, instructions)


def _load_cycles(dtype: str) -> float:
    return 3.0 if dtype in HALVES else 1.0


def is_unit(stride: int, dtype: str) -> bool:
    """Whether elements lie side by side."""
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
    lines = 1.0 if is_unit(made.row.left, matrices.left) else float(block.width)
    return lines * _line_cycles(innermost, matrices.n_summed, lines, target)


def _line_cycles(stride: int, k: int, lines: float, target: Target) -> float:
    """What a line costs that is ``stride`` bytes behind the one before."""
    stride = abs(stride)
    if stride < 64:
        return 0.1
    # Lines a power of two apart fall into few sets of L1, each with a few places.
    n_sets = max(1, PAGE // max(64, stride & -stride))
    n_places = n_sets * max(1, target.l1_bytes // PAGE)
    if k <= n_places and k * lines * 64 <= target.l1_bytes // 2:
        return 0.1
    if n_sets == 1 and k > 256:
        return 5.0
    return 0.7 if k * stride <= target.l2_bytes // 2 else 2.5


def pack_cycles(made: Plan, *, is_left: bool) -> float:
    """Bring an operand into panels."""
    matrices = made.matrices
    if is_left:
        dtype, size, stride = matrices.left, made.row.size, made.row.left
        innermost = matrices.summed[-1].left
    else:
        dtype, size, stride = matrices.right, made.column.size, made.column.right
        innermost = matrices.summed[-1].right
    if is_unit(stride, dtype):
        each = 0.33 if not is_left else max(0.35, 2.0 / made.rows[0].width)
    else:
        each = 0.5 if is_unit(innermost, dtype) else 1.5
    each += 0.2 * (_load_cycles(dtype) - 1)
    moved = [axis for axis in made.outer if (axis.left if is_left else axis.right)]
    count = prod(axis.size for axis in moved)
    panels = n_blocks(made.rows if is_left else made.columns)
    return 300 + count * (size * matrices.n_summed * each + 30 * panels)


def cycles_along(made: Plan, target: Target) -> float:
    """With vectors along the innermost summed axis."""
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
