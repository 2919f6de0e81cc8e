"""Steps that follow the signs of gradients, not their sizes: Lion and Rprop."""

from __future__ import annotations

from graphnn.core.arguments import require_number
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import clip, sign, where
from graphnn.optim.optimizer import Optimizer, Rate, running_mean

__all__ = ["Lion", "Rprop"]


class Lion(Optimizer):
    """Lion: the sign of a mean of gradients, with decoupled weight decay.

    ``p = p - learning_rate * (sign(b1 * m + (1 - b1) * g) + weight_decay * p)``, then
    ``m = b2 * m + (1 - b2) * g``. Source: X. Chen et al., arXiv:2302.06675.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 1e-4
        Three to ten times smaller than for Adam.
    beta1, beta2 : float
        From 0 to below 1.
    weight_decay : float, default 0

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.Lion(0.1).minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.8, -1.8], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1 = require_number("Lion", "beta1", beta1, below=1.0)
        self.beta2 = require_number("Lion", "beta2", beta2, below=1.0)
        self.weight_decay = require_number("Lion", "weight decay", weight_decay)

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        mean = self.slot(parameter, "momentum")
        change = sign(running_mean(mean, gradient, self.beta1))
        if self.weight_decay:
            change = change + self.weight_decay * value
        new = running_mean(mean, gradient, self.beta2)
        return value - self.rate(value.dtype) * change, {mean: new}


class Rprop(Optimizer):
    """Resilient backpropagation: every weight has a step of its own, for whole data sets.

    A step grows while the gradient keeps its sign, and shrinks when the sign changes; then the
    weight waits for one step. Source: M. Riedmiller and H. Braun, A direct adaptive method for
    faster backpropagation learning (1993), in the form without backtracking.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Every weight's first step; a number, for steps change by themselves.
    shrink, grow : float
        Factors; below and above 1.
    least, most : float
        Bounds of a step.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.Rprop(0.1).minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.78, -1.78], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        shrink: float = 0.5,
        grow: float = 1.2,
        *,
        least: float = 1e-6,
        most: float = 50.0,
    ) -> None:
        super().__init__(learning_rate)
        if not isinstance(self.learning_rate, float):
            raise ArgumentError(
                f"Rprop: the learning rate is the first step, a number, not {learning_rate!r}",
                hint="every weight changes its step by itself",
            )
        self.first = self.learning_rate
        self.shrink = require_number("Rprop", "shrink", shrink, below=1.0, positive=True)
        self.grow = require_number("Rprop", "grow", grow)
        if self.grow <= 1:
            raise ArgumentError(f"Rprop: grow is {grow}, it must be above 1")
        self.least = require_number("Rprop", "least", least)
        self.most = require_number("Rprop", "most", most)
        if self.least > self.most:
            raise ArgumentError(f"Rprop: least is {least}, above most, {most}")

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        before = self.slot(parameter, "gradient")
        size = self.slot(parameter, "step_size", self.first)
        agreement = sign(gradient) * sign(before)
        turned = agreement < 0
        changed = where(agreement > 0, size * self.grow, where(turned, size * self.shrink, size))
        new_size = clip(changed, self.least, self.most)
        followed = where(turned, 0.0, gradient)
        return value - sign(followed) * new_size, {before: followed, size: new_size}
