"""Watching gradients while a model is trained: how long they are, how large, and how many are 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_known, require_positive
from graphnn.core.arrays import to_host
from graphnn.core.dtypes import FLOAT32
from graphnn.core.errors import ArgumentError, CheckpointError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.values import require_entries
from graphnn.ops.arithmetic import abs as magnitude
from graphnn.ops.complex_numbers import real
from graphnn.ops.joining import stack
from graphnn.ops.logic import equal
from graphnn.ops.norms import norm
from graphnn.ops.operands import cast_to, widened
from graphnn.ops.reduction import max as largest
from graphnn.ops.statistics import mean
from graphnn.train.callbacks import Callback

__all__ = ["GradientStatistics", "gradient_table"]

STATISTICS = ("norm", "mean", "max", "zeros")


class GradientStatistics(Callback):
    """Norm, mean, largest magnitude and share of zeros of the gradient of every parameter.

    A :class:`Trainer` computes them in the step itself, from the gradients that it takes anyway,
    in a program of its own for the steps that are watched. Means over the watched steps of an
    epoch are added to what it measured, as ``gradient/layers.0.weight/norm`` and the like: give
    loggers after this one, and they write them.

    Gradients are those before clipping, and with :class:`graphnn.optim.LossScale` not scaled.

    Parameters
    ----------
    every : int, default 10
        The first step is watched, and every step whose number is divided by this.

    Attributes
    ----------
    names : list of str
        Of the parameters.
    steps : list of int
        The numbers of the steps that were watched, from 1.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.seed(0)
    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> model = gn.nn.Sequential(gn.nn.Dense(1, 8), gn.nn.ReLU(), gn.nn.Dense(8, 1))
    >>> trainer = gn.train.Trainer(model, gn.losses.mse, gn.optim.Adam(0.02))
    >>> batches = gn.data.Batches(x, x**2, batch_size=16)
    >>> watching = gn.train.GradientStatistics(every=4)
    >>> _ = trainer.fit(batches, epochs=3, callbacks=[watching], verbose=0)
    >>> watching.steps, watching.of("layers.0.weight", "norm").shape
    ([1, 4, 8, 12], (4,))
    """

    def __init__(self, every: int = 10) -> None:
        require_positive("GradientStatistics", every=every)
        self.every = every
        self.names: list[str] = []
        self.steps: list[int] = []
        self._tables: list[Array] = []
        self._step = 0
        self._in_epoch = 0

    @property
    def is_due(self) -> bool:
        """Whether the next step is one to watch."""
        return self._step == 0 or (self._step + 1) % self.every == 0

    def of(self, name: str, statistic: str) -> Array:
        """One statistic of one parameter's gradient, for all steps that were watched.

        Parameters
        ----------
        name : str
            Of the parameter.
        statistic : {"norm", "mean", "max", "zeros"}
            Euclidean norm; mean; largest magnitude; share of elements that are 0.
        """
        require_known("GradientStatistics", "parameter", name, self.names)
        require_known("GradientStatistics", "statistic", statistic, STATISTICS)
        values = np.array(self._tables)
        return values[:, self.names.index(name), STATISTICS.index(statistic)]

    def observe(self, names: Sequence[str], table: Array) -> None:
        """Take in what :func:`gradient_table` gave in a step.

        Parameters
        ----------
        names : sequence of str
            Of the parameters.
        table : array
            (parameters, 4).

        Raises
        ------
        ArgumentError
            If they are other parameters than those before.
        """
        if self._tables and self.names != list(names):
            raise ArgumentError(
                "GradientStatistics: these are other parameters than those before",
                hint="make one for each model",
            )
        self.names = list(names)
        self.steps.append(self._step + 1)
        self._tables.append(np.asarray(to_host(table)))
        self._in_epoch += 1

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """Count.

        Raises
        ------
        ArgumentError
            If the step was to be watched, and was not.
        """
        if self.is_due and self._step + 1 not in self.steps[-1:]:
            raise ArgumentError(
                f"GradientStatistics: step {self._step + 1} gave no gradients to watch",
                hint="gn.train.Trainer watches them; in a step of your own, hand what "
                "gn.train.gradient_table gave to observe(names, table) while is_due",
            )
        self._step += 1

    def on_epoch_end(self, measured: dict[str, float]) -> None:
        """Add the means over the epoch, or the latest, to what was measured."""
        if not self._tables:
            return
        watched = np.array(self._tables[-max(self._in_epoch, 1) :], np.float64)
        self._in_epoch = 0
        for name, row in zip(self.names, watched.mean(axis=0), strict=True):
            for statistic, value in zip(STATISTICS, row, strict=True):
                measured[f"gradient/{name}/{statistic}"] = float(value)

    def state_dict(self) -> dict[str, Any]:
        """What was watched, and the number of the step."""
        return {
            "step": self._step,
            "in_epoch": self._in_epoch,
            "names": list(self.names),
            "steps": list(self.steps),
            "tables": list(self._tables),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was watched then.

        Raises
        ------
        CheckpointError
            If it is not the state of a `GradientStatistics` of these parameters.
        """
        require_entries("GradientStatistics", self.state_dict(), state)
        if self.names and state["names"] and self.names != state["names"]:
            raise CheckpointError(f"it is of other parameters: {', '.join(state['names'])}")
        self._step, self._in_epoch = int(state["step"]), int(state["in_epoch"])
        self.names, self.steps = list(state["names"]), list(state["steps"])
        self._tables = list(state["tables"])


def gradient_table(gradients: Iterable[Node]) -> Node:
    """What :class:`GradientStatistics` takes, of the gradients of one step; for one's own loops.

    Parameters
    ----------
    gradients : iterable of Node
        Such as the values of ``optimizer.gradients(loss, model.parameters())``.

    Returns
    -------
    Node
        (gradients, 4), float32: norm, mean, largest magnitude, share of zeros. Of complex
        gradients the mean is that of their real parts.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.train.gradient_table([gn.constant([3.0, -4.0, 0.0, 0.0])]))
    array([[ 5.  , -0.25,  4.  ,  0.5 ]], dtype=float32)
    """
    return stack([_row(widened(each)) for each in gradients])


def _row(gradient: Node) -> Node:
    """The statistics of one gradient."""
    of_reals = real(gradient)
    zeros = mean(cast_to(equal(gradient, 0), of_reals.dtype))
    found = norm(gradient), mean(of_reals), largest(magnitude(gradient)), zeros
    return cast_to(stack(found), FLOAT32)
