"""Mini-batches of arrays, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.arrays import as_array
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.op import Array

__all__ = ["Batches"]


class Batches:
    """Arrays cut into mini-batches; every iteration over it is one epoch.

    Parameters
    ----------
    *arrays : array_like
        Of equal length along the first axis, such as inputs and targets.
    batch_size : int
        The last batch of an epoch may be smaller.
    shuffle : bool, default False
        In another order every epoch.
    seed : int, default 0
        The order is a function of seed and epoch, whatever ran before.
    drop_last : bool, default False
        Leave out a last batch that is smaller.

    Attributes
    ----------
    epoch : int
        How many epochs were begun. Setting it goes on from there, to the same bits.

    Raises
    ------
    ShapeError
        If there are no arrays, their lengths differ, or they are empty.
    ArgumentError
        If the batch size is less than 1 or larger than the data.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> batches = gn.data.Batches(np.arange(5), batch_size=2)
    >>> [x.tolist() for x, in batches]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.arrays = same_length("Batches", arrays)
        self.samples = len(self.arrays[0])
        if self.samples == 0:
            raise ShapeError("Batches: the data set is empty")
        require_positive("Batches", batch_size=batch_size)
        if batch_size > self.samples:
            raise ArgumentError(
                f"Batches: the batch size {batch_size} is larger than the data, "
                f"{self.samples} samples",
                hint=f"batch_size={self.samples} makes one batch of all",
            )
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        order = self.order(self.epoch)
        self.epoch += 1
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield tuple(array[chosen] for array in self.arrays)

    def order(self, epoch: int) -> Array:
        """The positions of the samples in the order of an epoch."""
        if not self.shuffle:
            return np.arange(self.samples)
        return np.random.default_rng([self.seed % 2**64, epoch]).permutation(self.samples)

    def __repr__(self) -> str:
        return f"<Batches {self.samples} samples, {len(self)} batches of {self.batch_size}>"


def same_length(what: str, arrays: Any) -> tuple[Array, ...]:
    """Arrays whose first axes agree.

    Raises
    ------
    ShapeError
    """
    listed = tuple(map(as_array, arrays))
    if not listed or any(array.ndim == 0 for array in listed):
        raise ShapeError(f"{what}: arrays with an axis of samples are needed")
    lengths = [len(array) for array in listed]
    if len(set(lengths)) != 1:
        raise ShapeError(f"{what}: the arrays differ in length: {', '.join(map(str, lengths))}")
    return listed
