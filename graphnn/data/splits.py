"""Dividing samples into training and test parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.op import Array
from graphnn.data.batches import Parts, same_length

__all__ = ["folds", "split", "split_in_time"]


def split(
    *arrays: Any, test: float = 0.2, seed: int = 0, stratify: Any = None
) -> tuple[Parts, Parts]:
    """Divide samples at random into a training and a test part.

    Parameters
    ----------
    *arrays : array_like
        Of equal length along the first axis.
    test : float, default 0.2
        Fraction of the samples that go to the test part.
    seed : int, default 0
        The same seed gives the same parts.
    stratify : array_like, optional
        The class of every sample. Each class is then divided in the same proportion, up to one
        sample.

    Returns
    -------
    (tuple of array, tuple of array)
        Training and test part of every array.

    Raises
    ------
    ArgumentError
        If a part would be empty, or the training part would have none of a class.
    ShapeError
        If the arrays and the classes differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> (x_train,), (x_test,) = gn.data.split(np.arange(10), test=0.3)
    >>> len(x_train), len(x_test)
    (7, 3)
    >>> rare = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    >>> _, (found,) = gn.data.split(rare, test=0.5, stratify=rare)
    >>> sorted(found.tolist())
    [0, 0, 0, 0, 1]
    """
    listed, tests = _parts("split", arrays, test)
    order = _shuffled(seed, len(listed[0]))
    if stratify is None:
        cut = len(order) - tests
        return _divided(listed, order[:cut], order[cut:])
    by_class, classes = _by_class("split", order, stratify)
    # Samples that are evenly spaced: of each class as many as its share, up to one.
    steps = np.arange(len(order) + 1) * tests // len(order)
    is_test = np.diff(steps) > 0
    _require_all("split", by_class[~is_test], classes)
    # In an order that tells nothing of the class.
    chosen = np.zeros(len(order), bool)
    chosen[by_class[is_test]] = True
    return _divided(listed, order[~chosen[order]], order[chosen[order]])


def split_in_time(*arrays: Any, test: float = 0.2) -> tuple[Parts, Parts]:
    """Divide a series: the test part is what comes last, so that no future is known in training.

    Parameters and results are those of :func:`split`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.data.split_in_time([1, 2, 3, 4], test=0.25)
    ((array([1, 2, 3]),), (array([4]),))
    """
    listed, tests = _parts("split_in_time", arrays, test)
    cut = len(listed[0]) - tests
    return tuple(a[:cut] for a in listed), tuple(a[cut:] for a in listed)


def folds(
    *arrays: Any, count: int = 5, seed: int = 0, stratify: Any = None
) -> Iterator[tuple[Parts, Parts]]:
    """Divide samples at random for k-fold cross-validation: each is in one test part.

    Parameters
    ----------
    *arrays : array_like
        Of equal length along the first axis.
    count : int, default 5
        How many folds. Their sizes differ by one sample at most.
    seed : int, default 0
        The same seed gives the same folds.
    stratify : array_like, optional
        The class of every sample. The folds then have as many of each class, up to one sample.

    Returns
    -------
    iterator of (tuple of array, tuple of array)
        Training and test part of every array, for each fold.

    Raises
    ------
    ArgumentError
        If there are fewer than two folds or fewer samples than folds, or a training part would
        have none of a class.
    ShapeError
        If the arrays and the classes differ in length.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> for (x_train,), (x_test,) in gn.data.folds(np.arange(6), count=3):
    ...     print(sorted(x_train.tolist()), sorted(x_test.tolist()))
    [0, 1, 2, 5] [3, 4]
    [1, 3, 4, 5] [0, 2]
    [0, 2, 3, 4] [1, 5]
    """
    listed = same_length("folds", arrays)
    samples = len(listed[0])
    require_positive("folds", count=count)
    if not 2 <= count <= samples:
        raise ArgumentError(
            f"folds: {samples} samples cannot be divided into {count} folds",
            hint="at least two folds, with a sample in each",
        )
    order = _shuffled(seed, samples)
    fold = np.empty(samples, np.int64)
    if stratify is None:
        fold[order] = np.arange(samples) % count
    else:
        by_class, classes = _by_class("folds", order, stratify)
        fold[by_class] = np.arange(samples) % count
        for number in range(count):
            _require_all("folds", np.flatnonzero(fold != number), classes)
    parts = [fold[order] == number for number in range(count)]
    return (_divided(listed, order[~is_test], order[is_test]) for is_test in parts)


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


def _shuffled(seed: int, samples: int) -> Array:
    return np.random.default_rng(seed % 2**64).permutation(samples)


def _divided(arrays: Parts, train: Array, test: Array) -> tuple[Parts, Parts]:
    return tuple(a[train] for a in arrays), tuple(a[test] for a in arrays)


def _by_class(what: str, order: Array, stratify: Any) -> tuple[Array, Array]:
    """The positions in an order, sorted by class, and the class of each sample as a number."""
    given = np.asarray(stratify)
    if given.shape != order.shape:
        raise ShapeError(
            f"{what}: stratify takes one class for each of {len(order)} samples, "
            f"not an array of shape {given.shape}"
        )
    _, classes = np.unique(given, return_inverse=True)
    return order[np.argsort(classes[order], kind="stable")], classes


def _require_all(what: str, train: Array, classes: Array) -> None:
    missing = np.setdiff1d(classes, classes[train])
    if missing.size:
        rare = int(np.sum(classes == missing[0]))
        raise ArgumentError(
            f"{what}: a training part would have none of class number {missing[0]} "
            f"(of {classes.max() + 1}), of which there are {rare}",
            hint="leave out classes that are so rare, or do not stratify",
        )
