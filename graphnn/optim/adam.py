"""Adam and AdamW: steps scaled by running moments of the gradient."""

from __future__ import annotations

import math

from graphnn.core.arguments import require_number
from graphnn.core.dtypes import DType
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import maximum, square
from graphnn.ops.exponential import expm1, sqrt
from graphnn.ops.operands import cast_to
from graphnn.optim.optimizer import Optimizer, Rate, running_mean, with_decay

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: the mean of past gradients over the root of the mean of their squares.

    ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g**2``, then
    ``p = p - learning_rate * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + epsilon)`` in step
    ``t``. Source: D. Kingma and J. Ba, arXiv:1412.6980.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.001
    beta1, beta2 : float
        How much of the past the two means keep; from 0 to below 1.
    epsilon : float, default 1e-8
    weight_decay : float, default 0
    decoupled : bool, default False
        False: ``weight_decay * p`` is added to the gradient. True: the parameter itself shrinks by
        ``learning_rate * weight_decay`` of its value (AdamW).
    amsgrad : bool, default False
        Divide by the largest ``v`` so far (S. Reddi, S. Kale and S. Kumar, arXiv:1904.09237).

    Raises
    ------
    ArgumentError
        If an option is negative or out of range.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter(1.0, name="w")
    >>> sorted(p.name for p in gn.optim.Adam(0.1).minimize(w**2, [w]))
    ['Adam.step', 'w', 'w.first_moment', 'w.second_moment']
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        what = type(self).__name__
        self.beta1 = require_number(what, "beta1", beta1, below=1.0)
        self.beta2 = require_number(what, "beta2", beta2, below=1.0)
        self.epsilon = require_number(what, "epsilon", epsilon)
        self.weight_decay = require_number(what, "weight decay", weight_decay)
        self.decoupled = decoupled
        self.amsgrad = amsgrad

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """See :meth:`Optimizer.update`."""
        rate = self.rate(value.dtype)
        value, gradient = self.decayed(value, gradient, rate)
        mean, mean_square, slots = self.moments(parameter, gradient)
        if self.amsgrad:
            largest = self.slot(parameter, "largest_second_moment")
            slots[largest] = mean_square = maximum(largest, mean_square)
        change = rate / self.weight_so_far(self.beta1, value.dtype) * mean
        return value - change / self.size(mean_square), slots

    def moments(
        self, parameter: Parameter, gradient: Node
    ) -> tuple[Node, Node, dict[Parameter, Node]]:
        """The running means of gradients and of their squares, and both as slots."""
        first = self.slot(parameter, "first_moment")
        second = self.slot(parameter, "second_moment")
        mean = running_mean(first, gradient, self.beta1)
        mean_square = running_mean(second, square(gradient), self.beta2)
        return mean, mean_square, {first: mean, second: mean_square}

    def size(self, mean_square: Node) -> Node:
        """How large gradients are: what steps are divided by."""
        unbiased = mean_square / self.weight_so_far(self.beta2, mean_square.dtype)
        return sqrt(unbiased) + self.epsilon

    def decayed(self, value: Node, gradient: Node, rate: Node) -> tuple[Node, Node]:
        """The value and the gradient after weight decay, which changes one of them."""
        if self.decoupled and self.weight_decay:
            return value * (1.0 - rate * self.weight_decay), gradient
        return value, with_decay(gradient, value, self.weight_decay)

    def weight_so_far(self, beta: float, dtype: DType) -> Node | float:
        """``1 - beta**t``, which in float32 would lose digits computed as it is written."""
        if beta == 0:
            return 1.0
        return -expm1(cast_to(self.step + 1, dtype) * math.log(beta))


class AdamW(Adam):
    """Adam with decoupled weight decay (I. Loshchilov and F. Hutter, arXiv:1711.05101).

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 0.001
    beta1, beta2, epsilon : float
        See :class:`Adam`.
    weight_decay : float, default 0.01
    amsgrad : bool, default False
        See :class:`Adam`.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> loss = gn.sum(w**2)
    >>> step = gn.compile([], loss, updates=gn.optim.AdamW(0.1).minimize(loss, [w]))
    >>> _ = step(), step()
    >>> w.value.round(3)
    array([ 0.799, -1.796], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay=weight_decay,
            decoupled=True,
            amsgrad=amsgrad,
        )
