"""What else is done while a program is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphnn.core.arguments import require_known, require_number
from graphnn.core.errors import ArgumentError, CheckpointError
from graphnn.core.op import Array
from graphnn.core.state import Parameter
from graphnn.core.text import counted
from graphnn.core.values import require_entries
from graphnn.nn.module import Module
from graphnn.optim.plateau import ReduceOnPlateau

if TYPE_CHECKING:
    from graphnn.train.run import Run

__all__ = ["Callback", "EarlyStopping", "Monitor", "OnPlateau"]

GROWING = ("accuracy", "precision", "recall", "f1", "auc", "r2")
"""Ends of the names of measures of which more is better."""


class Callback:
    """Called by :func:`graphnn.train.fit` at certain points; does nothing by itself.

    Examples
    --------
    >>> import graphnn as gn
    >>> class PrintLoss(gn.train.Callback):
    ...     def on_epoch_end(self, measured):
    ...         print(f"{measured['loss']:.1f}")
    >>> data = [([1.0],)]
    >>> _ = gn.train.fit(lambda x: 2.0, data, callbacks=[PrintLoss()], verbose=0)
    2.0
    """

    def on_train_begin(self) -> None:
        """Before the first step."""

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """After every step.

        Parameters
        ----------
        batch : sequence of array
            What the step was given.
        measured : mapping of str to float
            What it gave.
        """

    def on_epoch_end(self, measured: dict[str, float]) -> str | None:
        """After every epoch.

        Parameters
        ----------
        measured : dict of str to float
            The means over the epoch's samples, and those of the validation, which the history
            has already. What is added here is seen by callbacks that come later, such as loggers.

        Returns
        -------
        str or None
            Why training should end now, if it should.
        """
        return None

    def on_save_point(self, run: Run) -> None:
        """After every step and every epoch, when all callbacks have had their turn.

        Here all parts of a run are of one moment: ``run.save(path)`` writes a checkpoint.

        Parameters
        ----------
        run : Run
        """

    def on_train_end(self) -> None:
        """At the end, whatever brought it about: the last epoch, Ctrl-C or an error."""

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints hold of this callback; see :func:`graphnn.io.save`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, after ``on_train_begin``."""


def overridden(callbacks: Sequence[Callback], name: str) -> list[Callable[..., Any]]:
    """The methods of this name of those callbacks that have their own, for calls at every step."""
    usual = getattr(Callback, name)
    return [getattr(each, name) for each in callbacks if getattr(type(each), name) is not usual]


class Monitor:
    """A measure that should become smaller, or larger, and the best value of it so far.

    Parameters
    ----------
    name : str
        Of the measure, such as ``"val_loss"``.
    mode : {"auto", "min", "max"}
        Whether smaller is better; "auto" takes "max" for names that end in a measure of success,
        such as ``accuracy``.
    min_delta : float, default 0
        By how much a value must be better than the best one.

    Examples
    --------
    >>> import graphnn as gn
    >>> monitor = gn.train.Monitor("val_accuracy", "max")
    >>> [monitor.improves(value) for value in (0.5, 0.7, 0.6)]
    [True, True, False]
    """

    def __init__(self, name: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        require_known("Monitor", "mode", mode, ("auto", "min", "max"))
        if mode == "auto":
            mode = "max" if name.endswith(GROWING) else "min"
        self.name, self.mode = name, mode
        self.min_delta = require_number("Monitor", "min_delta", min_delta)
        self.best = math.inf if mode == "min" else -math.inf

    def of(self, measured: Mapping[str, float]) -> float:
        """The measure's value; an error that says what there is if it was not measured."""
        if self.name not in measured:
            raise ArgumentError(
                f"there is no measure {self.name!r}, only {', '.join(map(repr, measured))}",
                hint="val_... needs fit(..., validation=...)",
            )
        return measured[self.name]

    def improves(self, value: float) -> bool:
        """Take in a value; whether it is the best so far."""
        sign = 1.0 if self.mode == "min" else -1.0
        is_better = sign * value < sign * self.best - self.min_delta
        if is_better:
            self.best = value
        return is_better


class EarlyStopping(Callback):
    """End training when a measure has stopped improving, and go back to the best weights.

    The best weights come back whatever ends training: this callback, the last epoch, Ctrl-C or an
    error.

    Parameters
    ----------
    model : Module, or iterable of Parameter
        Whose weights, and other saved state, are kept and brought back.
    monitor : str, default "val_loss"
    min_delta : float, default 0
        By how much a value must be better than the best one.
    patience : int, default 0
        Epochs without improvement that are waited for.
    mode : {"auto", "min", "max"}
        See `Monitor`.
    baseline : float, optional
        A value that must be reached for an epoch to count as an improvement.
    restore_best_weights : bool, default True
    start_from_epoch : int, default 0
        Epochs at the beginning in which nothing is watched.

    Attributes
    ----------
    best_epoch : int or None
        Counted from 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter(0.0, name="w")
    >>> step = gn.compile([], gn.square(w - 2.0), updates={w: w + 1.0})
    >>> stopping = gn.train.EarlyStopping([w], monitor="loss")
    >>> batches = [()]
    >>> history = gn.train.fit(step, batches, epochs=9, callbacks=[stopping], verbose=0)
    >>> history["loss"], stopping.best_epoch, float(w.value)
    ([4.0, 1.0, 0.0, 1.0], 2, 3.0)
    """

    def __init__(
        self,
        model: Module | Iterable[Parameter],
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = True,
        start_from_epoch: int = 0,
    ) -> None:
        require_number("EarlyStopping", "patience", patience)
        self.state = state_of(model)
        self.monitor = Monitor(monitor, mode, min_delta)
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._baseline = baseline
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Begin anew."""
        self.monitor = Monitor(self.monitor.name, self.monitor.mode, self.monitor.min_delta)
        if self._baseline is not None:
            self.monitor.best = self._baseline
        self.best_epoch: int | None = None
        self._best: dict[Parameter, Array] = {}
        self._epoch = -1
        self._waited = 0

    def on_epoch_end(self, measured: Mapping[str, float]) -> str | None:
        """See :meth:`Callback.on_epoch_end`."""
        self._epoch += 1
        value = self.monitor.of(measured)
        if self._epoch < self.start_from_epoch:
            return None
        if self.monitor.improves(value):
            self.best_epoch, self._waited = self._epoch, 0
            self._best = {each: each.value for each in self.state}
            return None
        self._waited += 1
        if self._waited <= self.patience:
            return None
        return f"{self.monitor.name} has not improved for {counted(self._waited, 'epoch')}"

    def on_train_end(self) -> None:
        """Bring the best weights back."""
        if self.restore_best_weights:
            for each, value in self._best.items():
                each.value = value

    def state_dict(self) -> dict[str, Any]:
        """What is counted, the best measure, and the best weights."""
        return {
            "epoch": self._epoch,
            "waited": self._waited,
            "best": self.monitor.best,
            "best_epoch": -1 if self.best_epoch is None else self.best_epoch,
            "weights": list(self._best.values()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on waiting.

        Raises
        ------
        CheckpointError
            If it is not the state of an `EarlyStopping` of such a model.
        """
        require_entries("EarlyStopping", self.state_dict(), state)
        weights = state["weights"]
        shapes = [each.array.shape for each in self.state] if weights else []
        if [value.shape for value in weights] != shapes:
            raise CheckpointError(
                f"the best weights are {len(weights)} arrays, not those of this model",
                hint="was it saved with other layers or options?",
            )
        self._epoch, self._waited = int(state["epoch"]), int(state["waited"])
        self.monitor.best = float(state["best"])
        self.best_epoch = None if state["best_epoch"] < 0 else int(state["best_epoch"])
        self._best = dict(zip(self.state, weights, strict=True)) if weights else {}


class OnPlateau(Callback):
    """Tell a :class:`graphnn.optim.ReduceOnPlateau` a measure after every epoch.

    Parameters
    ----------
    plateau : ReduceOnPlateau
    monitor : str, default "val_loss"

    Examples
    --------
    >>> import graphnn as gn
    >>> plateau = gn.optim.ReduceOnPlateau(0.5, patience=0, factor=0.5)
    >>> callback = gn.train.OnPlateau(plateau, monitor="loss")
    >>> _ = gn.train.fit(lambda: 1.0, [()], 3, callbacks=[callback], verbose=0)
    >>> print(plateau.rate.value)
    0.125
    """

    def __init__(self, plateau: ReduceOnPlateau, monitor: str = "val_loss") -> None:
        self.plateau = plateau
        self.monitor = Monitor(monitor, plateau.mode)

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """See :meth:`Callback.on_epoch_end`."""
        self.plateau.observe(self.monitor.of(measured))

    def state_dict(self) -> dict[str, Any]:
        """That of the plateau."""
        return self.plateau.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the plateau go on."""
        self.plateau.load_state_dict(state)


def state_of(model: Module | Iterable[Parameter]) -> list[Parameter]:
    """What of a model is saved, or the parameters themselves."""
    if isinstance(model, Module):
        return list(model.saved().values())
    return list(model)
