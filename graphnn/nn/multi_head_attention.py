"""Attention in several heads: every step of a sequence takes of every step of it, or of another."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.dense import Dense
from graphnn.nn.dropout import Dropout
from graphnn.nn.module import Module
from graphnn.nn.padding import real_steps
from graphnn.ops.arithmetic import where
from graphnn.ops.attention import scaled_dot_product_attention
from graphnn.ops.broadcasting import reshape
from graphnn.ops.creation import eye
from graphnn.ops.logic import logical_and
from graphnn.ops.movement import expand_dims, moveaxis, permute
from graphnn.ops.operands import as_node

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Scaled dot-product attention in several heads, each with projections of its own.

    Called with one sequence, its steps look at each other (self-attention); with two, those of the
    first look at those of the second (cross-attention). Source: A. Vaswani et al., Attention is all
    you need (2017), section 3.2.2.

    Parameters
    ----------
    features : int
        Of queries and of the output.
    num_heads : int
        They divide the features.
    key_features : int, optional
        Of keys; default: ``features``.
    value_features : int, optional
        Of values; default: ``key_features``.
    is_causal : bool, default False
        Whether a step sees no step after it.
    bias : bool, default True
        Of all four projections.
    dropout : float, default 0
        In training mode, weights are zeroed at this rate, the others scaled up.
    batch_first : bool, default False
        Sequences are ``(batch, time, features)`` instead of ``(time, batch, features)``.
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
        Of the weights of all projections.
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    query, key, value, output : Dense
        The projections: features in front of all heads, one head after another.

    Examples
    --------
    >>> import graphnn as gn
    >>> attention = gn.nn.MultiHeadAttention(16, num_heads=4, is_causal=True)
    >>> y, weights = attention(gn.input("x", ("time", "batch", 16)))
    >>> y.shape, weights.shape
    ((Dim(time), Dim(batch), 16), (Dim(batch), 4, Dim(time), Dim(time)))
    """

    def __init__(
        self,
        features: int,
        num_heads: int,
        *,
        key_features: int | None = None,
        value_features: int | None = None,
        is_causal: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        batch_first: bool = False,
        init: initializers.Initializer = initializers.glorot_uniform,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive("MultiHeadAttention", features=features, num_heads=num_heads)
        if features % num_heads:
            raise ArgumentError(
                f"MultiHeadAttention: {features} features do not divide into {num_heads} heads",
                hint="every head gets features / num_heads",
            )
        key_features = features if key_features is None else key_features
        value_features = key_features if value_features is None else value_features

        def projection(size: int) -> Dense:
            return Dense(size, features, bias=bias, init=init, rng=rng, dtype=dtype)

        self.features, self.num_heads = features, num_heads
        self.is_causal, self.batch_first = is_causal, batch_first
        self.query, self.key = projection(features), projection(key_features)
        self.value, self.output = projection(value_features), projection(features)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        query: Any,
        keys: Any = None,
        values: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        attention_mask: Any = None,
    ) -> tuple[Node, Node]:
        """Apply the layer. Of the shapes, ``batch_first`` exchanges the first two axes.

        Parameters
        ----------
        query : Node, of shape (time, batch, features)
        keys : Node, of shape (steps, batch, key_features), optional
            Default: the query.
        values : Node, of shape (steps, batch, value_features), optional
            Default: the keys.
        lengths : Node or array_like of int, of shape (batch,), optional
            How many steps of the keys of every row are real. The others are not seen, and may be
            anything, NaN as well.
        mask : Node or array_like of bool, of shape (steps, batch), optional
            Which steps of the keys are real; instead of lengths.
        attention_mask : Node or array_like of bool, optional
            Broadcast to (batch, num_heads, time, steps): True where a query sees a key.
            (False in PyTorch's layer; True in its function, in Keras and in JAX.)

        Returns
        -------
        y : Node, of shape (time, batch, features)
            Without keys that differ from the query, 0 for steps that are padding. A query that sees
            no key gets the bias of the output.
        weights : Node, of shape (batch, num_heads, time, steps)
            How much each query takes of each value, before dropout. What is not used of a graph is
            not computed.

        Raises
        ------
        ShapeError, DTypeError
            If shapes do not fit, or the dtype of lengths or masks.
        ArgumentError
            If both lengths and a mask are given.
        """
        query = as_node(query)
        is_self = keys is None
        keys = query if is_self else as_node(keys)
        values = keys if values is None else as_node(values)
        self._check(query, keys, values)
        steps_and_batch = keys.shape[1::-1] if self.batch_first else keys.shape[:2]
        real = real_steps(repr(self), steps_and_batch, lengths, mask, batch_first=self.batch_first)
        seen = None if attention_mask is None else as_node(attention_mask)
        if real is not None:
            by_row = moveaxis(real, 0, 1)
            is_real = expand_dims(by_row if self.batch_first else real, -1)
            # A weight of 0 does not silence NaN.
            keys, values = where(is_real, keys, 0), where(is_real, values, 0)
            query = keys if is_self else query
            by_key = expand_dims(by_row, (1, 2))
            seen = by_key if seen is None else logical_and(seen, by_key)
        y, weights = self._attend(query, keys, values, seen)
        return (where(is_real, y, 0) if is_self and real is not None else y), weights

    def _attend(
        self, query: Node, keys: Node, values: Node, seen: Node | None
    ) -> tuple[Node, Node]:
        """Project, attend in every head, put the heads together, and project again."""
        q, k, v = self._heads(self.query(query)), self._heads(self.key(keys)), self.value(values)
        rate = self.dropout.rate if self.dropout.training else 0.0
        context = scaled_dot_product_attention(
            q, k, self._heads(v), seen, is_causal=self.is_causal, dropout_rate=rate
        )
        # Means of unit vectors are the weights themselves.
        units = eye(k.shape[-2], dtype=k.dtype)
        weights = scaled_dot_product_attention(q, k, units, seen, is_causal=self.is_causal)
        joined = permute(context, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        return self.output(reshape(joined, (*joined.shape[:2], self.features))), weights

    def _heads(self, x: Node) -> Node:
        """Of shape (batch, heads, time, features of one head)."""
        split = reshape(x, (*x.shape[:2], self.num_heads, self.features // self.num_heads))
        return permute(split, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _check(self, query: Node, keys: Node, values: Node) -> None:
        batch = 0 if self.batch_first else 1
        axes = "batch, time" if self.batch_first else "time, batch"
        for word, node, layer in (
            ("query", query, self.query),
            ("keys", keys, self.key),
            ("values", values, self.value),
        ):
            features = layer.weight.shape[0]
            if node.ndim != 3 or node.shape[2] != features:
                raise ShapeError(
                    f"{self!r}: the {word} must have shape ({axes}, {features}), "
                    f"not {shape_text(node.shape)}"
                )
            if node.shape[batch] != query.shape[batch]:
                raise ShapeError(
                    f"{self!r}: the query has {query.shape[batch]} rows and the {word} "
                    f"{node.shape[batch]}",
                    hint="batch_first=True takes sequences of shape (batch, time, features)",
                )
        if values.shape[1 - batch] != keys.shape[1 - batch]:
            raise ShapeError(
                f"{self!r}: there are keys of {keys.shape[1 - batch]} steps and values of "
                f"{values.shape[1 - batch]}"
            )

    def extra_repr(self) -> str:
        """The sizes and what differs from the default."""
        sizes = [f"{self.features}, {self.num_heads}"]
        for name, layer in (("key_features", self.key), ("value_features", self.value)):
            if layer.weight.shape[0] != self.features:
                sizes.append(f"{name}={layer.weight.shape[0]}")
        flags = [f"{name}=True" for name in ("is_causal", "batch_first") if getattr(self, name)]
        return ", ".join([*sizes, *flags])
