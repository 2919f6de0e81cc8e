"""The mini-batch loop: epochs of steps, with a progress bar and a clean stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from types import FrameType
from typing import Any

from graphnn.core.arguments import require_positive
from graphnn.core.errors import ArgumentError, NonFiniteError, ShapeError
from graphnn.train.callbacks import Callback
from graphnn.train.history import History

__all__ = ["evaluate", "fit"]

Step = Callable[..., Any]
Batch = Sequence[Any]


def fit(
    step: Step,
    batches: Iterable[Batch],
    epochs: int = 1,
    *,
    validation: tuple[Step, Iterable[Batch]] | None = None,
    history: History | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: int = 1,
) -> History:
    """Train: call ``step`` with every batch, epoch after epoch.

    Ctrl-C lets the step under way finish and ends the run; the parameters are those after a whole
    step, and another call goes on from there. A second Ctrl-C interrupts at once.

    Parameters
    ----------
    step : callable
        A program with updates, or any function of a batch's arrays. It gives the loss, or a dict
        of measures with ``loss`` among them.
    batches : iterable of tuple of array
        Gone through once per epoch, such as :class:`graphnn.data.Batches`.
    epochs : int, default 1
    validation : (callable, iterable), optional
        A program without updates and batches of other data: evaluated after every epoch and
        recorded with the prefix ``val_``.
    history : History, optional
        To go on recording in; default: a new one.
    callbacks : sequence of Callback, optional
        Called after every step and epoch, in this order; one of them may end training. At the end,
        whatever brought it about, they may bring things in order.
    verbose : int, default 1
        0 for no progress bar. There is none either where stderr is not a terminal.

    Returns
    -------
    History
        The mean of every measure over the samples of each epoch.

    Raises
    ------
    ArgumentError
        If ``epochs`` is less than 1, or ``step`` gives no loss.
    ShapeError
        If there are no batches.
    NonFiniteError
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch",))
    >>> w = gn.parameter(0.0, name="w")
    >>> loss = gn.losses.mse(w * x, 2.0 * x)
    >>> step = gn.compile(x, loss, updates=gn.optim.SGD(0.1).minimize(loss, [w]))
    >>> data = gn.data.Batches(np.linspace(-1, 1, 8, dtype="float32"), batch_size=4)
    >>> history = gn.train.fit(step, data, epochs=50, verbose=0)
    >>> round(float(w.value), 3)
    2.0
    """
    require_positive("fit", epochs=epochs)
    history = History() if history is None else history
    history.interrupted, history.stopped = False, ""
    for callback in callbacks:
        callback.on_train_begin()
    try:
        with _interruption() as interrupted, progress(batches, epochs, verbose) as bar:
            for epoch in range(epochs):
                measured = _epoch(step, batches, epoch, callbacks, interrupted, bar)
                if measured is None:
                    history.interrupted = True
                    break
                if validation is not None:
                    results = evaluate(*validation)
                    measured |= {f"val_{name}": value for name, value in results.items()}
                history.record(measured)
                bar.set_postfix({name: f"{value:.4g}" for name, value in measured.items()})
                reasons = [callback.on_epoch_end(measured) for callback in callbacks]
                history.stopped = next((reason for reason in reasons if reason), "")
                history.interrupted = interrupted()
                if history.stopped or history.interrupted:
                    break
    finally:
        for callback in callbacks:
            callback.on_train_end()
    return history


def _epoch(
    step: Step,
    batches: Iterable[Batch],
    epoch: int,
    callbacks: Sequence[Callback],
    interrupted: Callable[[], bool],
    bar: Any,
) -> dict[str, float] | None:
    """The means of one epoch; None if it was interrupted."""
    means = _Means("fit")
    for batch in batches:
        measured = means.add(step(*batch), batch)
        if not math.isfinite(measured["loss"]):
            raise NonFiniteError(
                f"the loss is {measured['loss']} in epoch {epoch + 1}, step {means.steps}",
                hint="try a smaller learning rate; are there NaNs in the data? "
                'gn.compile(..., debug="nan") names the first operation that gives one',
            )
        for callback in callbacks:
            callback.on_step_end(batch, measured)
        bar.update()
        if interrupted():
            return None
    return means.result()


def evaluate(program: Step, batches: Iterable[Batch]) -> dict[str, float]:
    """The means of what a program measures, over the samples of all batches.

    Parameters
    ----------
    program : callable
        From a batch's arrays to a loss, or a dict of measures; each a mean over the batch.
    batches : iterable of tuple of array

    Returns
    -------
    dict of str to float
        ``{"loss": ...}`` for a program that gives one number.

    Raises
    ------
    ArgumentError
        If the program gives something else.
    ShapeError
        If there are no batches.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> data = gn.data.Batches(np.arange(5.0), batch_size=2)
    >>> gn.train.evaluate(lambda x: {"mean": x.mean()}, data)
    {'mean': 2.0}
    """
    means = _Means("evaluate")
    for batch in batches:
        means.add(program(*batch), batch)
    return means.result()


class _Means:
    """Means over samples: a smaller last batch counts less."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.steps = 0
        self.samples = 0
        self.totals: dict[str, float] = {}

    def add(self, given: Any, batch: Batch) -> dict[str, float]:
        """Take in what was measured on a batch, and give it as numbers by name."""
        measured = self._numbers(given)
        weight = len(batch[0]) if len(batch) and getattr(batch[0], "ndim", 1) else 1
        self.steps += 1
        self.samples += weight
        for name, value in measured.items():
            self.totals[name] = self.totals.get(name, 0.0) + weight * value
        return measured

    def _numbers(self, given: Any) -> dict[str, float]:
        measured = given if isinstance(given, Mapping) else {"loss": given}
        try:
            numbers = {str(name): float(value) for name, value in measured.items()}
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
        """The means."""
        if not self.steps:
            raise ShapeError(
                f"{self.what}: there are no batches",
                hint="a generator is used up after one epoch; use gn.data.Batches or a list",
            )
        return {name: total / max(self.samples, 1) for name, total in self.totals.items()}


def progress(batches: Iterable[Batch], epochs: int, verbose: int) -> Any:
    """A bar over all steps; silent where nobody would see it."""
    from tqdm import tqdm

    total = epochs * len(batches) if isinstance(batches, Sized) else None
    return tqdm(total=total, unit="step", disable=None if verbose else True)


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, asked between steps; the second time it acts at once.

    Elsewhere than in the main thread, or where the user handles Ctrl-C, nothing changes.
    """
    pressed = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    usual = signal.default_int_handler
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not usual:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, usual)
