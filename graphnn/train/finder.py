"""Which learning rate to begin with: a short run in which it grows from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphnn.compiler.reports import write_figure
from graphnn.core.arguments import require_number, require_positive
from graphnn.core.errors import ArgumentError, MissingPackageError, ShapeError
from graphnn.core.op import Array
from graphnn.core.state import Parameter
from graphnn.train.loop import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LearningRates", "find_learning_rate"]

SMOOTHING = 0.9
SHARE = 0.2
"""Of the steps: over so many at once the loss is looked at, for it is noisy from step to step."""

DIVERGED = 4.0
"""The run ends when the smoothed loss is so many times the best one."""


@dataclass(frozen=True, repr=False)
class LearningRates:
    """What :func:`find_learning_rate` saw.

    Attributes
    ----------
    rates : numpy.ndarray
        One for each step.
    losses : numpy.ndarray
        Smoothed: an average that forgets a tenth in every step, without the pull of its start.
    """

    rates: Array
    losses: Array

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls most steeply, by the logarithm of the rate.

        Slopes are those of straight lines, by least squares, over a fifth of the steps at a time.
        """
        if len(self.rates) < 3:
            raise ArgumentError("the run ended after fewer than three steps", hint="begin lower")
        width = max(3, round(SHARE * len(self.rates)))
        logs = sliding_window_view(np.log(self.rates), width)
        losses = sliding_window_view(self.losses, width)
        away = logs - logs.mean(axis=1, keepdims=True)
        slopes = (away * losses).sum(axis=1) / (away**2).sum(axis=1)
        return float(self.rates[int(np.argmin(slopes)) + width // 2])

    def __repr__(self) -> str:
        ends = f", {self.rates[0]:.2g} to {self.rates[-1]:.2g}" if len(self.rates) else ""
        return f"<LearningRates {len(self.rates)} steps{ends}>"

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Draw the loss over the rate, with the suggestion.

        Parameters
        ----------
        path : path, optional
            Where to write the picture; the suffix tells the format.

        Raises
        ------
        MissingPackageError
            If matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingPackageError(
                f"plots need matplotlib, which cannot be imported: {error}",
                hint="pip install 'graphnn[viz]'",
            ) from None
        figure = Figure(figsize=(5.0, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, linestyle="--", color="0.4")
        axes.annotate(f" {self.suggestion:.2g}", (self.suggestion, float(self.losses.max())))
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        axes.grid(alpha=0.3)
        if path is not None:
            write_figure(figure, path)
        return figure


def find_learning_rate(
    step: Callable[..., Any],
    rate: Parameter,
    batches: Iterable[Batch],
    state: Iterable[Parameter],
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
) -> LearningRates:
    """Train for some steps while the learning rate grows by equal factors, and go back.

    Source: L. Smith, Cyclical learning rates for training neural networks, arXiv:1506.01186.

    Parameters
    ----------
    step : callable
        A program with updates that gives the loss, or a dict with ``loss`` in it.
    rate : Parameter
        0-d: the learning rate that its optimizer was given.
    batches : iterable of tuple of array
        Gone through again and again until there were enough steps.
    state : iterable of Parameter
        All that the step writes, such as the keys of its updates: it is as before afterwards.
    low, high : float
        The first rate and the last one.
    steps : int, default 100
        It ends before if the loss becomes four times the best one, or is not finite.

    Returns
    -------
    LearningRates

    Raises
    ------
    ArgumentError
        If ``rate`` is no parameter, the rates do not grow, or ``steps`` is not positive.
    ShapeError
        If there are no batches.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.seed(0)
    >>> rate, w = gn.parameter(0.1, trainable=False), gn.parameter([3.0, -2.0])
    >>> loss = gn.sum(gn.square(w))
    >>> updates = gn.optim.SGD(rate).minimize(loss, [w])
    >>> step = gn.compile([], loss, updates=updates)
    >>> found = gn.train.find_learning_rate(step, rate, [()], updates, low=1e-4, high=10)
    >>> 0.01 < found.suggestion < 1.0, w.value
    (True, array([ 3., -2.], dtype=float32))
    """
    if not isinstance(rate, Parameter):
        raise ArgumentError(
            f"find_learning_rate: the rate must be a parameter, not {rate!r}",
            hint="rate = gn.parameter(1e-3, trainable=False), and give it to the optimizer",
        )
    low = require_number("find_learning_rate", "low", low, positive=True)
    high = require_number("find_learning_rate", "high", high, positive=True)
    require_positive("find_learning_rate", steps=steps)
    if high <= low:
        raise ArgumentError(f"find_learning_rate: high is {high}, it must be above low, {low}")
    before = {each: each.value for each in {*state, rate}}
    rates = np.geomspace(low, high, steps)
    try:
        losses = _losses(step, rate, rates, batches)
    finally:
        for each, value in before.items():
            each.value = value
    return LearningRates(rates[: len(losses)], np.array(losses))


def _losses(
    step: Callable[..., Any], rate: Parameter, rates: Array, batches: Iterable[Batch]
) -> list[float]:
    """Smoothed losses, until the run diverges."""
    found: list[float] = []
    average, best = 0.0, math.inf
    while True:
        seen = len(found)
        for batch in batches:
            rate.value = rates[len(found)]
            measured = step(*batch)
            loss = float(measured["loss"] if isinstance(measured, dict) else measured)
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss
            smoothed = average / (1.0 - SMOOTHING ** (len(found) + 1))
            if not math.isfinite(smoothed) or smoothed > DIVERGED * best:
                return found
            best = min(best, smoothed)
            found.append(smoothed)
            if len(found) == len(rates):
                return found
        if len(found) == seen:
            raise ShapeError("find_learning_rate: there are no batches")
