"""What else is done while a program is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Callback"]


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

    def on_step_end(self, batch: Sequence[Any], measured: Mapping[str, float]) -> None:
        """After every step.

        Parameters
        ----------
        batch : sequence of array
            What the step was given.
        measured : mapping of str to float
            What it gave.
        """

    def on_epoch_end(self, measured: Mapping[str, float]) -> None:
        """After every epoch.

        Parameters
        ----------
        measured : mapping of str to float
            The means over the epoch's samples, and those of the validation.
        """
