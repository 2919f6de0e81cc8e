"""Losses of classes: cross-entropies and hinges, with gradients that are safe."""

from __future__ import annotations

from typing import Any

from graphnn.core.arguments import require_number
from graphnn.core.dtypes import INT32, INT64, is_floating, is_integer
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.losses.reduction import as_pair, as_weights, only, reduced, require_same_shape
from graphnn.nn.padding import real_steps
from graphnn.ops.activation import softplus
from graphnn.ops.arithmetic import maximum, where
from graphnn.ops.bounds import require_range
from graphnn.ops.broadcasting import sum
from graphnn.ops.exponential import log
from graphnn.ops.gathering import take_along_axis
from graphnn.ops.indexing import take
from graphnn.ops.logic import equal, logical_and, not_equal
from graphnn.ops.movement import expand_dims, squeeze, swapaxes
from graphnn.ops.operands import as_node, cast_to, operands, require_floating
from graphnn.ops.softmaxes import log_softmax
from graphnn.ops.statistics import mean

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge",
    "sequence_cross_entropy",
]

LOG_OF_ZERO = -100.0
"""What the logarithm of a probability of exactly 0 counts as, as in PyTorch."""


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Node:
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
    mask, weights : array_like or Node, optional
        Of shape (...): see :mod:`graphnn.losses`.
    class_weights : array_like or Node, optional
        Of shape (classes,): the term of a class counts so many times. With indices, the mean is
        the weighted one, as in PyTorch.
    label_smoothing : float, default 0
        From 0 to below 1: that much of every label is spread over all classes evenly. Source: C.
        Szegedy et al., arXiv:1512.00567.
    ignore_index : int, optional
        Rows with this label count nothing.

    Returns
    -------
    Node
        0-d, or of shape (...) for "none".

    Raises
    ------
    ShapeError, DTypeError
        If the labels do not fit the logits.
    ArgumentError
        If an option is out of range.
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
    what = "cross_entropy"
    logits, labels = require_floating(what, as_node(logits)), as_node(labels)
    if logits.ndim == 0:
        raise ShapeError("cross_entropy: logits need an axis of classes")
    smoothing = require_number(what, "label_smoothing", label_smoothing, below=1.0)
    is_soft = is_floating(labels.dtype)
    if is_soft:
        require_same_shape(what, logits, labels, "logits", "soft labels")
        _, labels = operands(what, [logits, labels], "f")
    else:
        hint = "cast one-hot labels to float32: they are probabilities, not indices"
        _require_indices(what, labels, logits, hint)
    if ignore_index is not None:
        mask = _without(ignore_index, labels, mask)
    losses = -log_softmax(only(what, mask, logits, rows=True))
    labels = only(what, mask, labels, rows=is_soft)
    of_class = None if class_weights is None else _class_weights(class_weights, logits)
    if of_class is not None:
        losses = losses * of_class
    if is_soft:
        terms = sum(labels * losses, axis=-1)
    else:
        labels = _in_range(what, labels, logits)
        terms = _of_class(losses, labels)
    if smoothing:
        terms = (1.0 - smoothing) * terms + smoothing * mean(losses, axis=-1)
    if of_class is None or is_soft or reduction != "mean":
        return reduced(what, terms, reduction, mask, weights)
    # The terms hold the weights of their classes already: the mean divides by their sum.
    own = take(of_class, labels, axis=0)
    weighed = reduced(what, terms, "sum", mask, weights)
    return weighed / reduced(what, own, "sum", mask, weights)


def _without(index: int, labels: Node, mask: Any) -> Node:
    """The mask, and false for labels of one index."""
    if is_floating(labels.dtype):
        raise DTypeError("cross_entropy: ignore_index is for labels that are indices")
    others = not_equal(labels, index)
    return others if mask is None else logical_and(others, as_node(mask))


def _require_indices(what: str, labels: Node, scores: Node, hint: str) -> None:
    """Check that labels are class indices, one for every row of the scores."""
    if not is_integer(labels.dtype):
        raise DTypeError(
            f"{what}: labels are class indices (integers) or probabilities (floats), "
            f"not {labels.dtype.name}"
        )
    if labels.shape != scores.shape[:-1]:
        raise ShapeError(
            f"{what}: scores {shape_text(scores.shape)} need class indices of shape "
            f"{shape_text(scores.shape[:-1])}, not {shape_text(labels.shape)}",
            hint=hint,
        )


def _in_range(what: str, labels: Node, scores: Node) -> Node:
    """The labels, of which every call checks that they are classes."""
    index = labels if labels.dtype in (INT32, INT64) else cast_to(labels, INT64)
    classes = scores.shape[-1]
    return require_range(index, 0, classes, f"{what}: label") if isinstance(classes, int) else index


def _of_class(values: Node, index: Node) -> Node:
    """Of every row, the value of its class."""
    return squeeze(take_along_axis(values, expand_dims(index, -1), axis=-1), -1)


def _class_weights(given: Any, logits: Node) -> Node:
    weights = as_weights("cross_entropy", given, logits)
    if weights.shape != logits.shape[-1:]:
        raise ShapeError(
            f"cross_entropy: class weights have shape {shape_text(weights.shape)}, there are "
            f"{shape_text(logits.shape[-1:])} classes"
        )
    return weights


def binary_cross_entropy(
    probabilities: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
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

    Examples
    --------
    >>> import graphnn as gn
    >>> print(gn.evaluate(gn.losses.binary_cross_entropy([0.9, 0.2], [1.0, 0.0])).round(4))
    0.1643
    """
    p, t = as_pair("binary_cross_entropy", probabilities, targets, mask)
    terms = -(t * _safe_log(p) + (1.0 - t) * _safe_log(1.0 - p))
    return reduced("binary_cross_entropy", terms, reduction, mask, weights)


def _safe_log(p: Node) -> Node:
    # Two choices: the logarithm in the branch not taken would spoil the derivative.
    is_zero = equal(p, 0.0)
    return where(is_zero, LOG_OF_ZERO, log(where(is_zero, 1.0, p)))


def binary_cross_entropy_with_logits(
    logits: Any,
    targets: Any,
    *,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
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

    Examples
    --------
    >>> import graphnn as gn
    >>> loss = gn.losses.binary_cross_entropy_with_logits([2.0, -1.0], [1.0, 0.0])
    >>> print(gn.evaluate(loss).round(4))
    0.2201
    """
    x, t = as_pair("binary_cross_entropy_with_logits", logits, targets, mask)
    terms = softplus(x) - t * x
    return reduced("binary_cross_entropy_with_logits", terms, reduction, mask, weights)


def hinge(
    scores: Any,
    labels: Any,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
    mask: Any = None,
    weights: Any = None,
) -> Node:
    """The hinge loss of support vector machines.

    For labels of -1 and 1, ``max(0, margin - t * y)`` element by element; its derivative at the
    corner is that of :func:`graphnn.maximum`. For class indices, the sum over the other classes
    of ``max(0, margin - y[label] + y[class])``. Sources: C. Cortes and V. Vapnik, Support-vector
    networks (1995); J. Weston and C. Watkins, Support vector machines for multi-class pattern
    recognition (1999).

    Parameters
    ----------
    scores : array_like or Node
        Of the shape of labels of -1 and 1; or (..., classes).
    labels : array_like or Node
        Floats, -1 or 1; or class indices, integers of shape (...).
    margin : float, default 1

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.losses.hinge([0.3, -2.0], [1.0, -1.0]))
    array(0.35, dtype=float32)
    >>> gn.evaluate(gn.losses.hinge([[2.0, 1.5, 0.0]], [0]))
    array(0.5, dtype=float32)
    """
    margin = require_number("hinge", "margin", margin)
    scores, labels = require_floating("hinge", as_node(scores)), as_node(labels)
    if not is_integer(labels.dtype):
        y, t = as_pair("hinge", scores, labels, mask)
        return reduced("hinge", maximum(margin - t * y, 0.0), reduction, mask, weights)
    hint = "labels of -1 and 1 are floats of the shape of the scores"
    _require_indices("hinge", labels, scores, hint)
    scores = only("hinge", mask, scores, rows=True)
    own = _of_class(scores, _in_range("hinge", only("hinge", mask, labels), scores))
    # The class itself adds the margin, whatever the scores are.
    terms = sum(maximum(margin - expand_dims(own, -1) + scores, 0.0), axis=-1) - margin
    return reduced("hinge", terms, reduction, mask, weights)


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
    labels = as_node(labels)
    if labels.ndim != 2:
        raise ShapeError(f"{what}: labels must be (batch, time), not {shape_text(labels.shape)}")
    batch, steps = labels.shape
    is_real = real_steps(what, (steps, batch), lengths)
    assert is_real is not None
    return cross_entropy(logits, labels, reduction=reduction, mask=swapaxes(is_real, 0, 1))
