"""Nets from tokens to tokens: the encoder, and an encoder and a decoder together.

Tokens are integers of shape (batch, time), as mini-batches cut them and as
:func:`graphnn.data.pad_sequences` makes them with ``batch_first=True``. What an encoder makes of
them, its *memory*, has shape (time, batch, features), as everywhere in recurrent nets.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.structure import flatten, unflatten
from graphnn.nn.decoder import Decoder
from graphnn.nn.decoding import DecodingStep
from graphnn.nn.dense import Dense
from graphnn.nn.module import Module
from graphnn.nn.padding import real_steps
from graphnn.nn.recurrent import Recurrent
from graphnn.nn.recurrent_nets import LSTM, RecurrentNet
from graphnn.nn.token_net import TokenNet
from graphnn.ops.joining import concatenate
from graphnn.ops.trigonometric import tanh

__all__ = ["Encoder", "EncoderDecoder"]

REFUSED = {
    "batch_first": "tokens are (batch, time) as they are; the memory is (time, batch, features)",
    "return_sequences": "it gives all steps, as memory, and the last state",
    "return_state": "it gives all steps, as memory, and the last state",
    "stateful": "sequences are read from their beginning",
}
"""Options of recurrent nets that are not for an encoder, and why."""


class Encoder(TokenNet):
    """Tokens to a memory of every step, and a state after the last one.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    embedding_features, hidden_features : int
    net : type, default :class:`graphnn.nn.LSTM`
        A :class:`graphnn.nn.RecurrentNet`.
    num_layers : int, default 1
    embedding_dropout, dropout, output_dropout : float, default 0
        Rates in training mode: for embeddings, between the layers, for the memory.
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.
    **options
        Those of the net, such as ``bidirectional=True``.

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
        num_layers: int = 1,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        output_dropout: float = 0.0,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
        **options: Any,
    ) -> None:
        for name, why in REFUSED.items():
            if name in options:
                raise ArgumentError(f"Encoder: {name} is not for an encoder", hint=why)
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
            **options,
        )
        self.net = net(
            embedding_features,
            hidden_features,
            num_layers=num_layers,
            dropout=dropout,
            return_sequences=True,
            return_state=True,
            rng=rng,
            dtype=dtype,
            **options,
        )

    def forward(self, tokens: Any, lengths: Any = None, mask: Any = None) -> tuple[Node, Any]:
        """Apply the encoder.

        Parameters
        ----------
        tokens : Node, of shape (batch, time)
        lengths : Node, of shape (batch,), optional
            How many tokens of every row are no padding.
        mask : Node, of shape (batch, time), optional
            Bool: which tokens are no padding; instead of lengths.

        Returns
        -------
        memory : Node, of shape (time, batch, features)
        state : nested structure of Node
            Of the net, after the last token of every row.
        """
        xs = self._embedded(tokens)
        steps, batch = xs.shape[:2]
        real = real_steps(repr(self), (steps, batch), lengths, mask, batch_first=True)
        memory, state = self.net(xs, mask=real)
        return self.output_dropout(memory), state


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
        attention = decoder.attention
        if attention is not None and attention.key_features != encoder.net.out_features:
            raise ShapeError(
                f"EncoderDecoder: the memory has {encoder.net.out_features} features, "
                f"{attention!r} takes keys of {attention.key_features}"
            )
        # The form of the last state of each layer and direction. Nothing is called: the first
        # module that is called names all parameters.
        layers = [each for _, each in encoder.net.named_modules() if isinstance(each, Recurrent)]
        given = [each.cell.zero_state(1) for each in layers]
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

    def encode(
        self, source: Any, source_lengths: Any = None, source_mask: Any = None
    ) -> tuple[Any, Node]:
        """The first state of the decoder, and the memory, of tokens of shape (batch, time)."""
        memory, state = self.encoder(source, source_lengths, source_mask)
        form, parts = self.decoder.zero_state(1), flatten(state)
        if self.bridge is not None:
            made = tanh(self.bridge(concatenate(parts, -1)))
            ends = np.cumsum(_form(form)).tolist()
            parts = [made[:, begin:end] for begin, end in itertools.pairwise([0, *ends])]
        return unflatten(form, parts), memory

    def forward(
        self, source: Any, target: Any, source_lengths: Any = None, source_mask: Any = None
    ) -> Node:
        """Scores of the token that follows each of the target's.

        Parameters
        ----------
        source : Node, of shape (batch, source time)
        target : Node, of shape (batch, time)
            The right tokens, beginning with that of the start.
        source_lengths : Node, of shape (batch,), optional
            How many tokens of every source are no padding.
        source_mask : Node, of shape (batch, source time), optional
            Bool: which tokens of the source are no padding; instead of lengths.

        Returns
        -------
        Node, of shape (batch, time, vocabulary)
        """
        real = source_lengths, source_mask
        logits: Node = self.decoder(target, *self.encode(source, *real), *real)
        return logits

    def decoding(
        self, source: Any, source_lengths: Any = None, source_mask: Any = None
    ) -> tuple[DecodingStep, Any]:
        """Step and state for :func:`greedy`, :func:`sample` and :func:`beam_search`.

        Call :meth:`eval` before: in training mode, the encoder drops out.
        """
        real = source_lengths, source_mask
        with self._at_work():
            return self.decoder.decoding(*self.encode(source, *real), *real)

    def alignments(
        self, source: Any, target: Any, source_lengths: Any = None, source_mask: Any = None
    ) -> Node:
        """How much of every source token goes into every target token.

        Parameters are those of `forward`; the result is (batch, time, source time).
        """
        real = source_lengths, source_mask
        with self._at_work():
            return self.decoder.alignments(target, *self.encode(source, *real), *real)

    def extra_repr(self) -> str:
        """Both parts, and whether nothing is between them."""
        return f"{self.encoder!r}, {self.decoder!r}{', bridge=False' * (self.bridge is None)}"


def _form(state: Any) -> list[int]:
    """Sizes of the parts of a state: what must agree where one is handed on as another."""
    return [leaf.shape[-1] for leaf in flatten(state)]
