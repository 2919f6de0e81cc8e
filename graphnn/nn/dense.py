"""The fully connected layer."""

from __future__ import annotations

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
from graphnn.ops.operands import as_node
from graphnn.ops.products import matmul

__all__ = ["Dense", "Linear"]


class Dense(Module):
    """``x @ weight + bias``: every output is connected to every input. Alias: `Linear`.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis before and after.
    bias : bool, default True
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
        Of the weight.
    bias_init : initialiser, default :func:`graphnn.init.zeros`
    rng : numpy.random.Generator, optional
        For the initialisers; default: the stream that ``gn.seed`` starts.
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (in_features, out_features)
    bias : Parameter of shape (out_features,), or None

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Dense(64, 32)
    >>> layer(gn.input("x", shape=("batch", 64))).shape
    (Dim(batch), 32)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        init: initializers.Initializer = initializers.glorot_uniform,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive("Dense", in_features=in_features, out_features=out_features)
        self.weight = parameter(init((in_features, out_features), rng), dtype=dtype)
        self.bias = parameter(bias_init((out_features,), rng), dtype=dtype) if bias else None

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(..., in_features)``."""
        x = as_node(x)
        expected = self.weight.shape[0]
        if x.ndim == 0 or x.shape[-1] != expected:
            raise ShapeError(
                f"{self!r}: the last axis of the input must have size {expected}, "
                f"its shape is {shape_text(x.shape)}",
                hint="gn.flatten(x, 1) makes rows of pictures",
            )
        y = matmul(x, self.weight)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """The sizes."""
        rows, columns = self.weight.shape
        return f"{rows}, {columns}" + (", bias=False" if self.bias is None else "")


Linear = Dense
