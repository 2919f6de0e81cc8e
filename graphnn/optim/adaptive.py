"""Steps scaled by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from graphnn.core.arguments import require_number
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import square
from graphnn.ops.exponential import sqrt
from graphnn.optim.optimizer import Optimizer, Rate, running_mean, with_decay

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Adagrad: the gradient over the root of the sum of its squares so far.

    ``s = s + g**2``, ``p = p - learning_rate * g / (sqrt(s) + epsilon)``. Source: J. Duchi,
    E. Hazan and Y. Singer, Adaptive subgradient methods (2011).

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.01
    epsilon : float, default 1e-10
    initial : float, default 0
        The sum before the first step.
    weight_decay : float, default 0
        Adds ``weight_decay * p`` to the gradient.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter(1.0, name="w")
    >>> sorted(p.name for p in gn.optim.Adagrad(0.1).minimize(w**2, [w]))
    ['Adagrad.step', 'w', 'w.sum_of_squares']
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        epsilon: float = 1e-10,
        *,
        initial: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.epsilon = require_number("Adagrad", "epsilon", epsilon)
        self.initial = require_number("Adagrad", "initial", initial)
        self.weight_decay = require_number("Adagrad", "weight decay", weight_decay)

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        gradient = with_decay(gradient, value, self.weight_decay)
        total = self.slot(parameter, "sum_of_squares", self.initial)
        new = total + square(gradient)
        return value - self.rate(value.dtype) * gradient / (sqrt(new) + self.epsilon), {total: new}


class Adadelta(Optimizer):
    """Adadelta: steps as long as past steps, for gradients as long as past gradients.

    ``s = rho * s + (1 - rho) * g**2``, ``d = sqrt(u + epsilon) / sqrt(s + epsilon) * g``,
    ``u = rho * u + (1 - rho) * d**2``, ``p = p - learning_rate * d``. Source: M. Zeiler,
    arXiv:1212.5701.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 1
    rho : float, default 0.9
        How much of the past the two means keep; from 0 to below 1.
    epsilon : float, default 1e-6
    weight_decay : float, default 0
        Adds ``weight_decay * p`` to the gradient.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.Adadelta().minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.994, -1.994], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.rho = require_number("Adadelta", "rho", rho, below=1.0)
        self.epsilon = require_number("Adadelta", "epsilon", epsilon)
        self.weight_decay = require_number("Adadelta", "weight decay", weight_decay)

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        gradient = with_decay(gradient, value, self.weight_decay)
        squares = self.slot(parameter, "mean_square")
        steps = self.slot(parameter, "mean_square_step")
        mean_square = running_mean(squares, square(gradient), self.rho)
        change = sqrt(steps + self.epsilon) / sqrt(mean_square + self.epsilon) * gradient
        new = {squares: mean_square, steps: running_mean(steps, square(change), self.rho)}
        return value - self.rate(value.dtype) * change, new


class RMSprop(Optimizer):
    """RMSprop: the gradient over the root of the running mean of its squares.

    ``s = rho * s + (1 - rho) * g**2``, ``v = momentum * v + g / (sqrt(s) + epsilon)``,
    ``p = p - learning_rate * v``. Centred, the mean of the gradient is squared and subtracted
    under the root. Source: T. Tieleman and G. Hinton, Lecture 6.5 (2012); A. Graves,
    arXiv:1308.0850; in PyTorch's form.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.01
    rho : float, default 0.99
        How much of the past the means keep; from 0 to below 1.
    momentum : float, default 0
        From 0 to below 1.
    epsilon : float, default 1e-8
    centered : bool, default False
    weight_decay : float, default 0
        Adds ``weight_decay * p`` to the gradient.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> optimizer = gn.optim.RMSprop(0.05, centered=True)
    >>> step = gn.compile([], loss, updates=optimizer.minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.272, -1.194], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        rho: float = 0.99,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
        *,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        self.rho = require_number("RMSprop", "rho", rho, below=1.0)
        self.momentum = require_number("RMSprop", "momentum", momentum, below=1.0)
        self.epsilon = require_number("RMSprop", "epsilon", epsilon)
        self.centered = centered
        self.weight_decay = require_number("RMSprop", "weight decay", weight_decay)

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        gradient = with_decay(gradient, value, self.weight_decay)
        squares = self.slot(parameter, "mean_square")
        new = {squares: running_mean(squares, square(gradient), self.rho)}
        variance = new[squares]
        if self.centered:
            mean = self.slot(parameter, "mean")
            new[mean] = running_mean(mean, gradient, self.rho)
            variance = variance - square(new[mean])
        direction = gradient / (sqrt(variance) + self.epsilon)
        if self.momentum:
            inertia = self.slot(parameter, "momentum")
            new[inertia] = direction = self.momentum * inertia + direction
        return value - self.rate(value.dtype) * direction, new
