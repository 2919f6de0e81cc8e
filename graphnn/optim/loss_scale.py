"""Loss scaling: gradients of half precision that would vanish are made larger first."""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.core.arguments import require_number, require_positive
from graphnn.core.dtypes import FLOAT32, INT64
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.remembered import Remembering
from graphnn.core.state import Parameter, parameter
from graphnn.ops.arithmetic import where
from graphnn.ops.logic import equal, isfinite, logical_and
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.reduction import all as every
from graphnn.optim.clipping import clip_by_global_norm
from graphnn.optim.optimizer import Optimizer

__all__ = ["LossScale"]


class LossScale(Remembering):
    """A factor for the loss that grows while gradients are finite and falls when they overflow.

    Gradients are divided by the factor, in float32, before the optimizer takes them. A step
    whose gradients are not all finite changes nothing but the factor. Source: P. Micikevicius et
    al., arXiv:1710.03740.

    Parameters
    ----------
    optimizer : Optimizer
    initial : float, default 2**15
    grow : float, default 2
        Factor after ``every`` finite steps in a row.
    shrink : float, default 0.5
        Factor after a step that overflowed.
    every : int, default 2000

    Attributes
    ----------
    scale, finite_steps : Parameter
        0-d; the factor, and how many steps in a row were finite.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1e-3], name="w", dtype="float16")
    >>> loss = gn.sum(gn.square(w * 1e-3))  # whose gradient float16 cannot hold
    >>> scaled = gn.optim.LossScale(gn.optim.SGD(1e5))
    >>> step = gn.compile([], loss, updates=scaled.minimize(loss, [w]))
    >>> _ = step()
    >>> w.value
    array([0.0007977], dtype=float16)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        initial: float = 2.0**15,
        *,
        grow: float = 2.0,
        shrink: float = 0.5,
        every: int = 2000,
    ) -> None:
        self.optimizer = optimizer
        initial = require_number("LossScale", "initial", initial, positive=True)
        self.grow = require_number("LossScale", "grow", grow, positive=True)
        self.shrink = require_number("LossScale", "shrink", shrink, positive=True)
        require_positive("LossScale", every=every)
        self.every = every
        self.scale = parameter(initial, name="LossScale.scale", dtype=FLOAT32, trainable=False)
        self.finite_steps = parameter(
            0, name="LossScale.finite_steps", dtype=INT64, trainable=False
        )

    def minimize(
        self,
        loss: Node,
        parameters: Parameter | Iterable[Parameter],
        *,
        max_norm: float | None = None,
    ) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.minimize`."""
        gradients = self.gradients(loss, parameters)
        if max_norm is not None:
            gradients = clip_by_global_norm(gradients, max_norm)
        updates = self.optimizer.apply(gradients)
        with in_role("update"):
            is_finite: Node | None = None
            for gradient in gradients.values():
                own = every(isfinite(gradient))
                is_finite = own if is_finite is None else logical_and(is_finite, own)
            assert is_finite is not None
            kept = {each: where(is_finite, new, each) for each, new in updates.items()}
            steps = where(is_finite, self.finite_steps + 1, 0)
            is_time = equal(steps, self.every)
            factor = where(is_finite, where(is_time, self.grow, 1.0), self.shrink)
            kept[self.scale] = self.scale * cast_to(factor, FLOAT32)
            kept[self.finite_steps] = where(is_time, 0, steps)
        return kept

    def gradients(
        self, loss: Node, parameters: Parameter | Iterable[Parameter]
    ) -> dict[Parameter, Node]:
        """The gradients of the loss, taken of the larger one, in float32 at least."""
        with in_role("update"):
            scaled = loss * cast_to(self.scale, loss.dtype)
        found = self.optimizer.gradients(scaled, parameters)
        return {each: widened(g) / self.scale for each, g in found.items()}

    def remembered(self) -> dict[str, Parameter]:
        """The factor, and what the optimizer remembers."""
        inner = {f"optimizer.{name}": each for name, each in self.optimizer.remembered().items()}
        return {"scale": self.scale, "finite_steps": self.finite_steps, **inner}
