"""Mini-batches of arrays, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.arrays import as_array
from graphnn.core.errors import ArgumentError, CheckpointError, ShapeError
from graphnn.core.op import Array

__all__ = ["Batches"]


class Batches:
    """Arrays cut into mini-batches; every iteration over it is one epoch.

    An iteration that is left before its end counts as an epoch, and the next one begins another.
    To go on inside of an epoch, in this process or another, keep :meth:`state_dict` and give it
    to :meth:`load_state_dict`: the next iteration then gives what was left of it.

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
        The number of the epoch under way or, between two, of the next one, from 0. Setting it
        goes on from its beginning, to the same bits.
    position : int
        How many batches of this epoch were given.

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
        what = type(self).__name__
        self.arrays = same_length(what, arrays)
        self.samples = len(self.arrays[0])
        if self.samples == 0:
            raise ShapeError(f"{what}: the data set is empty")
        require_positive(what, batch_size=batch_size)
        if batch_size > self.samples:
            raise ArgumentError(
                f"{what}: the batch size {batch_size} is larger than the data, "
                f"{self.samples} samples",
                hint=f"batch_size={self.samples} makes one batch of all",
            )
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = int(seed)
        self.drop_last = bool(drop_last)
        self._checked: tuple[int, int, int] = (0, -1, 0)  # seed, epoch, checksum
        self._move(0, 0)

    @property
    def epoch(self) -> int:
        """The number of the epoch under way or, between two, of the next one."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if epoch < 0:
            raise ArgumentError(f"{type(self).__name__}: there is no epoch {epoch}")
        self._move(epoch, 0)

    @property
    def position(self) -> int:
        """How many batches of this epoch were given."""
        return self._position

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return self._count(self.samples)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        if self._position and not self._goes_on:
            self._epoch += 1
            self._position = 0
        epoch, plan = self._epoch, self._plan(self.seed, self._epoch)
        newest = self._newest = object()
        self._goes_on = False
        for position in range(self._position, len(plan)):
            batch = self._take(plan[position])
            if self._newest is newest:
                self._position = position + 1
            yield batch
        if self._newest is newest:
            self._move(epoch + 1, 0)

    def order(self, epoch: int) -> Array:
        """The positions of the samples, in the order in which an epoch gives them."""
        return np.concatenate(self._plan(self.seed, epoch))

    def state_dict(self) -> dict[str, Any]:
        """Where this is: what :meth:`load_state_dict` goes on from, to the same bits.

        Returns
        -------
        dict
            Numbers and truth values, which JSON holds exactly: ``seed``, ``epoch`` and
            ``position``; and, to recognise other data by, what the batches were made of, with a
            checksum of the order of this epoch.

        Examples
        --------
        >>> import numpy as np
        >>> import graphnn as gn
        >>> def made():
        ...     return gn.data.Batches(np.arange(6), batch_size=2, shuffle=True, seed=1)
        >>> batches = made()
        >>> state = [batches.state_dict() for _ in batches][0]  # after the first batch
        >>> state["epoch"], state["position"]
        (0, 1)
        >>> resumed = made()
        >>> resumed.load_state_dict(state)
        >>> len(list(resumed)), len(list(resumed))
        (2, 3)
        """
        place = {"seed": self.seed, "epoch": self._epoch, "position": self._position}
        return place | self._made_of() | {"order": self._checksum(self.seed, self._epoch)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another one was: the next iteration gives what was left of its epoch.

        That is nothing if its last batch was given, but its iteration had not ended.

        Parameters
        ----------
        state : mapping
            What :meth:`state_dict` gave; the seed is taken over.

        Raises
        ------
        CheckpointError
            If it is of other data or of another batch size, or another version of NumPy shuffles
            differently: everything that differs is named, and nothing is changed.
        """
        what = type(self).__name__
        names = ("seed", "epoch", "position", "order")
        wrong = [name for name in names if type(state.get(name)) is not int]
        told = [f"{name} is {state.get(name)!r}, not an integer" for name in wrong]
        told += [
            f"{name} was {state.get(name)!r}, here {value!r}"
            for name, value in self._made_of().items()
            if state.get(name) != value
        ]
        if not told and not (state["epoch"] >= 0 and 0 <= state["position"] <= len(self)):
            told = [f"no epoch {state['epoch']} with a position {state['position']}"]
        if not told and state["order"] != self._checksum(state["seed"], state["epoch"]):
            told = [f"NumPy {np.__version__} shuffles in another order, or the lengths differ"]
        if told:
            raise CheckpointError(
                f"{what}: the state does not fit: {'; '.join(told)}",
                hint="make it of the same data, with the same options, as the one that was saved",
            )
        self.seed = state["seed"]
        self._move(state["epoch"], state["position"])
        self._goes_on = True

    def _move(self, epoch: int, position: int) -> None:
        self._epoch, self._position = int(epoch), position
        self._goes_on = False  # whether the next iteration starts at this position
        self._newest = object()  # the newest iteration: it alone moves this

    def _plan(self, seed: int, epoch: int) -> list[Array]:
        """The positions of the samples of each batch."""
        if not self.shuffle:
            return self._cut(np.arange(self.samples))
        return self._cut(_generator(seed, epoch).permutation(self.samples))

    def _cut(self, order: Array) -> list[Array]:
        size = self.batch_size
        return [
            order[index * size : (index + 1) * size] for index in range(self._count(len(order)))
        ]

    def _count(self, samples: int) -> int:
        """Number of batches that so many samples make."""
        whole, rest = divmod(samples, self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def _take(self, chosen: Array) -> tuple[Array, ...]:
        return tuple(array[chosen] for array in self.arrays)

    def _made_of(self) -> dict[str, Any]:
        """What has to be the same for the same batches."""
        names = ("samples", "batch_size", "shuffle", "drop_last")
        return {name: getattr(self, name) for name in names}

    def _checksum(self, seed: int, epoch: int) -> int:
        """Of the order of an epoch; the last one is kept, as an epoch may be asked for it often."""
        if self._checked[:2] != (seed, epoch):
            order = np.concatenate(self._plan(seed, epoch))
            self._checked = seed, epoch, zlib.crc32(order.astype("<i8").tobytes())
        return self._checked[2]

    def __repr__(self) -> str:
        what = f"{self.samples} samples, {len(self)} batches of {self.batch_size}"
        return f"<{type(self).__name__} {what}>"


def _generator(seed: int, *counters: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, *counters])


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
