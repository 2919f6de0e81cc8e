"""The callback that saves a training run, so that it can go on after whatever ended it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from graphnn.core.arguments import require_number, require_positive
from graphnn.core.errors import CheckpointError
from graphnn.core.values import require_entries
from graphnn.io.checkpoint import CheckpointWarning
from graphnn.train.callbacks import Callback, Monitor
from graphnn.train.run import LAST, Run

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Save all that a run consists of; ``fit(..., resume=folder)`` goes on bit for bit.

    It saves after the first step, after an epoch or step that is due, at the end, and at Ctrl-C:
    always when all callbacks have had their turn. A process that is killed goes on from what was
    saved last.

    Parameters
    ----------
    folder : path
        Made if it is not there. ``last.ckpt`` in it is the newest checkpoint, and
        ``last.ckpt.previous`` the one before it.
    every_epochs : int or None, default 1
    every_steps : int, optional
        Also within epochs, after so many steps.
    every_seconds : float, optional
        Also within epochs, after the first step that ends so long after the one saved last.
    monitor : str, optional
        A measure such as ``"val_loss"``: ``best.ckpt`` is of the epoch in which it was best.
    mode : {"auto", "min", "max"}
        See `Monitor`.

    Attributes
    ----------
    last, best : Path

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import graphnn as gn
    >>> folder = tempfile.mkdtemp()
    >>> def trained(epochs):
    ...     gn.seed(0)
    ...     x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    ...     batches = gn.data.Batches(x, x**2, batch_size=16, shuffle=True)
    ...     model = gn.nn.Sequential(gn.nn.Dense(1, 8), gn.nn.Tanh(), gn.nn.Dense(8, 1))
    ...     trainer = gn.train.Trainer(model, gn.losses.mse, gn.optim.Adam(0.02))
    ...     saving = gn.train.Checkpoint(folder, monitor="loss")
    ...     return trainer.fit(batches, epochs, callbacks=[saving], resume=folder, verbose=0)
    >>> trained(epochs=3).epochs  # another process, after this one was killed, say:
    3
    >>> trained(epochs=5).epochs
    5
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        what = type(self).__name__
        counts = {"every_epochs": every_epochs, "every_steps": every_steps}
        require_positive(what, **{name: n for name, n in counts.items() if n is not None})
        if every_seconds is not None:
            require_number(what, "every_seconds", every_seconds, positive=True)
        self.folder = Path(folder)
        self.every_epochs, self.every_steps = every_epochs, every_steps
        self.every_seconds = every_seconds
        self.monitor = None if monitor is None else Monitor(monitor, mode)
        self._has_saved = False
        self._begin()

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch, if one is monitored."""
        return self.folder / "best.ckpt"

    def _begin(self) -> None:
        self._epochs = self._steps = 0
        self._is_best = False
        self._saved_at = time.monotonic()
        if self.monitor is not None:
            self.monitor = Monitor(self.monitor.name, self.monitor.mode)

    def on_train_begin(self) -> None:
        """Make the folder."""
        self._begin()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"Checkpoint: the folder {self.folder} cannot be made: {error.strerror or error}",
                where="",
            ) from None

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """Count."""
        self._steps += 1

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """Count, and look whether it was the best one."""
        self._epochs += 1
        if self.monitor is not None:
            self._is_best = self.monitor.improves(self.monitor.of(measured))

    def on_save_point(self, run: Run) -> None:
        """Save if it is time to."""
        is_best = run.is_between_epochs and self._is_best
        is_due = run.is_over or self._is_due(run)
        if not (is_best or is_due):
            return
        if not self._has_saved:
            self._warn_of_another_run(run)
            self._has_saved = True
        # First the best one: who goes on from the last knows that the best one is there.
        if is_best:
            self._is_best = False
            run.save(self.best)
        if is_due:
            run.save(self.last)
            self._saved_at = time.monotonic()

    def _is_due(self, run: Run) -> bool:
        if not self._has_saved and run.resumed is None:
            return True  # early: what else writes files can be cut off to what is known here
        if run.is_between_epochs:
            return self.every_epochs is not None and self._epochs % self.every_epochs == 0
        if self.every_steps is not None and self._steps % self.every_steps == 0:
            return True
        waited = time.monotonic() - self._saved_at
        return self.every_seconds is not None and waited >= self.every_seconds

    def _warn_of_another_run(self, run: Run) -> None:
        resumed = run.resumed is not None and run.resumed.resolve().parent == self.folder.resolve()
        if self.last.exists() and not resumed:
            warnings.warn(
                f"{self.last} is of another run, and is replaced; "
                f"fit(..., resume={str(self.folder)!r}) goes on from it instead",
                CheckpointWarning,
                stacklevel=4,
            )

    def state_dict(self) -> dict[str, Any]:
        """What was counted, and the best measure."""
        best = 0.0 if self.monitor is None else self.monitor.best
        return {"epochs": self._epochs, "steps": self._steps, "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        require_entries("Checkpoint", self.state_dict(), state)
        self._epochs, self._steps = int(state["epochs"]), int(state["steps"])
        if self.monitor is not None:
            self.monitor.best = float(state["best"])
