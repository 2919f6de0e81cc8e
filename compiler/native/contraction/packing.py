"""Which operands of a product are packed, and where their panels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.kernel import Kernel, Load, Operand
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
    def first_operand(self) -> int:
        """Where what it is packed from begins among the arguments."""
        return self.plan.matrices.arguments[0 if self.is_left else 1]

    @property
    def panels(self) -> Panels:
        """What is packed how."""
        plan, matrices = self.plan, self.plan.matrices
        block = plan.row if self.is_left else plan.column
        axes = (*self._moving, block, *matrices.summed)
        dtype = matrices.left if self.is_left else matrices.right
        prologue = matrices.left_prologue if self.is_left else matrices.right_prologue
        prologue = prologue or _just_read(dtype)
        strides = zip(
            *(self._strides(axis, len(prologue.operands) - 1) for axis in axes), strict=True
        )
        kernel = replace(
            prologue,
            sizes=tuple(axis.size for axis in axes),
            operands=tuple(
                Operand(operand.dtype, moves)
                for operand, moves in zip(prologue.operands, strides, strict=True)
            ),
        )
        return Panels(
            kernel, accumulated(matrices.dtype), plan.rows if self.is_left else plan.columns,
            len(matrices.summed),
        )  # fmt: skip

    def _strides(self, axis: Axis, n_inputs: int) -> tuple[int, ...]:
        """Bytes along an axis of what is read, and of the factor."""
        moves, inputs = (
            (axis.left, axis.left_inputs) if self.is_left else (axis.right, axis.right_inputs)
        )
        return (*(inputs or (0,) * n_inputs), moves)

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


def _just_read(dtype: str) -> Kernel:
    """What makes a factor that is in memory."""
    return Kernel((), (), (Operand(dtype, ()), Operand(dtype, ())), (Load(0),), ((1, 0),))


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
