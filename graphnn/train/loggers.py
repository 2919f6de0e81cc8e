"""Callbacks that write what is measured: CSV, lines of JSON, TensorBoard; and where time goes."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from graphnn.core.arguments import require_positive
from graphnn.core.errors import ArgumentError, MissingPackageError
from graphnn.core.values import require_entries
from graphnn.train.callbacks import Callback

__all__ = ["CSVLogger", "JSONLinesLogger", "TensorBoard", "Timing"]


class _FileLogger(Callback):
    """One line for every epoch, written before the next epoch begins.

    A run that is resumed goes on where the checkpoint was: lines of later epochs, which are made
    again, are cut off.

    Parameters
    ----------
    path : path
        Made with its folders; lines are appended to a file that is there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None
        self._epoch = self._size = 0

    def on_train_begin(self) -> None:
        """Open the file; go on counting the epochs that it holds."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._epoch = self.known()
            self._file = self.path.open("a", newline="", encoding="utf-8")
            self._size = self._file.tell()
        except OSError as error:
            raise ArgumentError(
                f"{type(self).__name__}: cannot write {self.path}: {error.strerror}", where=""
            ) from None

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """Write a line."""
        assert self._file is not None
        if self._file.tell() > self._size:
            self._file.truncate(self._size)
            self.known()  # what the file begins with may be gone, too
        self.write(self._file, {"epoch": self._epoch, **measured})
        self._file.flush()
        self._size = self._file.tell()
        self._epoch += 1

    def on_train_end(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        """How far the file was written."""
        return {"file": self.path.name, "epoch": self._epoch, "size": self._size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, if it is a file of this name."""
        require_entries(type(self).__name__, self.state_dict(), state)
        if state["file"] == self.path.name:
            self._epoch = int(state["epoch"])
            self._size = min(self._size, int(state["size"]))

    def known(self) -> int:
        """Epochs in the file."""
        raise NotImplementedError

    def write(self, file: TextIO, row: Mapping[str, float]) -> None:
        """Append one epoch."""
        raise NotImplementedError


class CSVLogger(_FileLogger):
    """A table of all measures, one row for every epoch, with a header.

    Parameters
    ----------
    path : path
        Made with its folders; rows are appended to a file that is there.

    Raises
    ------
    ArgumentError
        If the file cannot be written, or measures other things than its header says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> logger = gn.train.CSVLogger(path)
    >>> _ = gn.train.fit(lambda: 0.5, [()], 2, callbacks=[logger], verbose=0)
    >>> path.read_text().split()
    ['epoch,loss', '0,0.5', '1,0.5']
    """

    def known(self) -> int:
        """Epochs in the file."""
        if not self.path.exists():
            self._header: list[str] = []
            return 0
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self._header = rows[0] if rows else []
        return max(len(rows) - 1, 0)

    def write(self, file: TextIO, row: Mapping[str, float]) -> None:
        """Append one epoch, and before the first one the header."""
        writer = csv.writer(file, lineterminator="\n")
        if not self._header:
            self._header = list(row)
            writer.writerow(self._header)
        if list(row) != self._header:
            raise ArgumentError(
                f"CSVLogger: {self.path} has the columns {', '.join(self._header)}, the epoch has "
                f"{', '.join(row)}",
                hint="write another file",
                where="",
            )
        writer.writerow(row.values())


class JSONLinesLogger(_FileLogger):
    """One object of JSON on a line for every epoch.

    Parameters
    ----------
    path : path
        Made with its folders; lines are appended to a file that is there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> logger = gn.train.JSONLinesLogger(path)
    >>> _ = gn.train.fit(lambda: 0.5, [()], 2, callbacks=[logger], verbose=0)
    >>> print(path.read_text().strip())
    {"epoch": 0, "loss": 0.5}
    {"epoch": 1, "loss": 0.5}
    """

    def known(self) -> int:
        """Epochs in the file."""
        if not self.path.exists():
            return 0
        with self.path.open(encoding="utf-8") as file:
            return sum(1 for _ in file)

    def write(self, file: TextIO, row: Mapping[str, float]) -> None:
        """Append one epoch."""
        file.write(json.dumps(row) + "\n")


class TensorBoard(Callback):
    """Measures of every epoch, and losses of every so many steps, for TensorBoard.

    Parameters
    ----------
    folder : path
    every : int, default 100
        Steps between losses that are written.

    Raises
    ------
    MissingPackageError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 100) -> None:
        require_positive("TensorBoard", every=every)
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingPackageError(
                "writing for TensorBoard needs tensorboardX", hint="pip install tensorboardX"
            ) from None
        self.folder, self.every = os.fspath(folder), every
        self._open = SummaryWriter
        self._writer: Any = None
        self._step = self._epoch = 0

    def on_train_begin(self) -> None:
        """Open a file of events."""
        self._writer = self._open(self.folder)

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """See :meth:`Callback.on_step_end`."""
        self._step += 1
        if self._step % self.every == 0:
            self._writer.add_scalar("step/loss", measured["loss"], self._step)

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """See :meth:`Callback.on_epoch_end`."""
        for name, value in measured.items():
            self._writer.add_scalar(name, value, self._epoch)
        self._epoch += 1

    def on_train_end(self) -> None:
        """Close the file."""
        self._writer.close()

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the step and the epoch."""
        return {"step": self._step, "epoch": self._epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on numbering."""
        require_entries("TensorBoard", self.state_dict(), state)
        self._step, self._epoch = int(state["step"]), int(state["epoch"])


class Timing(Callback):
    """How long epochs and steps take.

    Attributes
    ----------
    epochs : list of float
        Seconds of every epoch, validation included.
    steps : list of float
        Seconds from the end of one step to the end of the next, within an epoch: the step, its
        batch, and callbacks before this one.

    Examples
    --------
    >>> import graphnn as gn
    >>> timing = gn.train.Timing()
    >>> _ = gn.train.fit(lambda: 0.5, [(), (), ()], 2, callbacks=[timing], verbose=0)
    >>> len(timing.epochs), len(timing.steps)
    (2, 4)
    """

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.steps: list[float] = []
        self._begun = self._before = 0.0
        self._is_first = True

    def on_train_begin(self) -> None:
        """Start the clock."""
        self._begun = time.perf_counter()
        self._is_first = True

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """See :meth:`Callback.on_step_end`."""
        now = time.perf_counter()
        if not self._is_first:
            self.steps.append(now - self._before)
        self._before, self._is_first = now, False

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """See :meth:`Callback.on_epoch_end`."""
        now = time.perf_counter()
        self.epochs.append(now - self._begun)
        self._begun, self._is_first = now, True
