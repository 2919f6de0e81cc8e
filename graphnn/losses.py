"""Losses: what training makes small. Functions from nodes to a node, with gradients that are safe.

All take ``reduction``: ``"mean"`` over all terms (the default), ``"sum"``, or ``"none"``, which
keeps one term per sample or element.
"""

from __future__ import annotations

from typing import Any

from graphnn.core.dtypes import INT32, INT64, is_floating, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.padding import real_steps
from graphnn.ops.activation import softplus
from graphnn.ops.arithmetic import abs, maximum, minimum, square, where
from graphnn.ops.bounds import require_range
from graphnn.ops.broadcasting import sum
from graphnn.ops.exponential import log
from graphnn.ops.gathering import take_along_axis
from graphnn.ops.logic import equal
from graphnn.ops.movement import expand_dims, squeeze, swapaxes
from graphnn.ops.operands import as_node, cast_to, operands, require_floating
from graphnn.ops.softmaxes import log_softmax
from graphnn.ops.statistics import mean, size_of

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber",
    "mae",
    "mse",
    "quadratic",
    "sequence_cross_entropy",
]

LOG_OF_ZERO = -100.0
"""What the logarithm of a probability of exactly 0 counts as, as in PyTorch."""


def cross_entropy(logits: Any, labels: Any, *, reduction: str = "mean") -> Node:
    """Cross-entropy between the softmax of logits and labels.

    Computed through :func:`graphnn.log_softmax`, so that nothing overflows and the logarithm of 0
    is never taken; the gradient is ``softmax(logits) - labels``.

    Parameters
    ----------
    logits : array_like or Node
        Of shape (..., classes): one score per class, before any softmax.
    labels : array_like or Node
        Class indices, integers of shape (...); or, of the shape of ``logits``, one-hot rows or
        other probabilities, floats.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Node
        0-d, or of shape (...) for "none".

    Raises
    ------
    ShapeError, DTypeError
        If the labels do not fit the logits.
    FeedError
        At run time, for an index that is no class.

    Examples
    --------
    >>> import graphnn as gn
    >>> logits = gn.input("logits", shape=("batch", 10))
    >>> labels = gn.input("labels", shape=("batch",), dtype="int64")
    >>> loss = gn.losses.cross_entropy(logits, labels)
    >>> round(float(gn.evaluate(loss, {logits: [[0.0] * 10], labels: [3]})), 4)
    2.3026
    """
    logits, labels = require_floating("cross_entropy", as_node(logits)), as_node(labels)
    if logits.ndim == 0:
        raise ShapeError("cross_entropy: logits need an axis of classes")
    log_probabilities = log_softmax(logits)
    if is_floating(labels.dtype):
        _require_same_shape("cross_entropy", logits, labels, "logits", "soft labels")
        _, labels = operands("cross_entropy", [logits, labels], "f")
        terms = -sum(labels * log_probabilities, axis=-1)
        return _reduce("cross_entropy", terms, reduction)
    if not is_integer(labels.dtype):
        raise DTypeError(
            f"cross_entropy: labels are class indices (integers) or probabilities (floats), "
            f"not {labels.dtype.name}"
        )
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: logits {shape_text(logits.shape)} need class indices of shape "
            f"{shape_text(logits.shape[:-1])}, not {shape_text(labels.shape)}",
            hint="cast one-hot labels to float32: they are probabilities, not indices",
        )
    index = labels if labels.dtype in (INT32, INT64) else cast_to(labels, INT64)
    if isinstance(logits.shape[-1], int):
        index = require_range(index, 0, logits.shape[-1], "cross_entropy: label")
    chosen = take_along_axis(log_probabilities, expand_dims(index, -1), axis=-1)
    return _reduce("cross_entropy", -squeeze(chosen, -1), reduction)


def binary_cross_entropy(probabilities: Any, targets: Any, *, reduction: str = "mean") -> Node:
    """``-(t * log(p) + (1 - t) * log(1 - p))``, element by element.

    Where a network ends in a sigmoid, :func:`binary_cross_entropy_with_logits` of what enters
    the sigmoid is safer and faster.

    Parameters
    ----------
    probabilities : array_like or Node
        Between 0 and 1. The logarithm of 0 counts as -100, with derivative 0.
    targets : array_like or Node
        Of the same shape, 0, 1 or between.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Node
    """
    p, t = _pair("binary_cross_entropy", probabilities, targets)
    terms = -(t * _safe_log(p) + (1.0 - t) * _safe_log(1.0 - p))
    return _reduce("binary_cross_entropy", terms, reduction)


def _safe_log(p: Node) -> Node:
    # Two choices: the logarithm in the branch not taken would spoil the derivative.
    is_zero = equal(p, 0.0)
    return where(is_zero, LOG_OF_ZERO, log(where(is_zero, 1.0, p)))


def binary_cross_entropy_with_logits(logits: Any, targets: Any, *, reduction: str = "mean") -> Node:
    """Binary cross-entropy of ``sigmoid(logits)``, without overflow.

    It is ``softplus(x) - t * x``, and its gradient ``sigmoid(x) - t``.

    Parameters
    ----------
    logits : array_like or Node
    targets : array_like or Node
        Of the same shape, 0, 1 or between.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Node
    """
    x, t = _pair("binary_cross_entropy_with_logits", logits, targets)
    return _reduce("binary_cross_entropy_with_logits", softplus(x) - t * x, reduction)


def mse(predictions: Any, targets: Any, *, reduction: str = "mean") -> Node:
    """Squared error ``(y - t)**2``, element by element."""
    y, t = _pair("mse", predictions, targets)
    return _reduce("mse", square(y - t), reduction)


def mae(predictions: Any, targets: Any, *, reduction: str = "mean") -> Node:
    """Absolute error ``abs(y - t)``, element by element; its derivative at 0 is 0."""
    y, t = _pair("mae", predictions, targets)
    return _reduce("mae", abs(y - t), reduction)


def huber(predictions: Any, targets: Any, *, delta: float = 1.0, reduction: str = "mean") -> Node:
    """Half the squared error near 0, linear beyond ``delta``: outliers pull less.

    ``e**2 / 2`` where ``abs(e) <= delta``, else ``delta * (abs(e) - delta / 2)``.
    Source: P. Huber, Robust estimation of a location parameter (1964).
    """
    if not delta > 0:
        raise ArgumentError(f"huber: delta must be positive, not {delta!r}")
    y, t = _pair("huber", predictions, targets)
    distance = abs(y - t)
    near = minimum(distance, delta)
    return _reduce("huber", near * (distance - 0.5 * near), reduction)


def quadratic(predictions: Any, targets: Any) -> Node:
    """The quadratic cost ``sum((y - t)**2) / (2 n)`` over ``n`` samples, the rows.

    Source: M. Nielsen, Neural networks and deep learning (2015), equation 6. Its gradient with
    respect to ``y`` is ``(y - t) / n``.
    """
    y, t = _pair("quadratic", predictions, targets)
    samples = size_of(y.shape[0] if y.ndim else 1, y.dtype)
    return sum(square(y - t)) / (2.0 * samples)


def sequence_cross_entropy(
    logits: Any, labels: Any, lengths: Any, *, reduction: str = "mean"
) -> Node:
    """Cross-entropy of every step of padded sequences; padding counts nothing.

    Parameters
    ----------
    logits : array_like or Node
        Of shape (batch, time, classes).
    labels : array_like or Node
        Class indices of shape (batch, time); for padding, any.
    lengths : array_like or Node
        Integers of shape (batch,): how many steps of every row are no padding.
    reduction : {"mean", "sum", "none"}
        The mean is that of all steps that count, 0 if there are none; "none" gives (batch, time)
        with 0 for padding.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> logits = gn.zeros((2, 3, 10))
    >>> loss = gn.losses.sequence_cross_entropy(logits, [[1, 2, 0], [3, 4, 5]], [2, 3])
    >>> round(float(gn.evaluate(loss)), 4)
    2.3026
    """
    what = "sequence_cross_entropy"
    terms = cross_entropy(logits, labels, reduction="none")
    if terms.ndim != 2:
        raise ShapeError(f"{what}: labels must be (batch, time), not {shape_text(terms.shape)}")
    batch, steps = terms.shape
    is_real = real_steps(what, (steps, batch), lengths)
    assert is_real is not None
    is_real = swapaxes(is_real, 0, 1)
    kept = where(is_real, terms, 0.0)
    if reduction != "mean":
        return _reduce(what, kept, reduction)
    return sum(kept) / maximum(sum(cast_to(is_real, terms.dtype)), 1.0)


def _pair(what: str, predictions: Any, targets: Any) -> tuple[Node, Node]:
    """Both in one float dtype, and of one shape: broadcasting would hide a mistake here."""
    y, t = operands(what, [as_node(predictions), as_node(targets)], "f")
    _require_same_shape(what, y, t, "predictions", "targets")
    return y, t


def _require_same_shape(what: str, a: Node, b: Node, word_a: str, word_b: str) -> None:
    if a.shape != b.shape:
        raise ShapeError(
            f"{what}: {word_a} have shape {shape_text(a.shape)}, {word_b} {shape_text(b.shape)}",
            hint="they must be equal; reshape or expand_dims one of them",
        )


def _reduce(what: str, terms: Node, reduction: str) -> Node:
    if reduction == "mean":
        return mean(terms)
    if reduction == "sum":
        return sum(terms)
    if reduction == "none":
        return terms
    raise ArgumentError(
        f"{what}: there is no reduction {reduction!r}", hint='"mean", "sum" or "none"'
    )
