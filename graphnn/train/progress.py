"""The progress bar over steps; silent where nobody would see it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sized
from types import TracebackType
from typing import Any, Self

from graphnn.train.means import Means

__all__ = ["Progress"]

_SECONDS = 0.1
"""Between two updates: drawing it takes longer than a short training step."""


class Progress:
    """Counts steps, and shows them where stderr is a terminal.

    Parameters
    ----------
    batches : iterable
        Of one epoch; the bar has an end if it has a length.
    epochs : int
    done : (int, int)
        Epochs, and steps of the next one, that were made before.
    verbose : int
        0 for no bar.
    """

    def __init__(
        self, batches: Iterable[Any], epochs: int, done: tuple[int, int], verbose: int
    ) -> None:
        from tqdm import tqdm

        steps = len(batches) if isinstance(batches, Sized) else 0
        self._bar = tqdm(
            total=epochs * steps or None,
            initial=done[0] * steps + done[1],
            unit="step",
            disable=None if verbose else True,
        )
        self.is_shown = not self._bar.disable
        self._told: dict[str, str] = {}
        self._waiting = 0
        self._next = 0.0

    def step(self, means: Means | None = None) -> None:
        """One more step was made, with these means so far."""
        if self.is_shown:
            self._waiting += 1
            if time.perf_counter() >= self._next:
                self.tell({} if means is None else means.result())

    def tell(self, measured: Mapping[str, float]) -> None:
        """Show measures beside the bar, in place of those of the same names."""
        if self.is_shown:
            self._told |= {name: f"{value:.4g}" for name, value in measured.items()}
            self._show()

    def _show(self) -> None:
        self._bar.set_postfix(self._told, refresh=False)
        self._bar.update(self._waiting)
        self._waiting = 0
        self._next = time.perf_counter() + _SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_shown:
            self._show()
        self._bar.close()
