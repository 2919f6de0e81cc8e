"""What encoders and decoders have in common: tokens come in, and one kind of recurrent net.

Nobody but :mod:`graphnn.nn.seq2seq` and :mod:`graphnn.nn.decoder` asks for this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphnn.core.arguments import require_number, require_positive
from graphnn.core.dtypes import DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.dropout import Dropout
from graphnn.nn.embedding import Embedding
from graphnn.nn.module import Module
from graphnn.nn.recurrent_nets import LSTM, RecurrentNet
from graphnn.ops.movement import swapaxes
from graphnn.ops.operands import as_node

__all__: list[str] = []


class TokenNet(Module):
    """A net whose input is tokens; a subclass adds what comes behind their embedding.

    Parameters
    ----------
    vocabulary, embedding_features, hidden_features : int
    net : type
        A :class:`graphnn.nn.RecurrentNet`.
    num_layers : int
    embedding_dropout, dropout, output_dropout : float
        Rates: for embeddings, between the layers, for what comes out of the last one.
    rng : numpy.random.Generator, optional
    dtype
    **shown
        What else the repr tells.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_features: int,
        hidden_features: int,
        *,
        net: type[RecurrentNet],
        num_layers: int,
        embedding_dropout: float,
        dropout: float,
        output_dropout: float,
        rng: np.random.Generator | None,
        dtype: DTypeLike,
        **shown: Any,
    ) -> None:
        what = type(self).__name__
        kind: Any = net
        if not isinstance(kind, type) or not issubclass(kind, RecurrentNet):
            raise ArgumentError(
                f"{what}: net must be a kind of recurrent nets, not {net!r}",
                hint="such as gn.nn.GRU; with a cell of your own, a subclass of "
                "gn.nn.RecurrentNet whose cell_type it is",
            )
        require_positive(what, num_layers=num_layers)
        rate = require_number(what, "dropout", dropout, below=1.0)
        if num_layers == 1 and rate:
            raise ArgumentError(
                f"{what}: dropout is between layers, and there is one layer",
                hint="embedding_dropout= is before it, output_dropout= behind it",
            )
        self.embedding = Embedding(vocabulary, embedding_features, rng=rng, dtype=dtype)
        self.embedding_dropout = Dropout(embedding_dropout)
        self.output_dropout = Dropout(output_dropout)
        rates = {
            "embedding_dropout": embedding_dropout,
            "dropout": rate,
            "output_dropout": output_dropout,
        }
        self._described = ", ".join(
            [
                *map(str, (vocabulary, embedding_features, hidden_features)),
                *([] if net is LSTM else [f"net={net.__name__}"]),
                *([] if num_layers == 1 else [f"num_layers={num_layers}"]),
                *_told({name: rate for name, rate in rates.items() if rate}),
                *_told(shown),
            ]
        )

    def _embedded(self, tokens: Any) -> Node:
        """Of tokens (batch, time), the embeddings (time, batch, features)."""
        tokens = as_node(tokens)
        if tokens.ndim != 2:
            raise ShapeError(
                f"{self!r}: tokens must be (batch, time), not {shape_text(tokens.shape)}"
            )
        embedded: Node = self.embedding_dropout(self.embedding(swapaxes(tokens, 0, 1)))
        return embedded

    def extra_repr(self) -> str:
        """The sizes, and what differs from the default."""
        return self._described


def _told(options: Mapping[str, Any]) -> list[str]:
    """Options as they are written in a call; functions by their names."""
    return [f"{name}={getattr(each, '__name__', repr(each))}" for name, each in options.items()]
