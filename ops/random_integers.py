"""Random integers, orders and classes.

:mod:`graphnn.ops.random` is where users find them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Dim
from graphnn.core.dtypes import FLOAT32, FLOAT64, INT32, INT64
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.spec import broadcast_shapes
from graphnn.ops.arithmetic import cast, mod
from graphnn.ops.axes import as_shape, normalize_axis
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.distributions import require_broadcast
from graphnn.ops.exponential import log
from graphnn.ops.indexing import take
from graphnn.ops.logic import bitwise_and, right_shift
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node, cast_to, is_number, operands, require_floating
from graphnn.ops.philox import RANDOM_PERMUTATION, random_bits, reference_bits
from graphnn.ops.reduction import argmax
from graphnn.ops.streams import KEY, NO_KEY, as_key

__all__ = ["categorical", "permutation", "randint"]


def _reference_randint(of: Any, shape: Any, low: Any, high: Any) -> Any:
    return np.asarray(reference_bits(of, shape) % 2**63 % (high - low) + low, dtype=np.int64)


@operation(
    name="random.randint",
    reference=_reference_randint,
    samples=[Sample(KEY, (3, 4), -2, 5), Sample(KEY, (), 0, 2**40), Sample(KEY, (0,), 0, 1)],
    rejects=[
        *(Reject(each.error, each.words, *each.args, 0, 5) for each in NO_KEY),
        Reject(ArgumentError, "no integers from 3 up to 3", KEY, (2,), 3, 3),
        Reject(ShapeError, "do not broadcast", KEY, (2,), 0, Arg((3,), 5, 9, kind="int")),
    ],
    differentiable=False,
)
def randint(key: Any = None, shape: Any = (), low: Any = 0, high: Any = 2) -> Node:
    """Integers from ``low`` up to, not including, ``high``, all alike (to within 2**-23).

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    shape : tuple of sizes
    low, high : int or Node
        At most 2**40 apart; they broadcast to the shape.

    Returns
    -------
    Node
        int64.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.random.randint(gn.random.key(0), (5,), 1, 7)
    <Node add (5,) int64>
    """
    if is_number(low) and is_number(high) and low >= high:
        raise ArgumentError(f"randint: there are no integers from {low} up to {high}")
    first, end = (cast_to(each, INT64) for each in operands("randint", [low, high], "i"))
    sizes = as_shape("randint", shape)
    require_broadcast("randint", broadcast_shapes("randint", first.shape, end.shape), sizes)
    bits = random_bits(as_key("randint", key), sizes, INT64)
    return first + mod(bitwise_and(bits, 2**63 - 1), end - first)


def _reference_permutation(of: Any, x: Any) -> Any:
    size = x if isinstance(x, int) else len(x)
    bits = reference_bits(of, (size,))
    order = sorted(range(size), key=lambda i: (bits[i] + 2**63) % 2**64)
    return np.array(order, np.int64) if isinstance(x, int) else np.asarray(x)[order]


@operation(
    name="random.permutation",
    reference=_reference_permutation,
    samples=[Sample(KEY, 7), Sample(KEY, 0), Sample(KEY, Arg((5, 2))), Sample(KEY, 1)],
    rejects=[
        Reject(ShapeError, "a key has shape (2,)", 5, 7),
        Reject(ShapeError, "negative", KEY, -1),
    ],
    dtypes="bifc",
)
def permutation(key: Any = None, x: Any = 1) -> Node:
    """The numbers below ``x``, or the rows of an array, in random order.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    x : size, array_like or Node
        How many, or an array that is shuffled along its first axis.

    Returns
    -------
    Node
        int64 of shape (x,), or the array's shape and dtype.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3))
    >>> gn.random.permutation(gn.random.key(0), x).shape
    (Dim(batch), 3)
    """
    rows = None if isinstance(x, int | np.integer | str | Dim) else as_node(x)
    if rows is not None and rows.ndim == 0:
        raise ShapeError("permutation: a 0-d node has no rows", hint="give the number as an int")
    (size,) = as_shape("permutation", x if rows is None else rows.shape[0])
    order = make_node(RANDOM_PERMUTATION, (as_key("permutation", key),), {"size": size})
    return order if rows is None else take(rows, order, axis=0)


def _reference_categorical(of: Any, logits: Any, axis: int = -1, shape: Any = None) -> Any:
    rows = np.moveaxis(np.asarray(logits), axis, -1)
    sizes = rows.shape[:-1] if shape is None else shape
    leading = reference_bits(of, (*sizes, rows.shape[-1])) // 2**41
    noise = -np.log(-np.log(np.asarray((leading + 0.5) / 2**23, dtype=np.float64)))
    return np.argmax(rows + noise, axis=-1)


@operation(
    name="random.categorical",
    reference=_reference_categorical,
    samples=[
        Sample(KEY, Arg((4, 3))),
        Sample(KEY, Arg((4, 3)), 0),
        Sample(KEY, Arg((3,)), -1, (2, 5)),
        Sample(KEY, [0.0, -np.inf, 0.0], -1, (20,)),
    ],
    rejects=[
        Reject(ShapeError, "a key has shape (2,)", 5, Arg((4, 3))),
        Reject(ShapeError, "axis 2 is out of range", KEY, Arg((4, 3)), 2),
        Reject(ShapeError, "do not broadcast", KEY, Arg((4, 3)), -1, (5,)),
    ],
    differentiable=False,
    corner="a logit of -inf is never drawn, unless all are",
)
def categorical(key: Any = None, logits: Any = 0.0, axis: int = -1, shape: Any = None) -> Node:
    """Draw classes with probabilities ``softmax(logits)``, by adding Gumbel noise.

    Parameters
    ----------
    key : Node, optional
        Default: a fresh one from the default stream.
    logits : array_like or Node
        Logarithms of probabilities, up to a constant.
    axis : int, default -1
        The axis of classes.
    shape : tuple of sizes, optional
        Shape of the result, to which the other axes of ``logits`` broadcast; default: these.

    Returns
    -------
    Node
        int64.

    Examples
    --------
    >>> import graphnn as gn
    >>> logits = gn.input("logits", shape=("batch", 10))
    >>> gn.random.categorical(gn.random.key(0), logits)
    <Node argmax (batch,) int64>
    """
    scores = require_floating("categorical", as_node(logits))
    scores = moveaxis(scores, normalize_axis("categorical", axis, scores.ndim), -1)
    if scores.dtype != FLOAT64:
        scores = cast(scores, FLOAT32)
    sizes = scores.shape[:-1] if shape is None else as_shape("categorical", shape)
    require_broadcast("categorical", scores.shape[:-1], sizes)
    drawn = (*sizes, scores.shape[-1])
    bits = random_bits(as_key("categorical", key), drawn, INT32)
    leading = bitwise_and(right_shift(bits, 9), 2**23 - 1)
    between = (cast(leading, scores.dtype) + 0.5) * 2.0**-23  # never 0 and never 1
    return argmax(scores - log(-log(between)), axis=-1)
