"""The decoder: scores of the next token from those before, and from the memory of an encoder.

While it is trained, it is given the right tokens (*teacher forcing*): its cells are one scan, and
the output layer is one product over all steps. :mod:`graphnn.nn.decoding` makes sequences with
its single steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.structure import flatten
from graphnn.nn.attention import Attention
from graphnn.nn.cells import name_state
from graphnn.nn.decoding import DecodingStep
from graphnn.nn.dense import Dense
from graphnn.nn.padding import real_steps
from graphnn.nn.recurrent_nets import LSTM, RecurrentNet
from graphnn.nn.token_net import TokenNet
from graphnn.ops.creation import zeros
from graphnn.ops.joining import concatenate
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node
from graphnn.ops.random import dropout_mask
from graphnn.ops.scans import scan
from graphnn.ops.softmaxes import log_softmax
from graphnn.ops.trigonometric import tanh

__all__ = ["Decoder"]


class Decoder(TokenNet):
    """Scores of the next token from those before; with attention, also from a memory.

    With attention, what the output layer sees is
    ``tanh(combine([output of the cells, context]))`` (M.-T. Luong et al., Effective approaches to
    attention-based neural machine translation, 2015), where the output of the cells is the query.
    Without a memory, a decoder is a model of its language.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    embedding_features, hidden_features : int
    net : type, default :class:`graphnn.nn.LSTM`
        The :class:`graphnn.nn.RecurrentNet` whose cells are taken.
    num_layers : int, default 1
        Cells, each of which gets what the one before it gives.
    attention : Attention, optional
        For queries of ``hidden_features``, or of what the cells give.
    input_feeding : bool, default False
        The cells also get the context of the step before (D. Bahdanau et al., 2015). Then
        attention cannot be computed for all steps at once.
    embedding_dropout, dropout, output_dropout : float, default 0
        Rates in training mode: for embeddings, between the layers, for what the output layer sees.
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.
    **options
        Those of the cells.

    Attributes
    ----------
    embedding : Embedding
    cells : list of Cell
    attention : Attention, or None
    combine : Dense, or None
    output : Dense

    Examples
    --------
    A model of a language of 30 letters, and words that it invents:

    >>> import graphnn as gn
    >>> decoder = gn.nn.Decoder(30, 16, 32)
    >>> tokens = gn.input("tokens", ("batch", "time"), dtype="int64")
    >>> decoder(tokens).shape
    (Dim(batch), Dim(time), 30)
    >>> step, state = decoder.decoding(decoder.zero_state(5))
    >>> found = gn.nn.sample(step, state, start=1, end=2, max_length=8, key=gn.random.key(0))
    >>> found.tokens.shape
    (5, 8)
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_features: int,
        hidden_features: int,
        *,
        net: type[RecurrentNet] = LSTM,
        num_layers: int = 1,
        attention: Attention | None = None,
        input_feeding: bool = False,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
        **options: Any,
    ) -> None:
        shown = {"attention": attention} if attention is not None else {}
        super().__init__(
            vocabulary,
            embedding_features,
            hidden_features,
            net=net,
            num_layers=num_layers,
            embedding_dropout=embedding_dropout,
            dropout=dropout,
            output_dropout=output_dropout,
            rng=rng,
            dtype=dtype,
            **shown,
            **({"input_feeding": True} if input_feeding else {}),
            **options,
        )
        if attention is not None and not isinstance(attention, Attention):
            raise ArgumentError(
                f"Decoder: attention must be a layer of attention, not {attention!r}",
                hint="such as gn.nn.DotAttention(hidden features, features of the memory)",
            )
        if input_feeding and attention is None:
            raise ArgumentError("Decoder: without attention there is no context to feed")
        self.dropout = dropout
        self.input_feeding = input_feeding
        self.context_features = 0 if attention is None else attention.key_features
        features = embedding_features + (self.context_features if input_feeding else 0)
        self.cells = []
        for _ in range(num_layers):
            cell = net.cell_type(features, hidden_features, rng=rng, dtype=dtype, **options)
            self.cells.append(cell)
            features = cell.out_features
        if attention is not None and attention.query_features != features:
            raise ShapeError(
                f"Decoder: queries have {features} features, as the cells give, {attention!r} "
                f"takes {attention.query_features}"
            )
        self.attention = attention
        both = features + self.context_features
        self.combine = None if attention is None else Dense(both, features, rng=rng, dtype=dtype)
        self.output = Dense(features, vocabulary, rng=rng, dtype=dtype)

    def zero_state(self, batch: Size | str) -> Any:
        """Zeros for every cell, and for the context that is fed."""
        carries = tuple(cell.zero_state(batch) for cell in self.cells)
        if not self.input_feeding:
            return carries
        return (*carries, zeros((batch, self.context_features), self.output.weight.dtype))

    def forward(
        self,
        tokens: Any,
        state: Any = None,
        memory: Any = None,
        memory_lengths: Any = None,
        memory_mask: Any = None,
    ) -> Node:
        """Scores of the token that follows each of the given ones.

        Parameters
        ----------
        tokens : Node, of shape (batch, time)
            The right ones, beginning with that of the start. Padding is at the end and needs no
            mask: no step before sees it.
        state : optional
            Before the first step, in the form of `zero_state`; default: zeros.
        memory : Node, of shape (memory time, batch, features), optional
            Needed by attention.
        memory_lengths : Node, of shape (batch,), optional
            How many steps of the memory count.
        memory_mask : Node, of shape (batch, memory time), optional
            Bool: which steps of the memory count; instead of lengths.

        Returns
        -------
        Node, of shape (batch, time, vocabulary)
        """
        seen, _ = self._over_time(tokens, state, memory, memory_lengths, memory_mask)
        return moveaxis(self.output(self.output_dropout(seen)), 0, 1)

    def alignments(
        self,
        tokens: Any,
        state: Any,
        memory: Any,
        memory_lengths: Any = None,
        memory_mask: Any = None,
    ) -> Node:
        """How much of every step of the memory goes into the score of every next token.

        Parameters are those of `forward`.

        Returns
        -------
        Node, of shape (batch, time, memory time)
        """
        _, weights = self._over_time(tokens, state, memory, memory_lengths, memory_mask)
        if weights is None:
            raise ArgumentError(f"{self!r} has no attention")
        return moveaxis(weights, 2, 0)

    def decoding(
        self, state: Any, memory: Any = None, memory_lengths: Any = None, memory_mask: Any = None
    ) -> tuple[DecodingStep, Any]:
        """Step and state for :func:`greedy`, :func:`sample` and :func:`beam_search`.

        Parameters are those of `forward`. Of the decoder, nothing drops out in these steps, in
        training mode either; the encoder that made the memory is to be in evaluation mode.
        """
        memory, real = self._attended(memory, memory_lengths, memory_mask)

        def step(state: Any, tokens: Node) -> tuple[Node, Any]:
            with self._at_work():
                x = self.embedding(tokens)
                state, (seen, _) = self._advance(self.cells, state, x, (), memory, real)
                return log_softmax(self.output(seen)), state

        return step, state

    def _attended(self, memory: Any, lengths: Any, mask: Any) -> tuple[Node | None, Node | None]:
        """The memory, and which of its steps of which rows are real, for attention."""
        if self.attention is None:
            return None, None
        if memory is None:
            raise ArgumentError(f"{self!r}: attention needs a memory")
        node = as_node(memory)
        if node.ndim != 3:
            raise ShapeError(
                f"{self!r}: the memory must be (time, batch, features), not {node.spec}"
            )
        steps, batch, _ = node.shape
        return node, real_steps(repr(self), (steps, batch), lengths, mask, batch_first=True)

    def _over_time(
        self, tokens: Any, state: Any, memory: Any, lengths: Any, mask: Any
    ) -> tuple[Node, Node | None]:
        """What the output layer sees at all steps, (time, batch, ...), and attention's weights."""
        xs = self._embedded(tokens)
        steps, batch = xs.shape[:2]
        state = self.zero_state(batch) if state is None else state
        memory, real = self._attended(memory, lengths, mask)
        cells = [cell.for_sequence(batch) for cell in self.cells]

        def step(state: Any, element: tuple[Node, list[Node]]) -> Any:
            return self._advance(cells, state, *element, memory, real)

        _, made = scan(step, state, (xs, self._masks(steps, batch)))
        seen, weights = made
        return seen, weights

    def _masks(self, steps: Size, batch: Size) -> list[Node]:
        """Dropout between the layers, of every step: drawn before the scan, which draws once."""
        if not self.training or self.dropout == 0:
            return []
        shapes = [(steps, batch, cell.out_features) for cell in self.cells[:-1]]
        dtype = self.output.weight.dtype
        return [dropout_mask(None, self.dropout, shape, dtype) for shape in shapes]

    def _advance(
        self,
        cells: Sequence[Callable[[Any, Any], tuple[Any, Any]]],
        state: Any,
        x: Node,
        masks: Sequence[Node],
        memory: Node | None,
        real: Node | None,
    ) -> tuple[Any, tuple[Node, Node | None]]:
        """One step: from an embedded token to what the output layer sees."""
        if self.input_feeding:
            x = concatenate([x, state[-1]], -1)
        carries = []
        for number, (cell, carry) in enumerate(zip(cells, state, strict=False)):
            if number and masks:
                x = x * masks[number - 1]
            carry, x = cell(carry, x)
            name_state(flatten(carry), self.cells[number].state_names)
            carries.append(carry)
        if self.attention is None or self.combine is None:
            return tuple(carries), (x, None)
        context, weights = self.attention(x, memory, mask=real)
        if self.input_feeding:
            carries.append(context)
        return tuple(carries), (tanh(self.combine(concatenate([x, context], -1))), weights)
