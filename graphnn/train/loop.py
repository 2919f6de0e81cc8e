"""The mini-batch loop: epochs of steps, with a progress bar and a clean stop."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from types import FrameType
from typing import Any

from graphnn.core.arguments import require_positive
from graphnn.core.errors import NonFiniteError
from graphnn.io.checkpoint import Part
from graphnn.train.callbacks import Callback, overridden
from graphnn.train.history import History
from graphnn.train.means import Means
from graphnn.train.progress import Progress
from graphnn.train.report import report
from graphnn.train.run import Run, checkpoint_at

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
    parts: Mapping[str, Part] | None = None,
    resume: str | PathLike[str] | None = None,
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
        With ``resume`` the number to reach, in all; else how many more.
    validation : (callable, iterable), optional
        A program without updates and batches of other data: evaluated after every epoch and
        recorded with the prefix ``val_``.
    history : History, optional
        To go on recording in; default: a new one.
    callbacks : sequence of Callback, optional
        Called after every step and epoch, in this order; one of them may end training. At the end,
        whatever brought it about, they may bring things in order, in the opposite order.
    parts : mapping of str to Part, optional
        What checkpoints of the run hold besides batches, random numbers, history and callbacks:
        ``{"model": model, "optimizer": optimizer}``. See :func:`graphnn.io.save`.
    resume : path, optional
        A checkpoint, or the folder of a :class:`Checkpoint`: go on from it, to the same bits.
        In a folder without checkpoints a run begins, so that the same call does for both.
    verbose : int, default 1
        0 for no progress bar, and no report at the end. There are none either where stderr is not
        a terminal; ``history.report`` has it always.

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
    CheckpointError
        If there is nothing whole to resume from, or it is of another run.

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
    data = None if validation is None else validation[1]
    run = Run(batches, data, epochs, history, callbacks, parts or {})
    for callback in callbacks:
        callback.on_train_begin()
    begun = time.perf_counter()
    try:
        found = None if resume is None else checkpoint_at(resume)
        if found is not None:
            run.resume(found, epochs)
        done = history.epochs, run.means.steps
        bar = Progress(batches, run.epochs, done, verbose)
        with _interruption() as interrupted, bar:
            while not run.is_over:
                if _steps(step, run, callbacks, interrupted, bar):
                    _end_epoch(run, validation, callbacks, interrupted, bar)
    finally:
        for callback in reversed(callbacks):
            callback.on_train_end()
    history.report = report(run, callbacks, time.perf_counter() - begun)
    if bar.is_shown:
        print(history.report, file=sys.stderr)
    return history


def _steps(
    step: Step,
    run: Run,
    callbacks: Sequence[Callback],
    interrupted: Callable[[], bool],
    bar: Progress,
) -> bool:
    """Make the steps that are left of an epoch; whether it came to its end."""
    at_step_end = overridden(callbacks, "on_step_end")
    at_save_point = overridden(callbacks, "on_save_point")
    for batch in run.rest_of_epoch():
        measured = run.means.add(step(*batch), batch)
        if not math.isfinite(measured["loss"]):
            raise NonFiniteError(
                f"the loss is {measured['loss']} in epoch {run.history.epochs + 1}, "
                f"step {run.means.steps}",
                hint="try a smaller learning rate; are there NaNs in the data? "
                'gn.compile(..., debug="nan") names the first operation that gives one',
            )
        for call in at_step_end:
            call(batch, measured)
        bar.step(run.means)
        run.history.interrupted = interrupted()
        for save in at_save_point:
            save(run)
        if run.history.interrupted:
            return False
    return True


def _end_epoch(
    run: Run,
    validation: tuple[Step, Iterable[Batch]] | None,
    callbacks: Sequence[Callback],
    interrupted: Callable[[], bool],
    bar: Progress,
) -> None:
    """Validate, record, and let callbacks see what an epoch measured."""
    measured = run.means.result()
    if validation is not None:
        results = evaluate(*validation)
        measured |= {f"val_{name}": value for name, value in results.items()}
    run.end_epoch(measured)
    bar.tell(measured)
    reasons = [callback.on_epoch_end(measured) for callback in callbacks]
    run.history.stopped = next((reason for reason in reasons if reason), "")
    run.history.interrupted = interrupted()
    for callback in callbacks:
        callback.on_save_point(run)


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
    means = Means("evaluate")
    for batch in batches:
        means.add(program(*batch), batch)
    return means.result()


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
