"""What optimizers and the like remember from step to step, by name: their part of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from graphnn.core.op import Array
from graphnn.core.state import Parameter
from graphnn.core.values import set_values

__all__ = ["Remembering", "by_name"]


class Remembering:
    """The base of all that keeps parameters of its own: a subclass gives ``remembered``."""

    def remembered(self) -> dict[str, Parameter]:
        """All that is kept from step to step, by name."""
        raise NotImplementedError(f"{type(self).__name__} has no remembered")

    def state_dict(self) -> dict[str, Array]:
        """Copies of all that is kept from step to step, by name.

        What belongs to a parameter of the model begins with that parameter's name.
        """
        return {name: each.value for name, each in self.remembered().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; all of it is taken, or nothing if something is wrong.

        Build programs first, then load: slots of optimizers are there once ``minimize`` was called.

        Parameters
        ----------
        state : mapping of str to array_like
            As :meth:`state_dict` gives it.

        Raises
        ------
        CheckpointError
            Lists all names that are missing, unexpected, or of another shape or kind of dtype.
        """
        set_values(type(self).__name__, self.remembered(), state)


def by_name(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Parameters by name; those of equal names, or without, are numbered in their order."""
    listed = [(each.name or "parameter", each) for each in parameters]
    shared = Counter(name for name, _ in listed)
    seen: Counter[str] = Counter()
    found: dict[str, Parameter] = {}
    for name, each in listed:
        found[f"{name}[{seen[name]}]" if shared[name] > 1 else name] = each
        seen[name] += 1
    return found
