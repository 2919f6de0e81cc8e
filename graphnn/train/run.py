"""A training run under way: where it stands, and all that it consists of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphnn.core.errors import ArgumentError, CheckpointError
from graphnn.io.checkpoint import Part, load, save
from graphnn.io.files import previous_of
from graphnn.ops import random
from graphnn.train.history import History
from graphnn.train.means import Means

if TYPE_CHECKING:
    from graphnn.train.callbacks import Callback

__all__ = ["LAST", "Run", "checkpoint_at"]

LAST = "last.ckpt"
"""The newest checkpoint of a folder."""


class Run:
    """What :func:`graphnn.train.fit` has under way; callbacks get it where it may be saved.

    Attributes
    ----------
    batches : iterable of tuple of array
    history : History
    epochs : int
        How many the history is to have in the end.
    means : Means
        Of the epoch under way; none of its steps were made between two epochs.
    parts : dict of str to Part
        All that a checkpoint has to hold.
    resumed : Path or None
        The checkpoint that it went on from.
    """

    def __init__(
        self,
        batches: Iterable[Sequence[Any]],
        validation: Iterable[Sequence[Any]] | None,
        epochs: int,
        history: History,
        callbacks: Sequence[Callback],
        parts: Mapping[str, Part],
    ) -> None:
        self.batches = batches
        self.history = history
        self.epochs = history.epochs + epochs
        self.means = Means("fit")
        self.resumed: Path | None = None
        self._steps = self._samples = 0
        own: dict[str, Part] = {
            "random": random,
            "history": history,
            "means": self.means,
            "validation": _Known(_saved("validation", validation)),
            "callbacks": _Known(_named(callbacks)),
            **_saved("batches", batches),
        }
        taken = parts.keys() & own.keys()
        if taken:
            raise ArgumentError(
                f"fit: the part {sorted(taken)[0]!r} is there already", hint="call it otherwise"
            )
        self.parts = {**parts, **own}

    @property
    def steps(self) -> int:
        """How many steps were made in this process."""
        return self._steps + self.means.steps

    @property
    def samples(self) -> int:
        """How many samples they were given."""
        return self._samples + self.means.samples

    def end_epoch(self, measured: Mapping[str, float]) -> None:
        """Record an epoch; the next one begins."""
        self._steps, self._samples = self.steps, self.samples
        self.history.record(measured)
        self.means.begin()

    @property
    def is_between_epochs(self) -> bool:
        """Whether no epoch is under way."""
        return self.means.steps == 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        ended = self.history.stopped or self.history.interrupted
        return bool(ended) or self.history.epochs >= self.epochs

    def save(self, path: str | PathLike[str]) -> None:
        """Write a checkpoint that `fit(..., resume=path)` goes on from; see :func:`gn.io.save`."""
        save(path, **self.parts)

    def resume(self, path: Path, epochs: int) -> None:
        """Go on from a checkpoint, to so many epochs in all.

        Raises
        ------
        CheckpointError
            If it cannot be read, or is of another run.
        """
        load(path, **self.parts)
        self.resumed, self.epochs = path, epochs
        self._steps, self._samples = -self.means.steps, -self.means.samples
        self.history.interrupted = False

    def rest_of_epoch(self) -> Iterator[Sequence[Any]]:
        """The batches that are left of the epoch under way."""
        if "batches" in self.parts:  # which know for themselves
            return iter(self.batches)
        return islice(self.batches, self.means.steps, None)


def checkpoint_at(resume: str | PathLike[str]) -> Path | None:
    """The file to go on from; None for a folder without, in which a run begins."""
    path = Path(resume)
    if path.suffix == ".ckpt" or path.is_file():
        return path
    last = path / LAST
    return last if last.exists() or previous_of(last).exists() else None


def _saved(name: str, data: object) -> dict[str, Part]:
    """Batches that know where they are, as a part."""
    return {name: data} if isinstance(data, Part) else {}


class _Known:
    """Parts of which those go on that were there then, too."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.parts.keys() & state.keys():
            try:
                self.parts[name].load_state_dict(state[name])
            except CheckpointError as error:
                raise CheckpointError(f"{name}: {error.what}", hint=error.hint) from None


def _named(callbacks: Sequence[Callback]) -> dict[str, Part]:
    """Callbacks by the names of their classes; the second of a class has a number."""
    named: dict[str, Part] = {}
    for each in callbacks:
        name = kind = type(each).__name__
        number = 1
        while name in named:
            name, number = f"{kind}[{number}]", number + 1
        named[name] = each
    return named
