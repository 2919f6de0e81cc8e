"""Constraints: what weights have to be like after every step, such as no longer than a limit.

A constraint is a function from a value to the nearest one that is allowed, of nodes: one of the
classes here, or any other. ``Constrained`` puts it into the step, behind an optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from graphnn.core.arguments import require_number
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import maximum, minimum, where
from graphnn.ops.norms import norm
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.products import matmul
from graphnn.ops.spectral import svd
from graphnn.optim.lbfgs import LBFGS
from graphnn.optim.optimizer import Optimizer

__all__ = ["Constrained", "MaxNorm", "NonNegative", "Orthogonal", "UnitNorm"]

Constraint: TypeAlias = Callable[[Node], Node]
"""From a value to the nearest one that is allowed, of the same shape and dtype."""

Axes: TypeAlias = int | tuple[int, ...] | None


class Constrained(Optimizer):
    """An optimizer whose steps end where constraints allow: projected gradient descent.

    Values at the start are left as they are until the first step.

    Parameters
    ----------
    optimizer : Optimizer
        Any but `LBFGS`, whose differences of gradients belong to steps that are not cut short.
    *constraints : (callable, iterable of Parameter)
        Each with the parameters that it is for; several for one parameter are applied in order.

    Raises
    ------
    ArgumentError, ShapeError
        If a constraint does not fit a parameter, or changes its shape or dtype.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([[3.0, 0.1], [4.0, 0.2]], name="w")
    >>> optimizer = gn.optim.Constrained(gn.optim.SGD(0.5), (gn.optim.MaxNorm(1.0), [w]))
    >>> loss = gn.sum((w - 2.0) ** 2) / 2.0
    >>> step = gn.compile([], loss, updates=optimizer.minimize(loss, [w]))
    >>> _ = step()
    >>> w.value.round(2)
    array([[0.64, 0.69],
           [0.77, 0.72]], dtype=float32)

    A function serves too, here one that cuts weights:

    >>> cut = gn.optim.Constrained(gn.optim.SGD(0.5), (lambda p: gn.clip(p, -0.1, 0.1), [w]))
    """

    takes_complex = True  # the optimizer within looks for itself

    def __init__(
        self,
        optimizer: Optimizer,
        *constraints: tuple[Constraint, Parameter | Iterable[Parameter]],
    ) -> None:
        super().__init__(0.0)
        if isinstance(optimizer, LBFGS):
            raise ArgumentError(
                "Constrained: LBFGS learns from whole steps, which a constraint cuts short",
                hint="use another optimizer, or a penalty such as gn.losses.l2_penalty",
            )
        self.optimizer = optimizer
        self.constraints = [
            (constraint, optimizer.checked_parameters(parameters))
            for constraint, parameters in constraints
        ]
        for constraint, parameters in self.constraints:
            for each in parameters:
                _require_same_spec(constraint, each)

    def minimize(
        self,
        loss: Node,
        parameters: Parameter | Iterable[Parameter],
        *,
        max_norm: float | None = None,
    ) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.minimize`."""
        return self._projected(self.optimizer.minimize(loss, parameters, max_norm=max_norm))

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.apply`."""
        return self._projected(self.optimizer.apply(gradients))

    def _projected(self, updates: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """The updates, those of constrained parameters brought back to what is allowed."""
        found = dict(updates)
        for constraint, parameters in self.constraints:
            for each in parameters:
                if each not in found:
                    raise ArgumentError(
                        f"Constrained: {each!r} has a constraint, but is not updated",
                        hint="minimize for it too, or leave its constraint out",
                    )
                with in_role("update"):
                    found[each] = constraint(found[each])
        return found

    def remembered(self) -> dict[str, Parameter]:
        """What the optimizer within remembers; constraints remember nothing."""
        return self.optimizer.remembered()

    def __repr__(self) -> str:
        constraints = [repr(constraint) for constraint, _ in self.constraints]
        return f"Constrained({', '.join([repr(self.optimizer), *constraints])})"


class MaxNorm:
    """No vector along some axes is longer than a limit: longer ones are made that long.

    Source: N. Srivastava et al., Dropout: a simple way to prevent neural networks from
    overfitting (2014), section 5.1.

    Parameters
    ----------
    limit : float
        Above 0.
    axis : int, tuple of int or None, default 0
        Along which a vector lies. 0 is all that leads to one output of `graphnn.nn.Dense`, ``(1, 2,
        3)`` to one channel of `graphnn.nn.Conv2d`; None takes all elements as one vector.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.MaxNorm(1.0)(gn.constant([[3.0, 0.1], [4.0, 0.2]]))).round(2)
    array([[0.6, 0.1],
           [0.8, 0.2]], dtype=float32)
    """

    def __init__(self, limit: float, axis: Axes = 0) -> None:
        self.limit = require_number("MaxNorm", "limit", limit, positive=True)
        self.axis = axis

    def __call__(self, value: Node) -> Node:
        """The nearest value that is allowed."""
        wide = widened(value)
        length = norm(wide, axis=self.axis, keepdims=True)
        # The quotient is infinite for a vector of zeros, which stays as it is.
        return cast_to(wide * minimum(1.0, self.limit / length), value.dtype)

    def __repr__(self) -> str:
        return f"MaxNorm({self.limit:g}, axis={self.axis})"


class UnitNorm:
    """Every vector along some axes has length 1; one of zeros stays as it is.

    Parameters
    ----------
    axis : int, tuple of int or None, default 0
        See `MaxNorm`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.UnitNorm()(gn.constant([[3.0, 0.0], [4.0, 0.0]])))
    array([[0.6, 0. ],
           [0.8, 0. ]], dtype=float32)
    """

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = axis

    def __call__(self, value: Node) -> Node:
        """The nearest value that is allowed."""
        wide = widened(value)
        length = norm(wide, axis=self.axis, keepdims=True)
        return cast_to(wide / where(length > 0, length, 1), value.dtype)

    def __repr__(self) -> str:
        return f"UnitNorm(axis={self.axis})"


class NonNegative:
    """No element is below 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.NonNegative()(gn.constant([-1.0, 2.0])))
    array([0., 2.], dtype=float32)
    """

    def __call__(self, value: Node) -> Node:
        """The nearest value that is allowed."""
        return maximum(value, 0)

    def __repr__(self) -> str:
        return "NonNegative()"


class Orthogonal:
    """The columns of a matrix are orthonormal, or the rows of one that is wider than high.

    The nearest such matrix is ``u @ vh`` of the singular value decomposition. Source: N. Higham,
    Computing the polar decomposition (1986). Of stacked matrices, each is taken by itself.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.Orthogonal()(gn.constant([[0.0, 3.0], [-2.0, 0.0]]))).round(3) + 0.0
    array([[ 0.,  1.],
           [-1.,  0.]], dtype=float32)
    """

    def __call__(self, value: Node) -> Node:
        """The nearest value that is allowed."""
        if value.ndim < 2:
            raise ShapeError(f"Orthogonal: it is for matrices, not {shape_text(value.shape)}")
        u, _, vh = svd(widened(value), full_matrices=False)
        return cast_to(matmul(u, vh), value.dtype)

    def __repr__(self) -> str:
        return "Orthogonal()"


def _require_same_spec(constraint: Constraint, parameter: Parameter) -> None:
    """Check that a constraint gives values like those of a parameter."""
    result: Any = constraint(parameter)  # a user's function may give anything
    if not isinstance(result, Node) or result.spec != parameter.spec:
        raise ArgumentError(
            f"Constrained: {constraint!r} gives {result!r} for {parameter!r}",
            hint="a constraint keeps shape and dtype",
        )
