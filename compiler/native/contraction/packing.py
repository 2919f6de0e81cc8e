"""Which operands of a product are packed, and where their panels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.matrices import Axis
from graphnn.compiler.native.contraction.panels import Panels
from graphnn.compiler.native.contraction.plan import Plan, Segment, accumulated

__all__ = ["Packing", "packed_nbytes", "packings"]


@dataclass(frozen=True, slots=True)
class Packing:
    """One packed operand.

    Attributes
    ----------
    plan : Plan
    is_left : bool
    offset : int
        Where its panels begin in the scratch memory; 0 where they are given.
    """

    plan: Plan
    is_left: bool
    offset: int = 0

    @property
    def is_given(self) -> bool:
        """Whether another kernel has filled the panels."""
        matrices = self.plan.matrices
        return matrices.is_left_given if self.is_left else matrices.is_right_given

    @property
    def argument(self) -> int:
        """Which of the contraction's factors it is."""
        return int(self.is_left == self.plan.matrices.is_swapped)

    @property
    def panels(self) -> Panels:
        """What is packed how."""
        plan, matrices = self.plan, self.plan.matrices
        side = "left" if self.is_left else "right"
        return Panels(
            dtype=getattr(matrices, side),
            held=accumulated(matrices.dtype),
            segments=plan.rows if self.is_left else plan.columns,
            step=getattr(plan.row if self.is_left else plan.column, side),
            summed=tuple((axis.size, getattr(axis, side)) for axis in matrices.summed),
            outer=tuple((axis.size, getattr(axis, side)) for axis in self._moving),
        )

    def access(
        self, b: Builder, base: V, outer: Sequence[V], segment: Segment, start: V | int
    ) -> Access:
        """The panel of the block that begins at row or column ``start``."""
        where = [outer[self.plan.outer.index(axis)] for axis in self._moving]
        found = self.panels.at(b, b.at(base, self.offset), where, segment, start)
        return found if self.is_left else replace(found, lane_step=found.step)

    @property
    def _moving(self) -> list[Axis]:
        """Axes on which the operand moves from one product of matrices to the next."""
        return [axis for axis in self.plan.outer if (axis.left if self.is_left else axis.right)]


def packings(plan: Plan) -> tuple[Packing | None, Packing | None]:
    """What is packed of the left and of the right operand, and where."""
    left = Packing(plan, True) if plan.packs_left else None
    right = Packing(plan, False) if plan.packs_right else None
    if right is not None and not right.is_given:
        right = replace(right, offset=_scratch_nbytes(left))
    return left, right


def packed_nbytes(plan: Plan) -> int:
    """Memory of all that a product packs for itself."""
    return sum(map(_scratch_nbytes, packings(plan)))


def _scratch_nbytes(packing: Packing | None) -> int:
    """Whole lines of memory."""
    return 0 if packing is None or packing.is_given else -(-packing.panels.nbytes // 64) * 64
