"""Gradient descent, with momentum if wanted."""

from __future__ import annotations

from graphnn.core.arguments import require_number
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.optim.optimizer import Optimizer, Rate, with_decay

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent: against the gradient, with inertia.

    ``v = momentum * v + g``, then ``p = p - learning_rate * v``; with Nesterov's momentum,
    ``p = p - learning_rate * (g + momentum * v)``. Source: I. Sutskever et al., On the importance
    of initialization and momentum in deep learning (2013), in PyTorch's form.

    Parameters
    ----------
    learning_rate : float, Schedule or Node
    momentum : float, default 0
        From 0 to below 1.
    nesterov : bool, default False
        Look ahead; needs momentum.
    weight_decay : float, default 0
        Adds ``weight_decay * p`` to the gradient.

    Raises
    ------
    ArgumentError
        If an option is negative or out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter(1.0, name="w")
    >>> sorted(p.name for p in gn.optim.SGD(0.1, momentum=0.9).minimize(w**2, [w]))
    ['SGD.step', 'w', 'w.momentum']
    """

    takes_complex = True

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.momentum = require_number("SGD", "momentum", momentum, below=1.0)
        self.weight_decay = require_number("SGD", "weight decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not self.momentum:
            raise ArgumentError("SGD: Nesterov's momentum needs a momentum above 0")

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        slots: dict[Parameter, Node] = {}
        gradient = with_decay(gradient, value, self.weight_decay)
        direction = gradient
        if self.momentum:
            slot = self.slot(parameter, "momentum")
            slots[slot] = self.momentum * slot + gradient
            direction = slots[slot]
            if self.nesterov:
                direction = gradient + self.momentum * direction
        return value - self.rate(value.dtype) * direction, slots
