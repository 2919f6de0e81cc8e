"""When it is worth it to compute a factor while it is packed.

What is saved is the kernel that writes the factor, and the bytes that it writes and packing reads
again. Each element is packed once, so none is computed twice; but operands are read in the order
of panels, where the kernel reads them from end to end.
"""

from __future__ import annotations

from graphnn.compiler.kernel import EXPENSIVE, Apply, Contraction
from graphnn.compiler.native.contraction.blocking import make_plan
from graphnn.compiler.native.contraction.packing import packings
from graphnn.compiler.native.contraction.panels import Panels
from graphnn.compiler.native.contraction.plan import Plan
from graphnn.compiler.native.memory import ITEMSIZE
from graphnn.compiler.native.target import Target

__all__ = ["why_not_packed"]

IN_ORDER = 0.15
"""Cycles in which a kernel reads or writes an element from end to end."""

SHARED = 0.1
IN_PANELS = 0.33
SCATTERED = 1.5
"""Cycles in which packing reads an element: one for a vector, in vectors, or one by one."""

MOST_APPLIED = 16
"""Primitives that a prologue applies at most: it is printed for every block of a panel."""


def why_not_packed(plain: Contraction, fused: Contraction, side: int, target: Target) -> str:
    """Why a factor is better computed before; nothing if it should be a prologue.

    Parameters
    ----------
    plain, fused : Contraction
        The product without and with the prologue.
    side : {0, 1}
        Left or right.
    """
    before = make_plan(plain, target)
    if not any(each and each.argument == side and not each.is_given for each in packings(before)):
        return "the product reads it without packing it"
    after = make_plan(fused, target)
    if _decisions(before) != _decisions(after):
        return "the product would add up in another order"
    prologue = fused.prologues[side]
    assert prologue is not None
    applied = [each.op for each in prologue.values if isinstance(each, Apply)]
    if len(applied) > MOST_APPLIED or not EXPENSIVE.isdisjoint(applied):
        return "it takes longer to compute than to pack, and threads share that less evenly"
    (packing,) = (each for each in packings(after) if each and each.argument == side)
    (copying,) = (each for each in packings(before) if each and each.argument == side)
    inputs = packing.panels.inputs
    apart = IN_ORDER * (len(inputs) + 1) + _reading(copying.panels, target)
    if _reading(packing.panels, target) > apart:
        return "what it reads lies across the panels that it is packed into"
    return ""


def _decisions(plan: Plan) -> tuple[object, ...]:
    """What the order of additions depends on, and how work is divided."""
    axes = (*plan.outer, plan.row, plan.column, *plan.matrices.summed)
    return (
        *((axis.size, axis.left, axis.right) for axis in axes),
        (plan.is_dot, plan.lanes, plan.rows, plan.columns, plan.copies, plan.summed_step),
        (plan.matrices.is_swapped, plan.packs_left, plan.packs_right),
    )


def _reading(panels: Panels, target: Target) -> float:
    """Cycles for what one element of the panels is made of."""
    lanes = target.lanes(ITEMSIZE[panels.held])
    axis = -1 if panels.is_transposed(lanes) else -panels.n_summed - 1
    return sum(
        {0: SHARED, ITEMSIZE[each.dtype]: IN_PANELS}.get(each.strides[axis], SCATTERED)
        for each in panels.inputs
    )
