"""What a training run has reached: as text, as a picture, and beside a guess that knows nothing."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import graphnn as gn
from graphnn.cli.run_folder import RunFolder, Settings
from graphnn.cli.samples import Samples
from graphnn.core.op import Array
from graphnn.io.files import write
from graphnn.nn.module import Module
from graphnn.train.history import History

__all__ = ["reached", "write_plot", "write_summary"]


def reached(
    folder: RunFolder, run: Settings, history: History, known: Samples, unknown: Samples
) -> str:
    """The best epoch on the part that is held out, why training ended, and how to go on."""
    goes_on = f"graphnn train --resume {shlex.quote(str(folder.path))}"
    lines = []
    if history.interrupted:
        lines.append(f"stopped  by Ctrl-C, after {history.epochs} of {run.epochs} epochs")
    elif history.stopped:
        lines.append(f"stopped  {history.stopped}")
    if history.epochs:
        values = history[run.monitor]
        best = int(np.argmax(values) if run.classes else np.argmin(values))
        measure = "accuracy" if run.classes else "mae"
        found = measure_text(measure, history[f"val_{measure}"][best])
        lines.append(
            f"best     epoch {best + 1} of {history.epochs}: {found} on the held-out part; "
            f"{_guess(run, known, unknown)}"
        )
    if history.interrupted:
        lines.append(f"go on    {goes_on}")
    else:
        name = shlex.quote(str(folder.path))
        if run.schedule == "constant":
            lines.append(f"go on    {goes_on} --epochs {2 * run.epochs}")
        lines.append(f"use it   graphnn predict {name} --data FILE")
    return "\n".join(lines)


def measure_text(measure: str, value: float) -> str:
    """A measure with its name."""
    if measure == "accuracy":
        return f"accuracy {value:.1%}"
    return f"mean absolute error {value:.4g}"


def _guess(run: Settings, known: Samples, unknown: Samples) -> str:
    """What a guess reaches that is always the same."""
    assert known.targets is not None
    assert unknown.targets is not None
    if run.classes:
        frequent = np.bincount(known.targets).argmax()
        share = float(np.mean(unknown.targets == frequent))
        return f"always {run.classes[frequent]!r}: {measure_text('accuracy', share)}"
    error = float(np.abs(unknown.targets - known.targets.mean(axis=0)).mean())
    return f"always the mean: {measure_text('mae', error)}"


def write_summary(
    folder: RunFolder, model: Module, batch: Sequence[Array], history: History, told: str
) -> None:
    """The network, layer by layer, how it was trained, and what is told of it."""
    inputs = tuple(
        gn.input(name, ("batch", *each.shape[1:]), each.dtype)
        for name, each in zip(("x", "lengths"), batch, strict=False)
    )
    text = "\n\n".join([str(model.summary(inputs)), history.report, told]) + "\n"
    write(folder.summary_file, text.encode(), keep_previous=False)


def write_plot(folder: RunFolder, run: Settings, history: History) -> None:
    """The curves of all measures; nothing without an epoch, or without matplotlib."""
    if not history.epochs or find_spec("matplotlib") is None:
        return
    content = io.BytesIO()
    title = f"{run.network}: {', '.join(Path(each).name for each in run.source.files)}"
    history.plot(title=title).savefig(content, format="png")
    write(folder.plot_file, content.getvalue(), keep_previous=False)
