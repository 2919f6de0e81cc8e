"""Losses of numbers: squared, absolute, and what lies between."""

from __future__ import annotations

from typing import Any

from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.losses.reduction import as_pair, reduced
from graphnn.ops.arithmetic import abs, minimum, square
from graphnn.ops.broadcasting import sum
from graphnn.ops.norms import norm
from graphnn.ops.statistics import safe_divide, safe_sqrt, size_of

__all__ = ["cosine", "huber", "mae", "mse", "quadratic", "rmse"]


def mse(
    predictions: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """Squared error ``(y - t)**2``, element by element.

    See :mod:`graphnn.losses` for ``reduction``, ``mask`` and ``weights``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.losses.mse([1.0, 5.0], [2.0, 2.0]))
    array(5., dtype=float32)
    >>> gn.evaluate(gn.losses.mse([1.0, 5.0], [2.0, 2.0], mask=[True, False]))
    array(1., dtype=float32)
    """
    y, t = as_pair("mse", predictions, targets, mask)
    return reduced("mse", square(y - t), reduction, mask, weights)


def rmse(predictions: Any, targets: Any, *, mask: Any = None, weights: Any = None) -> Node:
    """The root of the mean squared error, in the unit of the targets: 0-d.

    Where the error is 0, its derivative is 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> print(gn.evaluate(gn.losses.rmse([4.0, 5.0], [1.0, 1.0])).round(4))
    3.5355
    """
    return safe_sqrt(mse(predictions, targets, mask=mask, weights=weights))


def mae(
    predictions: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """Absolute error ``abs(y - t)``, element by element; its derivative at 0 is 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.losses.mae([1.0, 5.0], [2.0, 2.0]))
    array(2., dtype=float32)
    """
    y, t = as_pair("mae", predictions, targets, mask)
    return reduced("mae", abs(y - t), reduction, mask, weights)


def huber(
    predictions: Any,
    targets: Any,
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """Half the squared error near 0, linear beyond ``delta``: outliers pull less.

    ``e**2 / 2`` where ``abs(e) <= delta``, else ``delta * (abs(e) - delta / 2)``.
    Source: P. Huber, Robust estimation of a location parameter (1964).

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.losses.huber([0.5, 3.0], [0.0, 0.0], reduction="none"))
    array([0.125, 2.5  ], dtype=float32)
    """
    if not delta > 0:
        raise ArgumentError(f"huber: delta must be positive, not {delta!r}")
    y, t = as_pair("huber", predictions, targets, mask)
    distance = abs(y - t)
    near = minimum(distance, delta)
    return reduced("huber", near * (distance - 0.5 * near), reduction, mask, weights)


def quadratic(predictions: Any, targets: Any) -> Node:
    """The quadratic cost ``sum((y - t)**2) / (2 n)`` over ``n`` samples, the rows.

    Source: M. Nielsen, Neural networks and deep learning (2015), equation 6. Its gradient with
    respect to ``y`` is ``(y - t) / n``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.losses.quadratic([[1.0, 5.0]], [[2.0, 2.0]]))
    array(5., dtype=float32)
    """
    y, t = as_pair("quadratic", predictions, targets, None)
    samples = size_of(y.shape[0] if y.ndim else 1, y.dtype)
    return sum(square(y - t)) / (2.0 * samples)


def cosine(
    predictions: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """One minus the cosine of the angle between vectors along the last axis.

    0 for the same direction, 2 for the opposite one. A vector of zeros has the cosine 0 with
    every other one, and no gradient.

    Parameters
    ----------
    predictions, targets : array_like or Node
        Of one shape (..., features).

    Examples
    --------
    >>> import graphnn as gn
    >>> print(gn.evaluate(gn.losses.cosine([[1.0, 0.0]], [[1.0, 1.0]])).round(4))
    0.2929
    """
    y, t = as_pair("cosine", predictions, targets, mask, rows=True)
    lengths = norm(y, axis=-1) * norm(t, axis=-1)
    cosines = safe_divide(sum(y * t, axis=-1), lengths)
    return reduced("cosine", 1.0 - cosines, reduction, mask, weights)
