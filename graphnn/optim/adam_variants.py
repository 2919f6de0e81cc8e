"""Relatives of Adam: Adamax and NAdam."""

from __future__ import annotations

import math

import numpy as np

from graphnn.core.arguments import require_number
from graphnn.core.dtypes import FLOAT64
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.state import Parameter
from graphnn.core.state import parameter as new_parameter
from graphnn.ops.arithmetic import abs as magnitude
from graphnn.ops.arithmetic import maximum
from graphnn.ops.exponential import exp
from graphnn.ops.operands import cast_to
from graphnn.optim.adam import Adam
from graphnn.optim.optimizer import Rate, running_mean, with_decay

__all__ = ["Adamax", "NAdam"]


class Adamax(Adam):
    """Adamax: Adam with the largest of past gradients, fading, in place of their mean square.

    ``m = b1 * m + (1 - b1) * g``, ``u = max(b2 * u, |g| + epsilon)``, then
    ``p = p - learning_rate / (1 - b1**t) * m / u``. Source: D. Kingma and J. Ba, arXiv:1412.6980,
    section 7.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.002
    beta1, beta2, epsilon, weight_decay : float
        See :class:`Adam`.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.Adamax(0.1).minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.805, -1.803], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay)

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        gradient = with_decay(gradient, value, self.weight_decay)
        first, largest = self.slot(parameter, "first_moment"), self.slot(parameter, "largest")
        mean = running_mean(first, gradient, self.beta1)
        size = maximum(self.beta2 * largest, magnitude(gradient) + self.epsilon)
        rate = self.rate(value.dtype) / self.weight_so_far(self.beta1, value.dtype)
        return value - rate * mean / size, {first: mean, largest: size}


class NAdam(Adam):
    """NAdam: Adam with Nesterov's momentum.

    With ``mu(t) = b1 * (1 - 0.5 * 0.96**(t * momentum_decay))`` and ``P`` the product of all
    ``mu`` so far, ``p = p - learning_rate * (mu(t + 1) * m / (1 - P * mu(t + 1)) +
    (1 - mu(t)) * g / (1 - P)) / (sqrt(v / (1 - b2**t)) + epsilon)``. Source: T. Dozat,
    Incorporating Nesterov momentum into Adam (2016), in PyTorch's form.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.002
    beta1, beta2, epsilon, weight_decay : float
        See :class:`Adam`.
    momentum_decay : float, default 0.004
    decoupled : bool, default False
        See :class:`Adam`.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.NAdam(0.1).minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.82 , -1.818], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(
            learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay, decoupled=decoupled
        )
        self.momentum_decay = require_number("NAdam", "momentum_decay", momentum_decay)
        self.product = new_parameter(
            np.ones(()), name="NAdam.momentum_product", dtype=FLOAT64, trainable=False
        )

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.apply`."""
        updates = super().apply(gradients)
        with in_role("update"):
            updates[self.product] = self.product * self._momentum(1.0)
        return updates

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        rate, dtype = self.rate(value.dtype), value.dtype
        value, gradient = self.decayed(value, gradient, rate)
        mean, mean_square, slots = self.moments(parameter, gradient)
        now, after = self._momentum(1.0), self._momentum(2.0)
        product = self.product * now
        of_gradient = cast_to((1.0 - now) / (1.0 - product), dtype)
        of_mean = cast_to(after / (1.0 - product * after), dtype)
        change = (of_gradient * gradient + of_mean * mean) / self.size(mean_square)
        return value - rate * change, slots

    def remembered(self) -> dict[str, Parameter]:
        """See :meth:`Optimizer.remembered`."""
        return {**super().remembered(), "momentum_product": self.product}

    def _momentum(self, ahead: float) -> Node:
        """``mu`` of one of the next steps."""
        step = cast_to(self.step, FLOAT64) + ahead
        return self.beta1 * (1.0 - 0.5 * exp(step * (self.momentum_decay * math.log(0.96))))
