"""L-BFGS: steps along an estimate of Newton's direction, for whole data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import INT64, DType
from graphnn.core.errors import ArgumentError
from graphnn.core.graph import substitute
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.state import Parameter
from graphnn.core.state import parameter as new_parameter
from graphnn.ops.arithmetic import abs as magnitude
from graphnn.ops.arithmetic import minimum, where
from graphnn.ops.broadcasting import reshape
from graphnn.ops.broadcasting import sum as total
from graphnn.ops.joining import concatenate
from graphnn.ops.logic import equal, isfinite, logical_and, logical_not
from graphnn.ops.movement import ravel
from graphnn.ops.operands import cast_to
from graphnn.ops.products import dot
from graphnn.ops.scans import scan
from graphnn.ops.while_loops import while_loop
from graphnn.optim.optimizer import Optimizer, Rate

__all__ = ["LBFGS"]

SUFFICIENT = 1e-4
"""Share of the decrease that the gradient promises which a step must reach (Armijo)."""
MOST_HALVINGS = 30
LEAST_CURVATURE = 1e-10


class LBFGS(Optimizer):
    """Limited-memory BFGS: Newton's direction from the last changes of the gradient.

    The direction is that of the two loops over the last ``history`` pairs of steps and gradient
    differences; pairs without positive curvature are left out. The step along it is halved until
    the loss has fallen by enough, all inside the compiled step. It is meant for the same whole
    batch in every step. Source: J. Nocedal and S. Wright, Numerical Optimization (2006),
    algorithm 7.4; without line search, PyTorch's with one iteration a step.

    Parameters
    ----------
    learning_rate : float, Schedule or Node, default 1
        Length of the first try, in directions. The first step of all, whose direction is the
        gradient, is at most that long in sum of magnitudes.
    history : int, default 10
        Pairs that are kept; each takes twice the memory of the parameters.
    line_search : bool, default True
        Halve steps; it needs the loss, so :meth:`minimize`, not :meth:`apply`.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([3.0, -2.0], name="w", dtype="float64")
    >>> loss = (w[0] - 1.0) ** 2 + 10.0 * (w[1] - w[0] ** 2) ** 2  # Rosenbrock's valley
    >>> step = gn.compile([], loss, updates=gn.optim.LBFGS().minimize(loss, [w]))
    >>> for _ in range(40):
    ...     _ = step()
    >>> w.value.round(4)
    array([1., 1.])
    """

    def __init__(
        self, learning_rate: Rate = 1.0, history: int = 10, *, line_search: bool = True
    ) -> None:
        super().__init__(learning_rate)
        require_positive("LBFGS", history=history)
        self.history = history
        self.line_search = line_search
        self._memory: _Memory | None = None

    def minimize(
        self,
        loss: Node,
        parameters: Parameter | Iterable[Parameter],
        *,
        max_norm: float | None = None,
    ) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.minimize`; a longest gradient would make its differences wrong."""
        if max_norm is not None:
            raise ArgumentError("LBFGS: max_norm changes gradients, whose differences it needs")
        if not self.line_search:
            return super().minimize(loss, parameters)
        gradients = self.gradients(loss, parameters)
        return self._updates(gradients, _loss_at(loss, list(gradients)))

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.apply`; without line search alone."""
        if self.line_search:
            raise ArgumentError(
                "LBFGS: halving steps needs the loss",
                hint="use minimize, or LBFGS(line_search=False)",
            )
        self.checked_parameters(gradients)
        return self._updates(gradients, None)

    def remembered(self) -> dict[str, Parameter]:
        """The step counter, and the history."""
        return {**super().remembered(), **(self._memory.slots() if self._memory else {})}

    def _updates(
        self, gradients: Mapping[Parameter, Node], loss_at: Callable[[Node], Node] | None
    ) -> dict[Parameter, Node]:
        parameters = tuple(gradients)
        dtype = parameters[0].dtype
        if any(each.dtype != dtype for each in parameters):
            raise ArgumentError("LBFGS: all parameters must have the same dtype")
        if self._memory is None:
            self._memory = _Memory(parameters, dtype, self.history)
        elif self._memory.parameters != parameters:
            raise ArgumentError(
                "LBFGS: its history is that of other parameters", hint="make another LBFGS"
            )
        memory = self._memory
        with in_role("update"):
            values, slopes = _flat(parameters), _flat(list(gradients.values()))
            direction, updates = memory.direction(slopes)
            descent = dot(slopes, direction)
            is_first = equal(self.step, 0)
            # The gradient's length says nothing of a good step's.
            short = minimum(1.0, 1.0 / total(magnitude(slopes)))
            rate = self.rate(dtype) * where(is_first, short, 1.0)
            if loss_at is not None:
                rate = _halved(rate, lambda size: loss_at(values + size * direction), descent)
            change = where(descent < 0, rate * direction, 0.0)
            updates[memory.gradient] = slopes
            updates[memory.change] = change
            updates |= dict(zip(parameters, _pieces(values + change, parameters), strict=True))
            updates[self.step] = self.step + 1
        return updates


class _Memory:
    """The history: one flat vector for all parameters, newest pairs last."""

    def __init__(self, parameters: tuple[Parameter, ...], dtype: DType, history: int) -> None:
        self.parameters = parameters
        n = sum(each.array.size for each in parameters)

        def slot(name: str, *shape: int) -> Parameter:
            zeros = np.zeros(shape, dtype)
            return new_parameter(zeros, name=f"LBFGS.{name}", trainable=False)

        self.changes, self.differences = (
            slot("changes", history, n),
            slot("differences", history, n),
        )
        self.weights = slot("weights", history)
        self.gradient, self.change = slot("gradient", n), slot("change", n)
        self.scale = slot("scale")
        self.seen = new_parameter(0, name="LBFGS.seen", dtype=INT64, trainable=False)

    def slots(self) -> dict[str, Parameter]:
        """All of it, by name."""
        return {name: each for name, each in vars(self).items() if isinstance(each, Parameter)}

    def direction(self, gradient: Node) -> tuple[Node, dict[Parameter, Node]]:
        """Where to go from a gradient, and the history with the latest pair."""
        difference = gradient - self.gradient
        curvature = dot(difference, self.change)
        counts = logical_and(curvature > LEAST_CURVATURE, self.seen > 0)
        safe = where(counts, curvature, 1.0)
        changes = _pushed(self.changes, self.change, counts)
        differences = _pushed(self.differences, difference, counts)
        weights = _pushed(self.weights, 1.0 / safe, counts)
        scale = where(counts, safe / where(counts, dot(difference, difference), 1.0), self.scale)
        updates = {
            self.changes: changes,
            self.differences: differences,
            self.weights: weights,
            self.scale: scale,
            self.seen: self.seen + 1,
        }

        def newest_first(rest: Node, pair: Sequence[Node]) -> tuple[Node, Node]:
            change, difference, weight = pair
            share = weight * dot(change, rest)
            return rest - share * difference, share

        def oldest_first(result: Node, pair: Sequence[Node]) -> tuple[Node, tuple[()]]:
            change, difference, weight, share = pair
            return result + (share - weight * dot(difference, result)) * change, ()

        # Places that are still empty have weight 0 and change nothing.
        pairs = (changes, differences, weights)
        rest, shares = scan(newest_first, -gradient, pairs, reverse=True)
        size = where(scale > 0, scale, 1.0)
        result, _ = scan(oldest_first, size * rest, (*pairs, shares))
        return result, updates


def _pushed(kept: Parameter, new: Node, counts: Node) -> Node:
    """What is kept, with one more at its end and the first one gone, if it counts."""
    return where(counts, concatenate([kept[1:], reshape(new, (1, *new.shape))]), kept)


def _flat(nodes: Sequence[Node]) -> Node:
    return concatenate([ravel(each) for each in nodes])


def _pieces(flat: Node, parameters: Sequence[Parameter]) -> list[Node]:
    """The parts of a flat vector in the parameters' shapes."""
    found, start = [], 0
    for each in parameters:
        found.append(reshape(flat[start : start + each.array.size], each.shape))
        start += each.array.size
    return found


def _loss_at(loss: Node, parameters: Sequence[Parameter]) -> Callable[[Node], Node]:
    """The loss as a function of one flat vector for all parameters."""

    def at(flat: Node) -> Node:
        pieces = _pieces(flat, parameters)
        (other,) = substitute([loss], dict(zip(parameters, pieces, strict=True)))
        return other

    return at


def _halved(size: Node, loss_of: Callable[[Node], Node], descent: Node) -> Node:
    """The size, halved until the loss has fallen by enough; 0 if it never does."""
    before = loss_of(size * 0.0)

    def is_too_long(tried: Node) -> Node:
        loss = loss_of(tried)
        wanted = before + cast_to(SUFFICIENT * tried * descent, loss.dtype)
        return logical_not(logical_and(isfinite(loss), loss <= wanted))

    def still(state: tuple[Node, Node]) -> Node:
        tried, count = state
        return logical_and(is_too_long(tried), count < MOST_HALVINGS)

    def half(state: tuple[Node, Node]) -> tuple[Node, Node]:
        return state[0] * 0.5, state[1] + 1

    found, count = while_loop(still, half, (size, 0))
    return where(count < MOST_HALVINGS, found, 0.0)
