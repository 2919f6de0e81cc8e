"""What the reports on a program's memory and time share: aligned tables, and pictures in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

from graphnn.core.errors import MissingPackageError, RenderError

__all__ = ["PlottedReport", "table", "write_figure"]


class PlottedReport(ABC):
    """A report with a picture; its class says what that shows."""

    figure_size: ClassVar[tuple[float, float]] = (10.0, 5.0)
    """Width and height in inches."""

    def plot(self, path: str | PathLike[str]) -> None:
        """Write the picture to a file.

        Parameters
        ----------
        path : path-like
            The ending says what it is: ``.svg``, ``.pdf`` or ``.png``.

        Raises
        ------
        MissingPackageError
            Without matplotlib, which the ``viz`` extra brings.
        RenderError
            If the file cannot be written, or there is no such format.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingPackageError(
                f"the picture of a {type(self).__name__} needs matplotlib",
                hint="pip install 'graphnn[viz]'",
                where="",
            ) from None
        figure = Figure(figsize=self.figure_size, layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure.add_subplot())
        write_figure(figure, path)

    @abstractmethod
    def draw(self, axes: Any) -> None:
        """Draw the picture on axes of matplotlib."""


def write_figure(figure: Any, path: str | PathLike[str]) -> None:
    """Write a figure of matplotlib to a file; the ending tells the format.

    Raises
    ------
    RenderError
        If it cannot be written, or there is no such format.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise RenderError(f"the plot cannot be written to {path}: {error}", where="") from None


def table(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows as lines of text, the cells of a column below each other.

    Parameters
    ----------
    rows : sequence of sequence of str
        All of the same length.
    sides : str
        The side that each column is flush with: ``"<"`` or ``">"``.

    Examples
    --------
    >>> from graphnn.compiler.reports import table
    >>> table([("buffer", "value"), ("7", "tanh")], "><")
    ['buffer  value', '     7  tanh']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
