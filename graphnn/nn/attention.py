"""Attention of a recurrent net: how much a decoder takes of every step that an encoder made.

The queries are one vector per sample, those of one step. What depends on the keys alone, such as
their product with a weight, a compiled scan computes once, before its loop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.nn.padding import real_steps
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import sum
from graphnn.ops.constants import constant
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node
from graphnn.ops.products import matmul
from graphnn.ops.softmaxes import softmax
from graphnn.ops.trigonometric import tanh

__all__ = ["AdditiveAttention", "Attention", "DotAttention"]


class Attention(Module):
    """Means of values, weighted by how well their keys answer a query. Subclasses give `scores`.

    Attributes
    ----------
    query_features, key_features : int
        Sizes of the last axes of queries and keys.

    Examples
    --------
    >>> import graphnn as gn
    >>> class NearestKeys(gn.nn.Attention):
    ...     def scores(self, query, keys):
    ...         return -gn.sum((query - keys) ** 2, -1)
    >>> query, keys = gn.input("query", ("batch", 4)), gn.input("keys", ("time", "batch", 4))
    >>> context, weights = NearestKeys(4, 4)(query, keys)
    >>> context.shape
    (Dim(batch), 4)
    """

    def __init__(self, query_features: int, key_features: int) -> None:
        require_positive(
            type(self).__name__, query_features=query_features, key_features=key_features
        )
        self.query_features = query_features
        self.key_features = key_features

    def scores(self, query: Node, keys: Node) -> Node:
        """How well keys (time, batch, key_features) answer queries (batch, query_features).

        Returns
        -------
        Node
            Of shape (time, batch): any numbers, the larger the better.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores")

    def forward(
        self, query: Any, keys: Any, values: Any = None, *, lengths: Any = None, mask: Any = None
    ) -> tuple[Node, Node]:
        """Apply the layer.

        Parameters
        ----------
        query : Node, of shape (batch, query_features)
        keys : Node, of shape (time, batch, key_features)
        values : Node, of shape (time, batch, features), optional
            Default: the keys.
        lengths : Node, of shape (batch,), optional
            Integers: how many steps of a sample count, from the first. The others weigh 0, and
            their keys and values may be anything, NaN as well.
        mask : Node, of shape (time, batch), optional
            Bool: which steps count; instead of lengths.

        Returns
        -------
        context : Node, of shape (batch, features)
            The weighted mean; 0 for a sample of which no step counts.
        weights : Node, of shape (time, batch)
            At least 0, with sum 1 over the steps, or 0 if none counts.

        Raises
        ------
        ShapeError, DTypeError
            If shapes do not fit, or the dtype of lengths or mask.
        ArgumentError
            If both lengths and a mask are given.
        """
        query, keys = as_node(query), as_node(keys)
        values = keys if values is None else as_node(values)
        self._check(query, keys, values)
        seen = real_steps(repr(self), keys.shape[:2], lengths, mask)
        if seen is not None:  # a weight of 0 does not silence NaN
            beside = expand_dims(seen, -1)
            is_key = values is keys
            keys = where(beside, keys, 0)
            values = keys if is_key else where(beside, values, 0)
        scores = self.scores(query, keys).named("scores")
        weights = _masked_softmax(scores, seen).named("weights")
        context = sum(expand_dims(weights, -1) * values, 0).named("context")
        return context, weights

    def _check(self, query: Node, keys: Node, values: Node) -> None:
        batch = query.shape[:1]
        if query.shape != (*batch, self.query_features) or not batch:
            raise ShapeError(
                f"{self!r}: the query must have shape (batch, {self.query_features}), "
                f"not {shape_text(query.shape)}",
                hint="gn.vmap(attention, (0, None))(queries, keys) takes many queries per sample",
            )
        for word, node, features in (("keys", keys, self.key_features), ("values", values, None)):
            if node.ndim != 3 or node.shape[1:2] != batch or features not in (None, node.shape[2]):
                wanted = "features" if features is None else features
                raise ShapeError(
                    f"{self!r}: the {word} must have shape (time, {batch[0]}, {wanted}), "
                    f"not {shape_text(node.shape)}"
                )
        if values.shape[0] != keys.shape[0]:
            raise ShapeError(
                f"{self!r}: there are keys of {keys.shape[0]} steps and values of {values.shape[0]}"
            )

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.query_features}, {self.key_features}"


def _masked_softmax(scores: Node, seen: Node | None) -> Node:
    """Weights over the leading axis, 0 where nothing is seen."""
    if seen is None:
        return softmax(scores, 0)
    # Not -inf: a sample of which no step counts would be NaN.
    lowest = constant(np.finfo(scores.dtype).min, scores.dtype)
    return where(seen, softmax(where(seen, scores, lowest), 0), 0.0)


class AdditiveAttention(Attention):
    """``score = score_weight . tanh(query @ query_weight + key @ key_weight)``.

    Source: D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to
    align and translate (2015).

    Parameters
    ----------
    query_features, key_features : int
    hidden_features : int
        Size of what the hyperbolic tangent is taken of.
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    query_weight : Parameter of shape (query_features, hidden_features)
    key_weight : Parameter of shape (key_features, hidden_features)
    score_weight : Parameter of shape (hidden_features,)

    Examples
    --------
    >>> import graphnn as gn
    >>> attention = gn.nn.AdditiveAttention(8, 6, 16)
    >>> query, keys = gn.input("query", ("batch", 8)), gn.input("keys", ("time", "batch", 6))
    >>> context, weights = attention(query, keys)
    >>> context.shape, weights.shape
    ((Dim(batch), 6), (Dim(time), Dim(batch)))
    """

    def __init__(
        self,
        query_features: int,
        key_features: int,
        hidden_features: int,
        *,
        init: initializers.Initializer = initializers.glorot_uniform,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        super().__init__(query_features, key_features)
        require_positive("AdditiveAttention", hidden_features=hidden_features)
        self.query_weight = parameter(init((query_features, hidden_features), rng), dtype=dtype)
        self.key_weight = parameter(init((key_features, hidden_features), rng), dtype=dtype)
        self.score_weight = parameter(init((hidden_features, 1), rng)[:, 0], dtype=dtype)

    def scores(self, query: Node, keys: Node) -> Node:
        """The formula above."""
        mixed = tanh(matmul(query, self.query_weight) + matmul(keys, self.key_weight))
        return sum(mixed * self.score_weight, -1)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{super().extra_repr()}, {self.score_weight.shape[0]}"


class DotAttention(Attention):
    """``score = query . key``, or with a weight between them.

    Source: M.-T. Luong, H. Pham, C. Manning, Effective approaches to attention-based neural
    machine translation (2015), where these scores are called *dot* and *general*.

    Parameters
    ----------
    query_features : int
    key_features : int, optional
        If given, ``score = (query @ weight) . key``; default: the plain product, for which
        queries and keys have equally many features.
    scaled : bool, default False
        Divide scores by the square root of ``key_features``.
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (query_features, key_features), or None

    Examples
    --------
    >>> import graphnn as gn
    >>> query, keys = gn.input("query", ("batch", 8)), gn.input("keys", ("time", "batch", 6))
    >>> lengths = gn.input("lengths", ("batch",), dtype="int64")
    >>> context, weights = gn.nn.DotAttention(8, 6)(query, keys, lengths=lengths)
    >>> context.shape
    (Dim(batch), 6)
    """

    def __init__(
        self,
        query_features: int,
        key_features: int | None = None,
        *,
        scaled: bool = False,
        init: initializers.Initializer = initializers.glorot_uniform,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        super().__init__(query_features, query_features if key_features is None else key_features)
        self.scaled = scaled
        self.weight = (
            None
            if key_features is None
            else parameter(init((query_features, key_features), rng), dtype=dtype)
        )

    def scores(self, query: Node, keys: Node) -> Node:
        """The formula above."""
        if self.weight is not None:
            query = matmul(query, self.weight)
        if self.scaled:
            query = query * (1.0 / math.sqrt(self.key_features))
        return sum(query * keys, -1)

    def extra_repr(self) -> str:
        """The sizes and what differs from the default."""
        sizes = str(self.query_features) if self.weight is None else super().extra_repr()
        return sizes + (", scaled=True" if self.scaled else "")
