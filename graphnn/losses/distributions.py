"""Losses between probability distributions along the last axis."""

from __future__ import annotations

from typing import Any

from graphnn.core.node import Node
from graphnn.losses.reduction import as_pair, reduced
from graphnn.ops.arithmetic import square, where
from graphnn.ops.broadcasting import sum
from graphnn.ops.exponential import log
from graphnn.ops.logic import equal
from graphnn.ops.statistics import safe_sqrt

__all__ = ["hellinger", "kl_divergence", "squared_hellinger"]


def kl_divergence(
    log_probabilities: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """The Kullback-Leibler divergence ``sum(t * (log(t) - log(p)))`` of each row.

    Parameters
    ----------
    log_probabilities : array_like or Node
        Of shape (..., classes): logarithms, as :func:`graphnn.log_softmax` gives them.
    targets : array_like or Node
        Of the same shape: probabilities. Where one is 0, its term is 0.
    reduction : {"mean", "sum", "none"}
        Over rows; PyTorch calls this mean "batchmean".

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> even = gn.log_softmax(gn.constant([[0.0, 0.0]]))
    >>> round(float(gn.evaluate(gn.losses.kl_divergence(even, [[1.0, 0.0]]))), 4)
    0.6931
    """
    p, t = as_pair("kl_divergence", log_probabilities, targets, mask, rows=True)
    is_zero = equal(t, 0.0)
    terms = where(is_zero, 0.0, t * (log(where(is_zero, 1.0, t)) - p))
    return reduced("kl_divergence", sum(terms, axis=-1), reduction, mask, weights)


def squared_hellinger(
    probabilities: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """The squared Hellinger distance ``sum((sqrt(p) - sqrt(t))**2) / 2`` of each row.

    Parameters
    ----------
    probabilities, targets : array_like or Node
        Of one shape (..., classes), not negative. Where a probability is 0, the derivative of
        its root counts as 0.
    reduction : {"mean", "sum", "none"}
        Over rows.

    Returns
    -------
    Node
        From 0, for equal distributions, to 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> print(gn.evaluate(gn.losses.squared_hellinger([[1.0, 0.0]], [[0.5, 0.5]])).round(4))
    0.2929
    """
    rows = _squared_distances("squared_hellinger", probabilities, targets, mask)
    return reduced("squared_hellinger", rows, reduction, mask, weights)


def hellinger(
    probabilities: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """The Hellinger distance, the root of :func:`squared_hellinger`, of each row.

    Where two rows are equal, the derivative counts as 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> print(gn.evaluate(gn.losses.hellinger([[1.0, 0.0]], [[0.5, 0.5]])).round(4))
    0.5412
    """
    rows = safe_sqrt(_squared_distances("hellinger", probabilities, targets, mask))
    return reduced("hellinger", rows, reduction, mask, weights)


def _squared_distances(what: str, probabilities: Any, targets: Any, mask: Any) -> Node:
    p, t = as_pair(what, probabilities, targets, mask, rows=True)
    return 0.5 * sum(square(safe_sqrt(p) - safe_sqrt(t)), axis=-1)
