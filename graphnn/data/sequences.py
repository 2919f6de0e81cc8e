"""From series and sequences to arrays: windows and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.arrays import as_array
from graphnn.core.errors import ShapeError
from graphnn.core.op import Array

__all__ = ["pad_sequences", "windows"]


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
