"""The layer of transformers: attention and two dense layers, each with a shortcut around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.dense import Dense
from graphnn.nn.dropout import Dropout
from graphnn.nn.module import Module
from graphnn.nn.multi_head_attention import MultiHeadAttention
from graphnn.nn.normalization import LayerNorm
from graphnn.nn.padding import real_steps
from graphnn.nn.sequential import Sequential
from graphnn.ops.activation import relu
from graphnn.ops.arithmetic import where
from graphnn.ops.movement import expand_dims, moveaxis
from graphnn.ops.operands import as_node

__all__ = ["TransformerLayer"]


class TransformerLayer(Module):
    """Self-attention, attention to a memory if there is one, and two dense layers.

    Around each of these parts is a shortcut: ``norm(x + dropout(part(x)))``, or with
    ``norm_first`` ``x + dropout(part(norm(x)))``. Without a memory it is PyTorch's
    ``TransformerEncoderLayer``, with one, and ``is_causal``, its ``TransformerDecoderLayer``.
    Source: A. Vaswani et al., Attention is all you need (2017); normalising first: R. Xiong et al.,
    arXiv:2002.04745.

    Parameters
    ----------
    features : int
        Of input and output.
    num_heads : int
        They divide the features.
    hidden_features : int
        Between the two dense layers.
    memory_features : int, optional
        Of a memory, such as the outputs of an encoder; default: there is none.
    is_causal : bool, default False
        Whether a step sees no step after it, as where the next one is to be told.
    dropout : float, default 0.1
        In training mode, of weights of attention, between the dense layers, and of what is added.
    activation : callable, default :func:`graphnn.relu`
        A layer or function, between the dense layers.
    norm_first : bool, default False
    batch_first : bool, default False
        Sequences are ``(batch, time, features)`` instead of ``(time, batch, features)``.
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    attention : MultiHeadAttention
    memory_attention : MultiHeadAttention, or None
    dense : Sequential
    norms : list of LayerNorm
        One for each part, in order.

    Examples
    --------
    A language model's layers, with learned vectors for positions:

    >>> import graphnn as gn
    >>> tokens = gn.input("tokens", ("batch", 20), dtype="int64")
    >>> embedding, positions = gn.nn.Embedding(50, 16), gn.nn.Embedding(20, 16)
    >>> x = embedding(tokens) + positions(gn.arange(20))
    >>> for _ in range(2):
    ...     layer = gn.nn.TransformerLayer(16, 4, 64, is_causal=True, batch_first=True)
    ...     x = layer(x)
    >>> x.shape
    (Dim(batch), 20, 16)
    """

    def __init__(
        self,
        features: int,
        num_heads: int,
        hidden_features: int,
        *,
        memory_features: int | None = None,
        is_causal: bool = False,
        dropout: float = 0.1,
        activation: Callable[[Any], Node] = relu,
        norm_first: bool = False,
        batch_first: bool = False,
        init: initializers.Initializer = initializers.glorot_uniform,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        dense = partial(Dense, init=init, rng=rng, dtype=dtype)
        attention = partial(
            MultiHeadAttention,
            features,
            num_heads,
            dropout=dropout,
            batch_first=batch_first,
            init=init,
            rng=rng,
            dtype=dtype,
        )
        self.features, self.norm_first, self.batch_first = features, norm_first, batch_first
        self.attention = attention(is_causal=is_causal)
        self.memory_attention = (
            None if memory_features is None else attention(key_features=memory_features)
        )
        self.dense = Sequential(
            dense(features, hidden_features),
            activation,
            Dropout(dropout),
            dense(hidden_features, features),
        )
        self.norms = [
            LayerNorm(features, dtype=dtype) for _ in range(2 if memory_features is None else 3)
        ]
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Any,
        memory: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        memory_lengths: Any = None,
        memory_mask: Any = None,
        attention_mask: Any = None,
    ) -> Node:
        """Apply the layer. Of the shapes, ``batch_first`` exchanges the first two axes.

        Parameters
        ----------
        x : Node, of shape (time, batch, features)
        memory : Node, of shape (steps, batch, memory_features)
            If the layer is made for one.
        lengths, mask : Node or array_like, optional
            Integers of shape (batch,), or bools of shape (time, batch): which steps of ``x`` are
            real. The others are not seen, may be anything, and become 0.
        memory_lengths, memory_mask : Node or array_like, optional
            The same of the memory.
        attention_mask : Node or array_like of bool, optional
            Of the steps of ``x`` among each other; see :class:`MultiHeadAttention`.

        Returns
        -------
        Node
            Of the shape of ``x``.

        Raises
        ------
        ShapeError, DTypeError
            If shapes do not fit, or the dtype of lengths or masks.
        ArgumentError
            If there is a memory and the layer has none, or the other way round; if both lengths
            and a mask are given.
        """
        x = as_node(x)
        if x.ndim != 3 or x.shape[2] != self.features:
            axes = "batch, time" if self.batch_first else "time, batch"
            raise ShapeError(
                f"{self!r}: the input must have shape ({axes}, {self.features}), "
                f"not {shape_text(x.shape)}"
            )
        steps_and_batch = x.shape[1::-1] if self.batch_first else x.shape[:2]
        real = real_steps(repr(self), steps_and_batch, lengths, mask, batch_first=self.batch_first)
        is_real = None
        if real is not None:
            mask = moveaxis(real, 0, 1) if self.batch_first else real
            is_real = expand_dims(mask, -1)
            x = where(is_real, x, 0)  # the shortcuts pass padding by attention
        parts: list[Callable[[Node], Node]] = [
            lambda x: self.attention(x, mask=mask, attention_mask=attention_mask)[0],
            self.dense,
        ]
        if self.memory_attention is not None and memory is not None:
            remembers = partial(self.memory_attention, keys=memory)
            parts.insert(1, lambda x: remembers(x, lengths=memory_lengths, mask=memory_mask)[0])
        elif self.memory_attention is not None or memory is not None:
            there = "is" if memory is not None else "is not"
            raise ArgumentError(
                f"{self!r}: a memory {there} given",
                hint="a layer that takes one has memory_features",
            )
        for part, norm in zip(parts, self.norms, strict=True):
            if self.norm_first:
                x = x + self.dropout(part(norm(x)))
            else:
                x = norm(x + self.dropout(part(x)))
        return x if is_real is None else where(is_real, x, 0)

    def extra_repr(self) -> str:
        """The sizes and what differs from the default."""
        hidden = self.dense[0].weight.shape[1]
        options = {"is_causal": self.attention.is_causal, "norm_first": self.norm_first}
        options["batch_first"] = self.batch_first
        shown = [f"{self.features}, {self.attention.num_heads}, {hidden}"]
        if self.memory_attention is not None:
            shown.append(f"memory_features={self.memory_attention.key.weight.shape[0]}")
        return ", ".join([*shown, *(f"{name}=True" for name, given in options.items() if given)])
