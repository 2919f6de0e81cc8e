"""Nets from tokens to tokens: encoder, decoder, and both together.

Tokens are integers of shape (batch, time), as :func:`graphnn.data.pad_sequences` makes them and
mini-batches cut them. What an encoder makes of them, its *memory*, has shape
(time, batch, features), as everywhere in recurrent nets.

While a net is trained, a decoder is given the right tokens (*teacher forcing*): its cells are one
scan, and the output layer is one product over all steps. :mod:`graphnn.nn.decoding` makes
sequences with its single steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.core.arguments import require_positive
from graphnn.core.dims import Size
from graphnn.core.dtypes import FLOAT32, INT64, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.structure import flatten, unflatten
from graphnn.nn.attention import Attention
from graphnn.nn.cells import Cell
from graphnn.nn.decoding import DecodingStep
from graphnn.nn.dense import Dense
from graphnn.nn.dropout import Dropout
from graphnn.nn.embedding import Embedding
from graphnn.nn.gated_cells import LSTMCell
from graphnn.nn.module import Module
from graphnn.nn.recurrent_nets import LSTM, RecurrentNet
from graphnn.ops.creation import zeros
from graphnn.ops.joining import concatenate
from graphnn.ops.movement import moveaxis, swapaxes
from graphnn.ops.operands import as_node
from graphnn.ops.scans import scan
from graphnn.ops.softmaxes import log_softmax
from graphnn.ops.trigonometric import tanh

__all__ = ["Decoder", "Encoder", "EncoderDecoder"]


class Encoder(Module):
    """Tokens to a memory of every step, and a state after the last one.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    embedding_features, hidden_features : int
    net : type, default :class:`graphnn.nn.LSTM`
        A :class:`graphnn.nn.RecurrentNet`.
    dropout : float, default 0
        Rate for embeddings and memory.
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.
    **options
        Those of the net, such as ``bidirectional=True`` or ``num_layers=2``.

    Attributes
    ----------
    embedding : Embedding
    net : RecurrentNet

    Examples
    --------
    >>> import graphnn as gn
    >>> tokens = gn.input("tokens", ("batch", "time"), dtype="int64")
    >>> memory, state = gn.nn.Encoder(30, 16, 32, bidirectional=True)(tokens)
    >>> memory.shape
    (Dim(time), Dim(batch), 64)
    """

    def __init__(
        self,
        vocabulary: int,
        embedding_features: int,
        hidden_features: int,
        *,
        net: type[RecurrentNet] = LSTM,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
        **options: Any,
    ) -> None:
        self.embedding = Embedding(vocabulary, embedding_features, rng=rng, dtype=dtype)
        self.net = net(
            embedding_features,
            hidden_features,
            return_sequences=True,
            return_state=True,
            rng=rng,
            dtype=dtype,
            **options,
        )
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Any, lengths: Any = None) -> tuple[Node, Any]:
        """Apply the encoder.

        Parameters
        ----------
        tokens : Node, of shape (batch, time)
        lengths : Node, of shape (batch,), optional
            How many tokens of every row are no padding.

        Returns
        -------
        memory : Node, of shape (time, batch, features)
        state : nested structure of Node
            Of the net, after the last token of every row.
        """
        tokens = _time_first(repr(self), tokens)
        memory, state = self.net(self.dropout(self.embedding(tokens)), lengths=lengths)
        return self.dropout(memory), state


class Decoder(Module):
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
    cell : type, default :class:`graphnn.nn.LSTMCell`
        A :class:`graphnn.nn.Cell`.
    num_layers : int, default 1
        Cells, each of which gets what the one before it gives.
    attention : Attention, optional
        For queries of ``hidden_features``.
    input_feeding : bool, default False
        The cells also get the context of the step before (D. Bahdanau et al., 2015). Then
        attention cannot be computed for all steps at once.
    dropout : float, default 0
        Rate for embeddings and for what the output layer sees.
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
        cell: Callable[..., Cell] = LSTMCell,
        num_layers: int = 1,
        attention: Attention | None = None,
        input_feeding: bool = False,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
        **options: Any,
    ) -> None:
        require_positive("Decoder", num_layers=num_layers)
        if attention is not None and attention.query_features != hidden_features:
            raise ShapeError(
                f"Decoder: queries have {hidden_features} features, {attention!r} takes "
                f"{attention.query_features}"
            )
        if input_feeding and attention is None:
            raise ArgumentError("Decoder: without attention there is no context to feed")
        self.embedding = Embedding(vocabulary, embedding_features, rng=rng, dtype=dtype)
        self.input_feeding = input_feeding
        self.context_features = 0 if attention is None else attention.key_features
        fed = self.context_features if input_feeding else 0
        sizes = [embedding_features + fed, *[hidden_features] * (num_layers - 1)]
        self.cells = [
            cell(size, hidden_features, rng=rng, dtype=dtype, **options) for size in sizes
        ]
        self.attention = attention
        both = hidden_features + self.context_features
        self.combine = (
            None if attention is None else Dense(both, hidden_features, rng=rng, dtype=dtype)
        )
        self.output = Dense(hidden_features, vocabulary, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout)

    def zero_state(self, batch: Size | str) -> Any:
        """Zeros for every cell, and for the context that is fed."""
        carries = tuple(cell.zero_state(batch) for cell in self.cells)
        if not self.input_feeding:
            return carries
        return (*carries, zeros((batch, self.context_features), self.output.weight.dtype))

    def forward(
        self, tokens: Any, state: Any = None, memory: Any = None, memory_lengths: Any = None
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

        Returns
        -------
        Node, of shape (batch, time, vocabulary)
        """
        seen, _ = self._over_time(tokens, state, memory, memory_lengths)
        return moveaxis(self.output(self.dropout(seen)), 0, 1)

    def alignments(self, tokens: Any, state: Any, memory: Any, memory_lengths: Any = None) -> Node:
        """How much of every step of the memory goes into the score of every next token.

        Parameters are those of `forward`.

        Returns
        -------
        Node, of shape (batch, time, memory time)
        """
        _, weights = self._over_time(tokens, state, memory, memory_lengths)
        if weights is None:
            raise ArgumentError(f"{self!r} has no attention")
        return moveaxis(weights, 2, 0)

    def decoding(
        self, state: Any, memory: Any = None, memory_lengths: Any = None
    ) -> tuple[DecodingStep, Any]:
        """Step and state for :func:`greedy`, :func:`sample` and :func:`beam_search`.

        Parameters are those of `forward`. Call :meth:`eval` before: a step in training mode
        drops out.
        """

        def step(state: Any, tokens: Node) -> tuple[Node, Any]:
            with self._at_work():
                state, (seen, _) = self._advance(
                    state, self.embedding(tokens), memory, memory_lengths
                )
                return log_softmax(self.output(seen)), state

        return step, state

    def _over_time(
        self, tokens: Any, state: Any, memory: Any, memory_lengths: Any
    ) -> tuple[Node, Node | None]:
        """What the output layer sees at all steps, (time, batch, ...), and attention's weights."""
        tokens = _time_first(repr(self), tokens)
        state = self.zero_state(tokens.shape[1]) if state is None else state
        xs = self.dropout(self.embedding(tokens))
        _, made = scan(lambda state, x: self._advance(state, x, memory, memory_lengths), state, xs)
        seen, weights = made
        return seen, weights

    def _advance(
        self, state: Any, x: Node, memory: Any, memory_lengths: Any
    ) -> tuple[Any, tuple[Node, Node | None]]:
        """One step: from an embedded token to what the output layer sees."""
        if self.input_feeding:
            x = concatenate([x, state[-1]], -1)
        carries = []
        for cell, carry in zip(self.cells, state, strict=False):
            carry, x = cell(carry, x)
            carries.append(carry)
        if self.attention is None or self.combine is None:
            return tuple(carries), (x, None)
        if memory is None:
            raise ArgumentError(f"{self!r}: attention needs a memory")
        context, weights = self.attention(x, memory, lengths=memory_lengths)
        if self.input_feeding:
            carries.append(context)
        return tuple(carries), (tanh(self.combine(concatenate([x, context], -1))), weights)


class EncoderDecoder(Module):
    """A sequence to a sequence: the decoder begins where the encoder ends.

    Source: I. Sutskever, O. Vinyals, Q. Le, Sequence to sequence learning with neural networks
    (2014); with a dense layer between, K. Cho et al., arXiv:1406.1078.

    Parameters
    ----------
    encoder : Encoder
    decoder : Decoder
    bridge : bool, default True
        The first state of the decoder is ``tanh`` of a dense layer of the encoder's last state.
        Otherwise it is that state, for which both need to have as many layers of the same cells.
    rng : numpy.random.Generator, optional
        For the bridge.

    Attributes
    ----------
    bridge : Dense, or None

    Examples
    --------
    >>> import graphnn as gn
    >>> encoder = gn.nn.Encoder(30, 16, 32, bidirectional=True)
    >>> decoder = gn.nn.Decoder(40, 16, 32, attention=gn.nn.DotAttention(32, 64))
    >>> model = gn.nn.EncoderDecoder(encoder, decoder)
    >>> source = gn.input("source", ("batch", "letters"), dtype="int64")
    >>> target = gn.input("target", ("batch", "sounds"), dtype="int64")
    >>> model(source, target).shape
    (Dim(batch), Dim(sounds), 40)
    >>> step, state = model.eval().decoding(source)
    >>> found = gn.nn.beam_search(step, state, start=1, end=2, beam=4, max_length=20)
    >>> found.tokens.shape
    (Dim(batch), 4, 20)
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        bridge: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        # Of one token, for their form alone: nothing is computed.
        given = encoder(zeros((1, 1), INT64))[1]
        needed = decoder.zero_state(1)
        sizes = [sum(_form(each)) for each in (given, needed)]
        dtype = decoder.output.weight.dtype
        self.bridge = Dense(*sizes, rng=rng, dtype=dtype) if bridge else None
        if not bridge and _form(given) != _form(needed):
            raise ArgumentError(
                f"EncoderDecoder: the encoder ends with a state of {_form(given)}, the decoder "
                f"begins with one of {_form(needed)}",
                hint="bridge=True puts a dense layer between them",
            )

    def encode(self, source: Any, source_lengths: Any = None) -> tuple[Any, Node]:
        """The first state of the decoder, and the memory, of tokens of shape (batch, time)."""
        memory, state = self.encoder(source, source_lengths)
        form, parts = self.decoder.zero_state(1), flatten(state)
        if self.bridge is not None:
            made = tanh(self.bridge(concatenate(parts, -1)))
            ends = np.cumsum(_form(form)).tolist()
            parts = [made[:, begin:end] for begin, end in itertools.pairwise([0, *ends])]
        return unflatten(form, parts), memory

    def forward(self, source: Any, target: Any, source_lengths: Any = None) -> Node:
        """Scores of the token that follows each of the target's.

        Parameters
        ----------
        source : Node, of shape (batch, source time)
        target : Node, of shape (batch, time)
            The right tokens, beginning with that of the start.
        source_lengths : Node, of shape (batch,), optional
            How many tokens of every source are no padding.

        Returns
        -------
        Node, of shape (batch, time, vocabulary)
        """
        logits: Node = self.decoder(target, *self.encode(source, source_lengths), source_lengths)
        return logits

    def decoding(self, source: Any, source_lengths: Any = None) -> tuple[DecodingStep, Any]:
        """Step and state for :func:`greedy`, :func:`sample` and :func:`beam_search`."""
        with self._at_work():
            return self.decoder.decoding(*self.encode(source, source_lengths), source_lengths)

    def alignments(self, source: Any, target: Any, source_lengths: Any = None) -> Node:
        """How much of every source token goes into every target token.

        Parameters are those of `forward`; the result is (batch, time, source time).
        """
        with self._at_work():
            encoded = self.encode(source, source_lengths)
            return self.decoder.alignments(target, *encoded, source_lengths)


def _time_first(what: str, tokens: Any) -> Node:
    tokens = as_node(tokens)
    if tokens.ndim != 2:
        raise ShapeError(f"{what}: tokens must be (batch, time), not {shape_text(tokens.shape)}")
    return swapaxes(tokens, 0, 1)


def _form(state: Any) -> list[int]:
    """Sizes of the parts of a state: what must agree where one is handed on as another."""
    return [leaf.shape[-1] for leaf in flatten(state)]
