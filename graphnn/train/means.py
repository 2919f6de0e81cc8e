"""Means of what steps measure, over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.values import require_entries

__all__ = ["Means"]


class Means:
    """Means over samples: a smaller last batch counts less.

    Parameters
    ----------
    what : str
        Whose they are, for errors.

    Attributes
    ----------
    steps, samples : int
        How many were taken in.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        self.steps = 0
        self.samples = 0
        self._totals: dict[str, float] = {}

    def add(self, given: Any, batch: Sequence[Any]) -> dict[str, float]:
        """Take in what was measured on a batch, and give it as numbers by name."""
        measured = self._numbers(given)
        weight = len(batch[0]) if len(batch) and getattr(batch[0], "ndim", 1) else 1
        self.steps += 1
        self.samples += weight
        totals = self._totals
        for name, value in measured.items():
            totals[name] = totals.get(name, 0.0) + weight * value
        return measured

    def _numbers(self, given: Any) -> dict[str, float]:
        try:
            if isinstance(given, Mapping):
                numbers = {str(name): float(value) for name, value in given.items()}
            else:
                numbers = {"loss": float(given)}
        except (TypeError, ValueError):
            numbers = {}
        if not numbers or (self.what == "fit" and "loss" not in numbers):
            raise ArgumentError(
                f"{self.what}: a step must give a loss, or a dict of numbers with 'loss' among "
                f"them, not {given!r}",
                hint="compile it with outputs=loss, or outputs={'loss': loss, ...}",
            )
        return numbers

    def result(self) -> dict[str, float]:
        """The means.

        Raises
        ------
        ShapeError
            If nothing was taken in.
        """
        if not self.steps:
            raise ShapeError(
                f"{self.what}: there are no batches",
                hint="a generator is used up after one epoch; use gn.data.Batches or a list",
            )
        return {name: total / max(self.samples, 1) for name, total in self._totals.items()}

    def state_dict(self) -> dict[str, Any]:
        """What was taken in so far."""
        return {"steps": self.steps, "samples": self.samples, "totals": dict(self._totals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was taken in then.

        Raises
        ------
        CheckpointError
            If it is not the state of means.
        """
        require_entries("Means", self.state_dict(), state)
        self.steps, self.samples = int(state["steps"]), int(state["samples"])
        self._totals = {name: float(total) for name, total in state["totals"].items()}
