"""A learning rate that falls when validation no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graphnn.core.arguments import require_known, require_number, require_positive
from graphnn.core.dtypes import FLOAT32
from graphnn.core.state import parameter
from graphnn.core.values import require_entries

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau:
    """Multiply the learning rate by a factor when a measure has stopped improving.

    Parameters
    ----------
    initial : float
    factor : float, default 0.1
    patience : int, default 10
        Measures without improvement that are waited for.
    least : float, default 0
        The rate never falls below.
    threshold : float, default 1e-4
        Share of the best measure by which another one must be better.
    cooldown : int, default 0
        Measures after a reduction in which nothing is counted.
    mode : {"min", "max"}
        Whether smaller measures are better, or larger ones.

    Attributes
    ----------
    rate : Parameter
        0-d, float32: the learning rate to give to an optimizer.

    Examples
    --------
    >>> import graphnn as gn
    >>> plateau = gn.optim.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> optimizer = gn.optim.Adam(plateau.rate)
    >>> for loss in [1.0, 0.9, 0.95, 0.93]:
    ...     print(plateau.observe(loss))
    False
    False
    False
    True
    >>> print(plateau.rate.value)
    0.05
    """

    def __init__(
        self,
        initial: float,
        factor: float = 0.1,
        patience: int = 10,
        *,
        least: float = 0.0,
        threshold: float = 1e-4,
        cooldown: int = 0,
        mode: str = "min",
    ) -> None:
        what = "ReduceOnPlateau"
        initial = require_number(what, "initial", initial)
        self.factor = require_number(what, "factor", factor, below=1.0)
        require_positive(what, **{"patience + 1": patience + 1, "cooldown + 1": cooldown + 1})
        require_known(what, "mode", mode, ("min", "max"))
        self.patience, self.cooldown, self.mode = patience, cooldown, mode
        self.least = require_number(what, "least", least)
        self.threshold = require_number(what, "threshold", threshold)
        self.rate = parameter(initial, name="learning_rate", dtype=FLOAT32, trainable=False)
        self.best = math.inf if mode == "min" else -math.inf
        self._waited = 0
        self._cooling = 0

    def observe(self, measure: float) -> bool:
        """Take in a measure; whether the rate was reduced."""
        if self._is_better(measure):
            self.best, self._waited = measure, 0
        else:
            self._waited += 1
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        if self._waited <= self.patience:
            return False
        before = float(self.rate.value)
        self.rate.value = max(before * self.factor, self.least)
        self._cooling, self._waited = self.cooldown, 0
        return float(self.rate.value) < before

    def state_dict(self) -> dict[str, Any]:
        """The rate, the best measure, and what is counted since."""
        return {
            "rate": self.rate.value,
            "best": self.best,
            "waited": self._waited,
            "cooling": self._cooling,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; all of it is taken, or nothing if something is wrong.

        Parameters
        ----------
        state : mapping
            As :meth:`state_dict` gives it.

        Raises
        ------
        CheckpointError
            If it is not the state of a `ReduceOnPlateau`.
        """
        require_entries("ReduceOnPlateau", self.state_dict(), state)
        self.rate.value = state["rate"]
        self.best = float(state["best"])
        self._waited, self._cooling = int(state["waited"]), int(state["cooling"])

    def _is_better(self, measure: float) -> bool:
        if math.isinf(self.best):
            return measure < self.best if self.mode == "min" else measure > self.best
        if self.mode == "min":
            return measure < self.best - abs(self.best) * self.threshold
        return measure > self.best + abs(self.best) * self.threshold
