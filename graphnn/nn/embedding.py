"""The embedding layer: a learned vector for every token."""

from __future__ import annotations

from collections.abc import Sized
from functools import partial
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.ops.lookup import embedding

__all__ = ["Embedding"]

_STANDARD_NORMAL = partial(initializers.normal, std=1.0)


class Embedding(Module):
    """A row of a table for every token; see :func:`graphnn.embedding`.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    features : int
        Size of a row.
    padding_index : int, optional
        The token that fills sequences up: its row is not trained.
    init : initialiser, default :func:`graphnn.init.normal` with standard deviation 1
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (vocabulary, features)

    Examples
    --------
    >>> import graphnn as gn
    >>> tokens = gn.input("tokens", shape=("batch", "time"), dtype="int64")
    >>> gn.nn.Embedding(30, 16)(tokens).shape
    (Dim(batch), Dim(time), 16)
    """

    def __init__(
        self,
        vocabulary: int,
        features: int,
        *,
        padding_index: int | None = None,
        init: initializers.Initializer = _STANDARD_NORMAL,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        if isinstance(vocabulary, Sized):
            raise ArgumentError(
                f"Embedding: vocabulary is a number of tokens, not {vocabulary!r}",
                hint="len(vocabulary)",
            )
        require_positive("Embedding", vocabulary=vocabulary, features=features)
        self.padding_index = padding_index
        self.weight = parameter(init((vocabulary, features), rng), dtype=dtype)

    def forward(self, tokens: Any) -> Node:
        """Rows for integers of any shape, which are followed by ``features``."""
        return embedding(tokens, self.weight, padding_index=self.padding_index)

    def extra_repr(self) -> str:
        """The sizes."""
        return ", ".join(map(str, self.weight.shape))
