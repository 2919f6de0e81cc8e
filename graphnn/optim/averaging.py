"""Running averages of weights, which often do better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from graphnn.core.arguments import require_number
from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.provenance import in_role
from graphnn.core.remembered import Remembering, by_name
from graphnn.core.state import Parameter, parameter
from graphnn.ops.operands import cast_to
from graphnn.optim.optimizer import running_mean

__all__ = ["Average"]


class Average(Remembering):
    """Exponential moving averages of parameters: ``a = decay * a + (1 - decay) * p``.

    Parameters
    ----------
    parameters : iterable of Parameter
    decay : float, default 0.999
        How much of the past stays; from 0 to below 1.

    Attributes
    ----------
    averages : dict of Parameter to Parameter
        The average of each, at first its value; in float32 for half precision.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter(0.0, name="w")
    >>> average = gn.optim.Average([w], decay=0.5)
    >>> updates = average.track(gn.optim.SGD(1.0).minimize(-w, [w]))  # one up in every step
    >>> step = gn.compile([], w, updates=updates)
    >>> _ = step(), step()
    >>> with average.in_place():
    ...     print(w.value)
    1.25
    >>> print(w.value)
    2.0
    """

    def __init__(self, parameters: Iterable[Parameter], decay: float = 0.999) -> None:
        self.decay = require_number("Average", "decay", decay, below=1.0)
        self.averages: dict[Parameter, Parameter] = {}
        for each in parameters:
            dtype = FLOAT32 if is_half(each.dtype) else each.dtype
            name = f"{each.name or 'parameter'}.average"
            value = each.array.astype(dtype)
            self.averages[each] = parameter(value, name=name, trainable=False)
        if not self.averages:
            raise ArgumentError("Average: there are no parameters")

    def track(self, updates: Mapping[Parameter, Node]) -> dict[Parameter, Node]:
        """Updates that renew the averages too, from the parameters' new values.

        Parameters
        ----------
        updates : mapping of Parameter to Node
            Such as :meth:`Optimizer.minimize` gives.
        """
        tracked = dict(updates)
        with in_role("update"):
            for each, average in self.averages.items():
                new = cast_to(updates.get(each, each), average.dtype)
                tracked[average] = running_mean(average, new, self.decay)
        return tracked

    def remembered(self) -> dict[str, Parameter]:
        """The averages, by the names of their parameters."""
        return {name: self.averages[each] for name, each in by_name(self.averages).items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """For a while the parameters have their averages as values, for every program."""
        before = {each: each.value for each in self.averages}
        try:
            for each, average in self.averages.items():
                each.value = average.value.astype(np.dtype(each.dtype))
            yield
        finally:
            for each, value in before.items():
                each.value = value
