"""Mini-batches of sequences of different lengths: those of similar length go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.op import Array
from graphnn.data.batches import Batches, Parts, shuffling
from graphnn.data.sequences import alike, pad_sequences

__all__ = ["SequenceBatches"]

_CANDIDATES = 512  # lengths at which buckets may end, at most


class SequenceBatches(Batches):
    """Sequences cut into mini-batches of similar length, padded with zeros.

    The sequences are divided by length into *buckets*. All batches of a bucket are padded to the
    same number of steps, so that little of them is padding, and a program is compiled for one
    shape per bucket only (and one more where the last batch of a bucket is smaller).

    Parameters
    ----------
    *data : sequence of array_like, or array
        A list of arrays of shapes (time, ...) is padded and gives two arrays in each batch: the
        padded one, and the lengths. What is one array has a row for each sample and is cut as
        :class:`Batches` does. The first must be a list: its lengths make the buckets.
    batch_size : int
        The last batch of a bucket may be smaller.
    buckets : int or sequence of int, default 8
        How many buckets at most, each of a batch or more, chosen for the least padding; or the
        steps to pad to in each, ascending.
    batch_first : bool, default False
        Padded arrays are (samples, time, ...); else they are (time, samples, ...).
    shuffle : bool, default False
        In another order every epoch: sequences inside of a bucket, and the batches. Else short
        ones come first.
    seed : int, default 0
        The order is a function of seed and epoch, whatever ran before.
    drop_last : bool, default False
        Leave out last batches of buckets that are smaller.
    prefetch : int, default 0
        How many batches a thread makes ahead.

    Attributes
    ----------
    steps : tuple of int
        What the first sequences are padded to in each bucket.
    epoch, position : int
        As of :class:`Batches`, which also has ``state_dict`` and ``load_state_dict``.

    Raises
    ------
    ShapeError
        If the sequences do not agree in what follows the time, in number or in dtype, there are
        none, or one is longer than the last bucket.
    ArgumentError
        If a count is no positive integer, the buckets do not ascend, or ``drop_last`` would leave
        out a whole bucket in every epoch.

    Examples
    --------
    >>> import graphnn as gn
    >>> words = [[1, 2, 3, 4], [5], [6, 7, 8], [9, 10]]
    >>> batches = gn.data.SequenceBatches(words, batch_size=2, buckets=2, batch_first=True)
    >>> for x, lengths in batches:
    ...     print(x.tolist(), lengths.tolist())
    [[5, 0], [9, 10]] [1, 2]
    [[1, 2, 3, 4], [6, 7, 8, 0]] [4, 3]
    """

    def __init__(
        self,
        *data: Any,
        batch_size: int,
        buckets: int | Sequence[int] = 8,
        batch_first: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 0,
    ) -> None:
        what = type(self).__name__
        self.sequences = tuple(_sequences(what, each) for each in data)
        if not data or self.sequences[0] is None:
            raise ShapeError(
                f"{what}: a list of sequences is needed first, each with an axis of time",
                hint="gn.data.Batches cuts arrays in which all have the same length",
            )
        rows = [
            each if listed is None else np.array([len(one) for one in listed], np.int64)
            for each, listed in zip(data, self.sequences, strict=True)
        ]
        super().__init__(
            *rows,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            prefetch=prefetch,
        )
        self.batch_first = batch_first
        lengths = self.arrays[0]
        self.steps = _steps(what, lengths, buckets, self.batch_size)
        self._bucket = np.searchsorted(self.steps, lengths)
        self._sizes = np.bincount(self._bucket, minlength=len(self.steps))
        lost = (self._sizes > 0) & (self._sizes < self.batch_size)
        if self.drop_last and lost.any():
            bucket = int(lost.argmax())
            raise ArgumentError(
                f"{what}: only {self._sizes[bucket]} sequences are in the bucket of up to "
                f"{self.steps[bucket]} steps, and drop_last would leave them out always",
                hint="use fewer buckets, or a smaller batch_size",
            )
        # What the first sequences, and all others, are padded to in each bucket.
        self._padded_to = (np.array(self.steps), *map(self._longest, rows[1:], self.sequences[1:]))

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return sum(self._count(int(size)) for size in self._sizes)

    def _longest(self, lengths: Array, listed: list[Array] | None) -> Array:
        """The steps of the longest sequence in each bucket, at least 1."""
        longest = np.ones(len(self.steps), np.int64)
        if listed is not None:
            np.maximum.at(longest, self._bucket, lengths)
        return longest

    def _plan(self, seed: int, epoch: int) -> list[Array]:
        order = np.arange(self.samples)
        if not self.shuffle:
            return self._cut(order[np.argsort(self._bucket, kind="stable")])
        generator = shuffling(seed, epoch)
        order = generator.permutation(self.samples)
        batches = self._cut(order[np.argsort(self._bucket[order], kind="stable")])
        return [batches[index] for index in generator.permutation(len(batches))]

    def _cut(self, order: Array) -> list[Array]:
        """Batches of positions that are in the order of the buckets."""
        ends = np.cumsum(self._sizes)[:-1]
        cut = super()._cut
        return [batch for bucket in np.split(order, ends) for batch in cut(bucket)]

    def _take(self, chosen: Array) -> Parts:
        bucket = self._bucket[chosen[0]]
        taken: list[Array] = []
        for listed, rows, steps in zip(
            self.sequences, super()._take(chosen), self._padded_to, strict=True
        ):
            if listed is not None:
                some = [listed[index] for index in chosen]
                padded, _ = pad_sequences(some, int(steps[bucket]), batch_first=self.batch_first)
                taken.append(padded)
            taken.append(rows)
        return tuple(taken)

    def _made_of(self) -> dict[str, Any]:
        return super()._made_of() | {"steps": list(self.steps)}


def _sequences(what: str, given: Any) -> list[Array] | None:
    """The sequences of a list that has some; None of an array, or of a list of numbers."""
    if not isinstance(given, list | tuple):
        return None
    if not given:
        raise ShapeError(f"{what}: the data set is empty")
    if all(np.ndim(each) == 0 for each in given[:1]):
        return None
    return alike(what, given)


def _steps(
    what: str, lengths: Array, buckets: int | Sequence[int], batch_size: int
) -> tuple[int, ...]:
    """What the sequences of each bucket are padded to."""
    if isinstance(buckets, Sequence):
        for steps in buckets:
            require_positive(what, steps=steps)
        given = tuple(map(int, buckets))
        if not given or list(given) != sorted(set(given)):
            raise ArgumentError(f"{what}: the steps of buckets must ascend, not {buckets!r}")
        if lengths.max() > given[-1]:
            raise ShapeError(
                f"{what}: a sequence of {lengths.max()} steps is longer than the last bucket, "
                f"{given[-1]}"
            )
        return given
    require_positive(what, buckets=buckets)
    return _least_padding(np.maximum(lengths, 1), buckets, batch_size)


def _least_padding(lengths: Array, buckets: int, least: int) -> tuple[int, ...]:
    """Where so many buckets end, at most, for as few padded steps as there can be.

    Each has at least so many sequences, but for the single one of a small data set. Found by
    dynamic programming over the lengths at which a bucket could end.
    """
    ends = np.unique(lengths)
    if len(ends) > _CANDIDATES:
        shares = np.linspace(0.0, 1.0, _CANDIDATES)
        ends = np.unique(np.quantile(lengths, shares, method="higher"))
    counts = np.bincount(np.searchsorted(ends, lengths), minlength=len(ends))
    shorter = np.concatenate([[0], np.cumsum(counts)])
    # Steps of the bucket from the end i to the end j.
    inside = shorter[1:] - shorter[:-1, None]
    steps = np.where(inside >= least, ends * inside, np.inf)
    fewest, cuts = [steps[0]], []
    for _ in range(1, min(buckets, len(ends))):
        with_one_more = fewest[-1][:-1, None] + steps[1:]
        cuts.append(with_one_more.argmin(axis=0))
        fewest.append(with_one_more.min(axis=0))
    number = int(np.argmin([each[-1] for each in fewest]))
    chosen = [len(ends) - 1]
    for cut in reversed(cuts[:number]):
        chosen.append(int(cut[chosen[-1]]))
    return tuple(int(ends[each]) for each in reversed(chosen))
