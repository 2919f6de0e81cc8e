"""What there is to say of a training run at its end, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphnn.core.text import counted
from graphnn.train.callbacks import Callback, Monitor
from graphnn.train.checkpoints import Checkpoint
from graphnn.train.history import History
from graphnn.train.run import Run

__all__ = ["report"]


def report(run: Run, callbacks: Sequence[Callback], seconds: float) -> str:
    """Epochs and speed, the best epoch and the last one, why it ended, where checkpoints lie.

    Parameters
    ----------
    run : Run
    callbacks : sequence of Callback
        Of which the first that monitors a measure says what "best" means; else it is the loss,
        that of the validation if there is one.
    seconds : float
        What the run has taken, in this process.
    """
    history = run.history
    speed = f", {run.samples / seconds:,.0f} samples/s" if run.samples else ""
    made = f"{counted(run.steps, 'step')} in {_duration(seconds)}{speed}"
    lines = [f"{counted(history.epochs, 'epoch')}; {made}"]
    if history.epochs:
        name, best = _best(history, callbacks)
        last = history.epochs - 1
        lines += [f"best {name}: {_epoch(history, best)}"]
        lines += [f"last: {_epoch(history, last)}"] if best != last else []
    lines.append(f"ended: {_reason(run)}")
    lines += [_files(each, run) for each in callbacks if isinstance(each, Checkpoint)]
    return "\n".join(lines)


def _best(history: History, callbacks: Sequence[Callback]) -> tuple[str, int]:
    """The measure that says which epoch is the best one, and that epoch."""
    monitors = [getattr(each, "monitor", None) for each in callbacks]
    names = [each.name for each in monitors if isinstance(each, Monitor)]
    name = next((each for each in [*names, "val_loss"] if each in history.metrics), "loss")
    modes = [each.mode for each in monitors if isinstance(each, Monitor) and each.name == name]
    monitor = Monitor(name, modes[0] if modes else "auto")
    best = 0
    for epoch, value in enumerate(history[name]):
        if monitor.improves(value):
            best = epoch
    return name, best


def _epoch(history: History, epoch: int) -> str:
    """What one epoch measured; measures that began later are counted from the end."""
    back = epoch - history.epochs
    measured: Mapping[str, float] = {
        name: values[back] for name, values in history.metrics.items() if len(values) >= -back
    }
    return f"epoch {epoch + 1}: {', '.join(f'{name} {v:.4g}' for name, v in measured.items())}"


def _reason(run: Run) -> str:
    if run.history.interrupted:
        where = f", after step {run.means.steps} of epoch {run.history.epochs + 1}"
        return f"interrupted{'' if run.is_between_epochs else where}"
    return run.history.stopped or "all epochs are made"


def _files(checkpoint: Checkpoint, run: Run) -> str:
    monitor = checkpoint.monitor
    best = f", best {monitor.name} in {checkpoint.best}" if monitor is not None else ""
    hint = f"; resume={str(checkpoint.folder)!r} goes on" if run.history.interrupted else ""
    return f"saved: {checkpoint.last}{best}{hint}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
