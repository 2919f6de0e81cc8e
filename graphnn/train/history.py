"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphnn.compiler.reports import write_figure
from graphnn.core.errors import ArgumentError, MissingPackageError, RenderError
from graphnn.core.text import counted
from graphnn.core.values import require_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """Measures per epoch; it plots itself.

    Attributes
    ----------
    metrics : dict of str to list of float
        One number per epoch: ``loss``, and what else was measured.
    interrupted : bool
        Whether Ctrl-C ended the run. The epoch it fell into is not recorded.
    stopped : str
        Why a callback ended the run; empty if none did.
    report : str
        What there is to say of the latest run, in a few lines.

    Examples
    --------
    >>> import graphnn as gn
    >>> history = gn.train.History({"loss": [0.9, 0.4]})
    >>> history
    <History 2 epochs: loss 0.4>
    >>> history["loss"]
    [0.9, 0.4]
    """

    metrics: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False
    stopped: str = ""
    report: str = field(default="", compare=False)

    def record(self, measured: Mapping[str, float]) -> None:
        """Append the measures of one epoch."""
        for name, value in measured.items():
            self.metrics.setdefault(name, []).append(float(value))

    @property
    def epochs(self) -> int:
        """Number of epochs that were recorded."""
        return max(map(len, self.metrics.values()), default=0)

    @property
    def latest(self) -> dict[str, float]:
        """The measures of the last epoch."""
        return {name: values[-1] for name, values in self.metrics.items() if values}

    def state_dict(self) -> dict[str, Any]:
        """All that was recorded, for checkpoints."""
        metrics = {name: list(values) for name, values in self.metrics.items()}
        return {"metrics": metrics, "interrupted": self.interrupted, "stopped": self.stopped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was recorded, in place of what is here.

        Raises
        ------
        CheckpointError
            If it is not the state of a history.
        """
        require_entries("History", self.state_dict(), state)
        self.metrics = {name: list(map(float, v)) for name, v in state["metrics"].items()}
        self.interrupted, self.stopped = state["interrupted"], state["stopped"]

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.metrics:
            raise ArgumentError(
                f"{name!r} was not measured", hint=f"one of {', '.join(self.metrics) or 'nothing'}"
            )
        return self.metrics[name]

    def plot(self, path: str | PathLike[str] | None = None, title: str = "") -> Figure:
        """Draw every measure over the epochs; ``loss`` and ``val_loss`` share a panel.

        Parameters
        ----------
        path : path, optional
            Where to write the picture; the suffix tells the format.
        title : str, optional

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingPackageError
            If matplotlib is not installed.
        RenderError
            If nothing was recorded, or the file cannot be written.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingPackageError(
                f"plots need matplotlib, which cannot be imported: {error}",
                hint="pip install 'graphnn[viz]'",
            ) from None
        if not self.epochs:
            raise RenderError("there is nothing to plot: no epoch was recorded")
        panels = list(dict.fromkeys(name.removeprefix("val_") for name in self.metrics))
        figure = Figure(figsize=(5.0 * len(panels), 3.6), layout="constrained")
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            self._draw(axes, panel)
        if title:
            figure.suptitle(title)
        if path is not None:
            write_figure(figure, path)
        return figure

    def _draw(self, axes: Any, panel: str) -> None:
        for name, word in ((panel, "training"), (f"val_{panel}", "validation")):
            if name in self.metrics:
                values = self.metrics[name]
                marker = "o" if len(values) == 1 else None
                axes.plot(range(1, len(values) + 1), values, label=word, marker=marker)
        axes.set_xlabel("epoch")
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
        axes.legend()

    def __repr__(self) -> str:
        latest = ", ".join(f"{name} {value:.4g}" for name, value in self.latest.items())
        text = counted(self.epochs, "epoch") + (f": {latest}" if latest else "")
        return f"<History {text}{', interrupted' if self.interrupted else ''}>"
