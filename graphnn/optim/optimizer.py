"""What all optimizers share: gradients, slots, the learning rate, and checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from graphnn.compiler.autodiff.derivatives import grad
from graphnn.core.arguments import require_number
from graphnn.core.dtypes import FLOAT32, INT64, DType, is_complex, is_floating, is_half, is_inexact
from graphnn.core.errors import ArgumentError, DTypeError, GradientError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.remembered import Remembering, by_name
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter, parameter
from graphnn.ops.constants import constant
from graphnn.ops.operands import cast_to
from graphnn.optim.clipping import clip_by_global_norm
from graphnn.optim.schedules import Schedule, rate_of

__all__ = ["Optimizer"]

Rate: TypeAlias = float | Schedule | Node
"""What a learning rate may be given as."""


class Optimizer(Remembering):
    """The base of optimizers: a subclass gives ``update``.

    State belongs to the optimizer: a second call of :meth:`minimize` for the same parameters goes
    on with the same slots. Half-precision parameters have slots, and are updated, in float32.

    Parameters
    ----------
    learning_rate : float, Schedule or Node
        A number, what computes one from the number of steps, or a 0-d float node such as a
        parameter that is set between steps.

    Attributes
    ----------
    slots : dict of Parameter to dict of str to Parameter
        What is remembered for each parameter, by name.
    step : Parameter
        How many updates were made: 0-d, int64.
    takes_complex : bool
        Whether ``update`` is right for complex parameters: it is where it is linear in the
        gradient, and not where it squares it.

    Examples
    --------
    >>> import graphnn as gn
    >>> class SignDescent(gn.optim.Optimizer):
    ...     def update(self, parameter, value, gradient):
    ...         return value - self.rate(value.dtype) * gn.sign(gradient), {}
    >>> w = gn.parameter([1.0, -2.0], name="w")
    >>> step = gn.compile([], (), updates=SignDescent(0.5).minimize(gn.sum(w**2), [w]))
    >>> _ = step()
    >>> w.value
    array([ 0.5, -1.5], dtype=float32)
    """

    takes_complex = False

    def __init__(self, learning_rate: Rate) -> None:
        self.learning_rate = _checked_rate(type(self).__name__, learning_rate)
        self.slots: dict[Parameter, dict[str, Parameter]] = {}
        self.step = parameter(0, name=f"{type(self).__name__}.step", dtype=INT64, trainable=False)

    def minimize(
        self,
        loss: Node,
        parameters: Parameter | Iterable[Parameter],
        *,
        max_norm: float | None = None,
    ) -> dict[Parameter, Node]:
        """The updates of one step, for :func:`graphnn.compile`.

        Parameters
        ----------
        loss : Node
            0-d.
        parameters : iterable of Parameter
            Trainable, each once.
        max_norm : float, optional
            Gradients that are longer together are made that long first: see
            :func:`graphnn.optim.clip_by_global_norm`.

        Returns
        -------
        dict of Parameter to Node
            New values of the parameters, their slots, and the step counter.

        Raises
        ------
        ArgumentError
            If there are no parameters, one is given twice, not trainable, or not a parameter; if
            ``max_norm`` is not above 0.
        GradientError
            If the loss does not depend on one of them.

        Examples
        --------
        >>> import graphnn as gn
        >>> w = gn.parameter([1.0, -2.0], name="w")
        >>> loss = gn.sum(w**2)
        >>> step = gn.compile([], loss, updates=gn.optim.SGD(0.25).minimize(loss, [w]))
        >>> step()
        array(5., dtype=float32)
        >>> w.value
        array([ 0.5, -1. ], dtype=float32)
        """
        gradients = self.gradients(loss, parameters)
        if max_norm is not None:
            gradients = clip_by_global_norm(gradients, max_norm)
        return self.apply(gradients)

    def gradients(
        self, loss: Node, parameters: Parameter | Iterable[Parameter]
    ) -> dict[Parameter, Node]:
        """The gradients of a loss, for :meth:`apply`; see :meth:`minimize`."""
        listed = self.checked_parameters(parameters)
        try:
            gradients = grad(loss, listed)
        except GradientError as error:
            raise GradientError(error.what, hint="leave it out of what is minimized") from None
        return dict(zip(listed, gradients, strict=True))

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """The updates of one step from gradients, for gradients that are clipped or averaged.

        Parameters
        ----------
        gradients : dict of Parameter to Node

        Returns
        -------
        dict of Parameter to Node
        """
        self.checked_parameters(gradients)
        updates: dict[Parameter, Node] = {}
        for each, gradient in gradients.items():
            with in_role("update"):
                wide = _wide(each.dtype)
                new, slots = self.update(each, cast_to(each, wide), cast_to(gradient, wide))
                updates[each] = cast_to(new, each.dtype)
                updates.update(slots)
        with in_role("update"):
            updates[self.step] = self.step + 1
        return updates

    def update(
        self, parameter: Parameter, value: Node, gradient: Node
    ) -> tuple[Node, dict[Parameter, Node]]:
        """The new value of one parameter, and those of its slots.

        Parameters
        ----------
        parameter : Parameter
            Whose slots are used.
        value, gradient : Node
            Its value and gradient, in float32 if it is of half precision.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def slot(self, of: Parameter, name: str, initial: float = 0.0) -> Parameter:
        """State of a parameter's shape, equal numbers at first, called ``<parameter>.<name>``."""
        own = self.slots.setdefault(of, {})
        if name not in own:
            shape = tuple(int(size) for size in of.shape)
            own[name] = parameter(
                np.full(shape, initial, _wide(of.dtype)),
                f"{of.name or 'parameter'}.{name}",
                trainable=False,
            )
        return own[name]

    def remembered(self) -> dict[str, Parameter]:
        """The step counter, all slots, and the learning rate if that is a parameter."""
        found = {"step": self.step}
        if isinstance(self.learning_rate, Parameter):
            found["learning_rate"] = self.learning_rate
        for name, each in by_name(self.slots).items():
            found |= {f"{name}.{slot}": kept for slot, kept in self.slots[each].items()}
        return found

    def rate(self, dtype: DType) -> Node:
        """The learning rate as a node of a dtype."""
        if isinstance(self.learning_rate, Schedule):
            return cast_to(rate_of(self.learning_rate, self.step), dtype)
        if isinstance(self.learning_rate, Node):
            return cast_to(self.learning_rate, dtype)
        return constant(self.learning_rate, dtype)

    def checked_parameters(self, parameters: Parameter | Iterable[Parameter]) -> list[Parameter]:
        """The parameters as a list, if all of them can be trained; see :meth:`minimize`."""
        what = type(self).__name__
        listed: list[Any] = [parameters] if isinstance(parameters, Node) else list(parameters)
        if not listed:
            raise ArgumentError(f"{what}: there are no parameters to train")
        seen: set[Parameter] = set()
        for each in listed:
            if not isinstance(each, Parameter):
                raise ArgumentError(f"{what}: {each!r} is not a parameter")
            if not each.trainable:
                raise ArgumentError(
                    f"{what}: {each!r} is not trainable",
                    hint="leave it out, or make it with trainable=True",
                )
            if is_complex(each.dtype) and not self.takes_complex:
                raise ArgumentError(
                    f"{what}: {each!r} is complex, and {what} works on real numbers",
                    hint="use SGD, or train two real parameters: gn.complex(re, im)",
                )
            if not is_inexact(each.dtype):
                raise ArgumentError(f"{what}: {each!r} is not floating and cannot be trained")
            if each in seen:
                raise ArgumentError(f"{what}: {each!r} is given twice")
            seen.add(each)
        return listed

    def __repr__(self) -> str:
        rate = self.learning_rate
        return f"{type(self).__name__}({rate if isinstance(rate, float) else repr(rate)})"


def with_decay(gradient: Node, value: Node, weight_decay: float) -> Node:
    """The gradient of the loss plus half of ``weight_decay`` times the squared weights."""
    return gradient + weight_decay * value if weight_decay else gradient


def running_mean(before: Node, new: Node, keep: float) -> Node:
    """The mean of values so far, in which older ones fade: a step keeps so much of them."""
    return keep * before + (1.0 - keep) * new


def _wide(dtype: DType) -> DType:
    """The dtype that updates are computed in."""
    return FLOAT32 if is_half(dtype) else dtype


def _checked_rate(what: str, rate: Any) -> Rate:
    if isinstance(rate, Schedule):
        return rate
    if isinstance(rate, Node):
        if not is_floating(rate.dtype):
            raise DTypeError(f"{what}: the learning rate must be floating, not {rate.dtype.name}")
        if rate.shape != ():
            raise ShapeError(
                f"{what}: the learning rate is one number, not {shape_text(rate.shape)}"
            )
        return rate
    return require_number(what, "the learning rate", rate)
