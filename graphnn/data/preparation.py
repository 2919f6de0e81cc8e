"""From raw arrays to what a network is trained on: splits, scales and windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.arrays import as_array
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.op import Array
from graphnn.data.batches import same_length

__all__ = ["Standardizer", "pad_sequences", "split", "split_in_time", "windows"]

Parts = tuple[Array, ...]


def split(*arrays: Any, test: float = 0.2, seed: int = 0) -> tuple[Parts, Parts]:
    """Divide samples at random into a training and a test part.

    Parameters
    ----------
    *arrays : array_like
        Of equal length along the first axis.
    test : float, default 0.2
        Fraction of the samples that go to the test part.
    seed : int, default 0
        The same seed gives the same parts.

    Returns
    -------
    (tuple of array, tuple of array)
        Training and test part of every array.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> (x_train,), (x_test,) = gn.data.split(np.arange(10), test=0.3)
    >>> len(x_train), len(x_test)
    (7, 3)
    """
    listed, tests = _parts("split", arrays, test)
    order = np.random.default_rng(seed % 2**64).permutation(len(listed[0]))
    cut = len(order) - tests
    return tuple(a[order[:cut]] for a in listed), tuple(a[order[cut:]] for a in listed)


def split_in_time(*arrays: Any, test: float = 0.2) -> tuple[Parts, Parts]:
    """Divide a series: the test part is what comes last, so that no future is known in training.

    Parameters and results are those of :func:`split`.
    """
    listed, tests = _parts("split_in_time", arrays, test)
    cut = len(listed[0]) - tests
    return tuple(a[:cut] for a in listed), tuple(a[cut:] for a in listed)


def _parts(what: str, arrays: Any, test: float) -> tuple[Parts, int]:
    """The arrays, and the size of the test part."""
    if not 0 < test < 1:
        raise ArgumentError(f"{what}: the test part must be between 0 and 1, not {test!r}")
    listed = same_length(what, arrays)
    samples = len(listed[0])
    tests = round(samples * test)
    if not 0 < tests < samples:
        raise ArgumentError(f"{what}: a test part of {test} of {samples} samples leaves one empty")
    return listed, tests


class Standardizer:
    """Shifts and scales features to mean 0 and standard deviation 1.

    It is fitted to the training part alone and then applied to both: what is known of the test
    part must not leak into training. Features that are constant are only shifted.

    Attributes
    ----------
    mean, std : numpy.ndarray
        Of every feature.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = np.array([[1.0], [3.0]])
    >>> scale = gn.data.Standardizer().fit(x)
    >>> scale.transform(x).tolist(), scale.inverse_transform([[0.0]]).tolist()
    ([[-1.0], [1.0]], [[2.0]])
    """

    mean: Array
    std: Array

    def fit(self, x: Any) -> Self:
        """Take mean and standard deviation over the first axis, in float64."""
        array = as_array(x)
        if array.ndim == 0 or len(array) == 0:
            raise ShapeError("Standardizer: there are no samples to fit to")
        self.mean = array.mean(axis=0, dtype=np.float64)
        std = array.std(axis=0, dtype=np.float64)
        self.std = np.where(std == 0, 1.0, std)
        return self

    def transform(self, x: Any) -> Array:
        """Standardise; floats keep their dtype, integers become float64."""
        array = self._fitted(x)
        return ((array - self.mean) / self.std).astype(_float(array), copy=False)

    def inverse_transform(self, x: Any) -> Array:
        """Undo :meth:`transform`."""
        array = self._fitted(x)
        return (array * self.std + self.mean).astype(_float(array), copy=False)

    def _fitted(self, x: Any) -> Array:
        if not hasattr(self, "mean"):
            raise ArgumentError("Standardizer: it is not fitted yet", hint="call fit(x) first")
        return as_array(x)


def _float(array: Array) -> Any:
    return array.dtype if array.dtype.kind == "f" else np.float64


def windows(series: Any, length: int, horizon: int = 1) -> tuple[Array, Array]:
    """All stretches of a series, each with the value that follows it.

    Parameters
    ----------
    series : array_like
        Of shape (time,) or (time, features).
    length : int
        Steps of a window.
    horizon : int, default 1
        How many steps after the window's last one its target lies.

    Returns
    -------
    (array, array)
        Windows, of shape (samples, length, ...), and targets, of shape (samples, ...), with
        ``samples = time - length - horizon + 1``; in order of time.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, y = gn.data.windows([1, 2, 3, 4], 2)
    >>> x.tolist(), y.tolist()
    ([[1, 2], [2, 3]], [3, 4])
    """
    array = as_array(series)
    require_positive("windows", length=length, horizon=horizon)
    samples = (len(array) if array.ndim else 0) - length - horizon + 1
    if samples < 1:
        raise ShapeError(
            f"windows: a series of shape {array.shape} has no window of {length} steps "
            f"with a target {horizon} later"
        )
    starts = np.arange(samples)[:, None]
    return array[starts + np.arange(length)], array[length + horizon - 1 :]


def pad_sequences(
    sequences: Sequence[Any], length: int | None = None, *, batch_first: bool = False
) -> tuple[Array, Array]:
    """Sequences of different lengths as one array, with zeros behind their ends.

    The time is the first axis, as in recurrent layers and in PyTorch's function of this name. What
    takes samples by the first axis, such as mini-batches, and the tokens of encoders and decoders
    need ``batch_first=True``.

    With ``length`` given, arrays have the same shape in all batches, and a program is compiled for
    it once.

    Parameters
    ----------
    sequences : sequence of array_like
        Of shapes (time, ...) that agree in all but the time, and of one dtype. An empty list has
        the shape and the dtype of the others.
    length : int, optional
        Steps of the result. Default: those of the longest.
    batch_first : bool, default False
        The result is (samples, length, ...); else it is (length, samples, ...).

    Returns
    -------
    (array, array of int64)
        The padded sequences, and their lengths: what a recurrent layer takes as ``lengths``.

    Raises
    ------
    ShapeError
        If there are no sequences, they do not agree, or one is longer than ``length``.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, lengths = gn.data.pad_sequences([[1, 2, 3], [4]])
    >>> x.tolist(), lengths.tolist()
    ([[1, 4], [2, 0], [3, 0]], [3, 1])
    >>> gn.data.pad_sequences([[1, 2, 3], [4]], batch_first=True)[0].tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    listed = alike("pad_sequences", sequences)
    lengths = np.array([len(each) for each in listed])
    steps = int(lengths.max()) if length is None else length
    if lengths.max() > steps:
        raise ShapeError(
            f"pad_sequences: a sequence of {lengths.max()} steps is longer than {steps}"
        )
    padded = np.zeros((len(listed), steps, *listed[0].shape[1:]), listed[0].dtype)
    for row, each in zip(padded, listed, strict=True):
        row[: len(each)] = each
    return padded if batch_first else np.ascontiguousarray(padded.swapaxes(0, 1)), lengths


def alike(what: str, sequences: Sequence[Any]) -> list[Array]:
    """Sequences as arrays that agree in all but the time.

    Raises
    ------
    ShapeError
    """
    listed = [as_array(each) for each in sequences]
    if not listed or any(each.ndim == 0 for each in listed):
        raise ShapeError(f"{what}: arrays with an axis of time are needed")
    # A list without elements says nothing of its dtype.
    telling = [each for each in listed if each.size] or listed[:1]
    empty = np.zeros((0, *telling[0].shape[1:]), telling[0].dtype)
    listed = [empty if each.shape == (0,) else each for each in listed]
    kinds = dict.fromkeys((each.shape[1:], each.dtype.name) for each in listed)
    if len(kinds) != 1:
        told = " and ".join(f"(time, {', '.join(map(str, s))}) {d}" for s, d in list(kinds)[:2])
        raise ShapeError(f"{what}: the sequences do not agree: {told}")
    return listed
