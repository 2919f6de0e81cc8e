"""Parameter groups: an optimizer, with its own options, for each."""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.optim.optimizer import Optimizer

__all__ = ["Grouped"]


class Grouped(Optimizer):
    """Several optimizers, each for some of the parameters, in one step.

    Groups may differ in any option, such as the learning rate or weight decay, and in the
    optimizer. Gradients are computed, and clipped, together.

    Parameters
    ----------
    *groups : (Optimizer, iterable of Parameter)
        Each with an optimizer of its own; every parameter is in one group.

    Raises
    ------
    ArgumentError
        If a parameter is in two groups, or an optimizer is given twice.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Dense(4, 2)
    >>> optimizer = gn.optim.Grouped(
    ...     (gn.optim.AdamW(1e-3), [layer.weight]),
    ...     (gn.optim.AdamW(1e-2, weight_decay=0.0), [layer.bias]),
    ... )
    >>> x = gn.input("x", shape=("batch", 4))
    >>> loss = gn.mean(layer(x) ** 2)
    >>> step = gn.compile(x, loss, updates=optimizer.minimize(loss, layer.parameters()))
    """

    takes_complex = True  # the groups' optimizers look for themselves

    def __init__(self, *groups: tuple[Optimizer, Iterable[Parameter]]) -> None:
        super().__init__(0.0)
        self.optimizers: list[Optimizer] = []
        self._of: dict[Parameter, Optimizer] = {}
        for optimizer, parameters in groups:
            if any(optimizer is each for each in self.optimizers):
                raise ArgumentError(
                    f"Grouped: {optimizer!r} is given for two groups",
                    hint="make one for each, for each counts its steps",
                )
            self.optimizers.append(optimizer)
            for each in optimizer.checked_parameters(parameters):
                if each in self._of:
                    raise ArgumentError(f"Grouped: {each!r} is in two groups")
                self._of[each] = optimizer

    def apply(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """See :meth:`Optimizer.apply`."""
        missing = [each for each in gradients if each not in self._of]
        if missing:
            raise ArgumentError(f"Grouped: {missing[0]!r} is in no group")
        updates: dict[Parameter, Node] = {}
        for optimizer in self.optimizers:
            own = {each: g for each, g in gradients.items() if self._of[each] is optimizer}
            if own:
                updates |= optimizer.apply(own)
        return updates

    def remembered(self) -> dict[str, Parameter]:
        """What the groups' optimizers remember, each behind its number."""
        return {
            f"{number}.{name}": each
            for number, optimizer in enumerate(self.optimizers)
            for name, each in optimizer.remembered().items()
        }

    def __repr__(self) -> str:
        return f"Grouped({', '.join(map(repr, self.optimizers))})"
