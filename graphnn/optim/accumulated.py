"""Gradient accumulation: one update for several batches."""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.core.arguments import require_positive
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import where
from graphnn.ops.logic import equal
from graphnn.ops.operands import cast_to
from graphnn.optim.clipping import clip_by_global_norm
from graphnn.optim.optimizer import Optimizer, require_optimizer

__all__ = ["Accumulated"]


class Accumulated(Optimizer):
    """The mean of the gradients of several steps, given to an optimizer in the last of them.

    As one step with a batch so many times as large takes, where the loss is a mean; in the steps
    between, parameters stay as they are.

    Parameters
    ----------
    optimizer : Optimizer
    every : int
        Steps for one update.

    Examples
    --------
    >>> import graphnn as gn
    >>> w, x = gn.parameter(0.0, name="w"), gn.input("x", shape=())
    >>> optimizer = gn.optim.Accumulated(gn.optim.SGD(1.0), every=2)
    >>> step = gn.compile(x, w, updates=optimizer.minimize(w * x, [w]))
    >>> [float(step(value)) for value in (1.0, 3.0, 5.0)]
    [0.0, 0.0, -2.0]
    """

    takes_complex = True  # the optimizer within looks for itself

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        super().__init__(0.0)
        require_optimizer("Accumulated", optimizer)
        require_positive("Accumulated", every=every)
        self.optimizer, self.every = optimizer, every

    def minimize(
        self,
        loss: Node,
        parameters: Parameter | Iterable[Parameter],
        *,
        max_norm: float | None = None,
    ) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.minimize`; it is the mean that is clipped."""
        return self._updates(self.gradients(loss, parameters), max_norm)

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.apply`."""
        return self._updates(gradients, None)

    def _updates(
        self, gradients: dict[Parameter, Node], max_norm: float | None
    ) -> dict[Parameter, Node]:
        self.optimizer.checked_parameters(gradients)
        with in_role("update"):
            is_time = equal(self.step % self.every, self.every - 1)
            sums, means = {}, {}
            for each, gradient in gradients.items():
                slot = self.slot(each, "accumulated")
                total = slot + cast_to(gradient, slot.dtype)
                sums[slot] = where(is_time, 0.0, total)
                means[each] = cast_to(total / float(self.every), gradient.dtype)
        if max_norm is not None:
            means = clip_by_global_norm(means, max_norm)
        updates = self.optimizer.apply(means)
        with in_role("update"):
            kept = {each: where(is_time, new, each) for each, new in updates.items()}
            return {**kept, **sums, self.step: self.step + 1}

    def remembered(self) -> dict[str, Parameter]:
        """The sums so far and the counter, and what the optimizer remembers."""
        inner = {f"optimizer.{name}": each for name, each in self.optimizer.remembered().items()}
        return {**super().remembered(), **inner}

    def __repr__(self) -> str:
        return f"Accumulated({self.optimizer!r}, {self.every})"
