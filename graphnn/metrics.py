"""Metrics: how good predictions are. Functions of arrays, over a whole data set at once.

:func:`accuracy` and :func:`top_k_accuracy` take nodes too and then give a node, so that a step of
training can measure them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from graphnn.core.arguments import require_known, require_positive
from graphnn.core.dtypes import FLOAT32, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.broadcasting import sum as total
from graphnn.ops.gathering import take_along_axis
from graphnn.ops.logic import equal
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.reduction import argmax
from graphnn.ops.statistics import mean

__all__ = [
    "accuracy",
    "confusion_matrix",
    "edit_distance",
    "error_rate",
    "f1",
    "perplexity",
    "precision",
    "r2",
    "recall",
    "roc_auc",
    "top_k_accuracy",
]

AVERAGES = ("macro", "micro", "weighted", "none")


def accuracy(predictions: Any, labels: Any) -> Any:
    """The share of samples whose class is right.

    Parameters
    ----------
    predictions : array_like or Node
        Class indices of the shape of ``labels``, or scores (..., classes), of which the largest
        one counts; of several equal ones the first.
    labels : array_like or Node
        Class indices, integers of shape (...).

    Returns
    -------
    float, or 0-d float32 Node if one of both is a node

    Raises
    ------
    ShapeError
        If the shapes do not fit, or there are no samples.
    DTypeError
        If the labels are no integers.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.metrics.accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    if isinstance(predictions, Node) or isinstance(labels, Node):
        predictions, labels = as_node(predictions), as_node(labels)
        _require_fit("accuracy", predictions, labels)
        if predictions.ndim > labels.ndim:
            predictions = argmax(predictions, axis=-1)
        same = equal(predictions, cast_to(labels, predictions.dtype))
        return mean(cast_to(same, FLOAT32))
    chosen, truth = _classes("accuracy", predictions, labels)
    return float(np.mean(chosen == truth))


def top_k_accuracy(scores: Any, labels: Any, k: int = 5) -> Any:
    """The share of samples whose class is among the ``k`` largest scores.

    A class with as large a score as others of its sample comes before those.

    Parameters
    ----------
    scores : array_like or Node
        Of shape (..., classes).
    labels : array_like or Node
        Class indices, integers of shape (...).
    k : int, default 5

    Returns
    -------
    float, or 0-d float32 Node if one of both is a node

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If shapes do not fit, labels are no integers, or ``k`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.metrics.top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), 2)
    0.5
    """
    require_positive("top_k_accuracy", k=k)
    if isinstance(scores, Node) or isinstance(labels, Node):
        nodes, truth = as_node(scores), as_node(labels)
        _require_fit("top_k_accuracy", nodes, truth, needs_scores=True)
        of_class = take_along_axis(nodes, expand_dims(truth, -1), axis=-1)
        larger = total(cast_to(nodes > of_class, FLOAT32), axis=-1)
        return mean(cast_to(larger < float(k), FLOAT32))
    values, indices = np.asarray(scores), np.asarray(labels)
    _require_fit("top_k_accuracy", values, indices, needs_scores=True)
    own = np.take_along_axis(values, indices[..., None], axis=-1)
    return float(np.mean((values > own).sum(axis=-1) < k))


def confusion_matrix(predictions: Any, labels: Any, classes: int | None = None) -> Array:
    """How often samples of each class, the rows, were taken for each class, the columns.

    Parameters
    ----------
    predictions : array_like
        Class indices of the shape of ``labels``, or scores (..., classes).
    labels : array_like
        Class indices, integers.
    classes : int, optional
        Default: as many as the scores or the largest index tell.

    Returns
    -------
    numpy.ndarray
        Of shape (classes, classes), int64.

    Raises
    ------
    ShapeError, DTypeError
        See :func:`accuracy`.
    ArgumentError
        If an index is negative, or not below ``classes``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.metrics.confusion_matrix([0, 1, 1, 1], [0, 0, 1, 1])
    array([[1, 1],
           [0, 2]])
    """
    return _counts("confusion_matrix", predictions, labels, classes)


def precision(
    predictions: Any, labels: Any, *, average: str = "macro", classes: int | None = None
) -> Any:
    """Of what was taken for a class, the share that belongs to it.

    Parameters
    ----------
    predictions, labels, classes
        See :func:`confusion_matrix`.
    average : {"macro", "micro", "weighted", "none"}
        The mean over classes; over samples; over classes by how often they occur; or an array
        with one number for each class. Where nothing was taken for a class it is 0.

    Returns
    -------
    float, or float64 numpy.ndarray of shape (classes,)

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> chosen, labels = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    >>> gn.metrics.precision(chosen, labels, average="none").round(3)
    array([1.   , 0.667])
    """
    return _rates("precision", predictions, labels, average, classes)


def recall(
    predictions: Any, labels: Any, *, average: str = "macro", classes: int | None = None
) -> Any:
    """Of what belongs to a class, the share that was taken for it.

    See :func:`precision`.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> chosen, labels = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    >>> gn.metrics.recall(chosen, labels, average="none")
    array([0.5, 1. ])
    """
    return _rates("recall", predictions, labels, average, classes)


def f1(predictions: Any, labels: Any, *, average: str = "macro", classes: int | None = None) -> Any:
    """The harmonic mean of :func:`precision` and :func:`recall`, class by class.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> round(gn.metrics.f1(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])), 3)
    0.733
    """
    return _rates("f1", predictions, labels, average, classes)


def _rates(what: str, predictions: Any, labels: Any, average: str, classes: int | None) -> Any:
    require_known(what, "average", average, AVERAGES)
    counts = _counts(what, predictions, labels, classes)
    right, taken, there = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    # 2 * p * r / (p + r) is 2 * right / (taken + there).
    times, all_of = {
        "precision": (1, taken),
        "recall": (1, there),
        "f1": (2, taken + there),
    }[what]
    if average == "micro":
        return float(times * right.sum() / all_of.sum())
    rates = np.divide(times * right, all_of, out=np.zeros(len(right)), where=all_of > 0)
    if average == "none":
        return rates
    if average == "weighted":
        return float(rates @ there / there.sum())
    occurs = taken + there > 0  # a class that nobody speaks of has no rate
    return float(rates[occurs].mean())


def roc_auc(scores: Any, labels: Any) -> float:
    """The area under the curve of true against false positives.

    It is the probability that a sample of the class has a larger score than one that is not, equal
    scores counting half.

    Parameters
    ----------
    scores : array_like
        Of shape (samples,), for labels of 0 and 1; or (samples, classes): the mean over classes,
        each against the others.
    labels : array_like
        Integers of shape (samples,).

    Returns
    -------
    float

    Raises
    ------
    ShapeError, DTypeError
        If the shapes do not fit, or the labels are no integers.
    ArgumentError
        If a class has no sample, or all of them.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.metrics.roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    _require_fit("roc_auc", values, truth)
    if truth.ndim != 1:
        raise ShapeError(f"roc_auc: labels have one axis, of samples, not {truth.ndim}")
    if values.ndim == 1:
        return _area(values, truth == 1, 1)
    return float(np.mean([_area(values[:, k], truth == k, k) for k in range(values.shape[1])]))


def _area(scores: Array, is_in: Array, name: int) -> float:
    inside, outside = int(is_in.sum()), int((~is_in).sum())
    if not inside or not outside:
        raise ArgumentError(
            f"roc_auc: {inside} of {inside + outside} samples are of class {name}",
            hint="it compares those of a class with others: both are needed",
        )
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2.0)[place]  # equal scores share the mean of their ranks
    return float((ranks[is_in].sum() - inside * (inside + 1) / 2) / (inside * outside))


def r2(predictions: Any, targets: Any) -> float:
    """The coefficient of determination: the share of the variance that is explained.

    1 for perfect predictions, 0 for the mean of the targets, negative for worse. Of several
    outputs, the last axis, the mean.

    Raises
    ------
    ShapeError
        If the shapes differ, or there are fewer than two samples.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.metrics.r2(np.array([1.0, 2.0, 3.5]), np.array([1.0, 2.0, 3.0]))
    0.875
    """
    y, t = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if y.shape != t.shape or y.ndim not in (1, 2) or len(y) < 2:
        raise ShapeError(
            f"r2: predictions {y.shape} and targets {t.shape} must be (samples,) or "
            "(samples, outputs), with at least two samples"
        )
    unexplained = ((y - t) ** 2).sum(axis=0)
    variance = ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    constant = np.where(unexplained == 0, 1.0, 0.0)  # of targets that do not vary
    varies = variance > 0
    shares = np.where(varies, 1.0 - unexplained / np.where(varies, variance, 1.0), constant)
    return float(shares.mean())


def perplexity(cross_entropy: float) -> float:
    """``exp`` of a mean cross-entropy in nats: among how many tokens a model hesitates.

    Examples
    --------
    >>> import math
    >>> import graphnn as gn
    >>> round(gn.metrics.perplexity(math.log(10.0)), 6)
    10.0
    """
    return float(np.exp(cross_entropy))


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions that make one sequence the other.

    Source: V. Levenshtein (1966); computed row by row.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.metrics.edit_distance("kitten", "sitting")
    3
    """
    before = list(range(len(second) + 1))
    for row, left in enumerate(first, start=1):
        now = [row]
        for column, right in enumerate(second, start=1):
            changed = before[column - 1] + (left != right)
            now.append(min(changed, before[column] + 1, now[-1] + 1))
        before = now
    return before[-1]


def error_rate(
    predictions: Iterable[Sequence[Hashable]], references: Iterable[Sequence[Hashable]]
) -> float:
    """Edits over all sequences, for each token of the references: a word or phoneme error rate.

    Raises
    ------
    ShapeError
        If there are not as many predictions as references.
    ArgumentError
        If the references are empty.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.metrics.error_rate(["kitten", "no"], ["sitting", "no"])
    0.3333333333333333
    """
    given, wanted = list(predictions), list(references)
    if len(given) != len(wanted):
        raise ShapeError(f"error_rate: {len(given)} predictions for {len(wanted)} references")
    tokens = sum(map(len, wanted))
    if not tokens:
        raise ArgumentError("error_rate: the references have no tokens")
    return sum(map(edit_distance, given, wanted)) / tokens


def _classes(what: str, predictions: Any, labels: Any) -> tuple[Array, Array]:
    """Predicted and true class indices."""
    given, truth = np.asarray(predictions), np.asarray(labels)
    _require_fit(what, given, truth)
    return (given.argmax(axis=-1) if given.ndim > truth.ndim else given), truth


def _counts(what: str, predictions: Any, labels: Any, classes: int | None) -> Array:
    chosen, truth = _classes(what, predictions, labels)
    highest = int(max(chosen.max(), truth.max()))
    n_scores = np.shape(predictions)[-1] if np.ndim(predictions) > truth.ndim else 0
    n = max(highest + 1, n_scores) if classes is None else classes
    if min(chosen.min(), truth.min()) < 0 or highest >= n:
        raise ArgumentError(f"{what}: class indices go from 0 to {n - 1}, not to {highest}")
    pairs = truth.astype(np.int64).ravel() * n + chosen.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def _require_fit(what: str, predictions: Any, labels: Any, *, needs_scores: bool = False) -> None:
    """Check that labels are class indices, one for each prediction."""
    if not is_integer(labels.dtype):
        raise DTypeError(
            f"{what}: labels are class indices (integers), not {labels.dtype.name}",
            hint="of one-hot rows take the argmax along the last axis",
        )
    is_of_scores = predictions.shape[:-1] == labels.shape and predictions.ndim > labels.ndim
    if not is_of_scores and (needs_scores or predictions.shape != labels.shape):
        raise ShapeError(
            f"{what}: predictions of shape {predictions.shape} do not fit labels of shape "
            f"{labels.shape}",
            hint="scores have one axis more, of classes",
        )
    if 0 in labels.shape:
        raise ShapeError(f"{what}: there are no samples")
